"""Agents with memory: what is learned from against the whole episode unrolled again, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from agents import dqn, hdqn, ppo, pqn
from agents.dqn.sequences import priorities
from envs.gymnasium import plugin as gymnasium
from helpers.line_world import Line, line_spec, live
from rlkit.agent import AgentContext
from rlkit.errors import ConfigError, SpecError
from rlkit.learning.rollouts import RolloutConfig
from rlkit.learning.sequences import SequenceInputs, rollout_inputs
from rlkit.nn.memory import RecurrentNetwork
from rlkit.replay import Trajectory
from rlkit.seeding import Streams
from rlkit.testing import agent_checks
from rlkit.types import Mode, Observation, StepBatch

CARTPOLE = gymnasium.config(name="gymnasium", id="CartPole-v1", max_episode_steps=15)
WEIGHT = {"normalisation": "weight", "weight_norm": {"initial_batch": 9}}
PLUGINS: dict[str, Any] = {"ppo": ppo.plugin, "pqn": pqn.plugin, "dqn": dqn.plugin}
BY_ROLLOUTS = {"rollout_steps": 12, "epochs": 2, "minibatches": 2}
CHECKED: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo, two LSTMs": (
        "ppo",
        {
            "separate_networks": True,
            "sequence_steps": 6,
            "bonus": {"hash": {"type": "simhash", "bits": 8}, "count_of": "pair"},
            "bonus_value": {},
            "overlap": True,
            "network": {"hidden": (8,), "memory": {"type": "lstm", "size": 4, "last_action": True}, **WEIGHT},
        },
    ),
    "pqn, GRU": (
        "pqn",
        {
            "softmax": {},
            "sequence_steps": 4,
            "bonus": {"hash": {"type": "simhash", "bits": 8}, "count_of": "pair", "optimism": {}},
            "network": {"hidden": (8,), "memory": {"size": 5, "horizon": 9, "last_reward": True}},
        },
    ),
    "dqn, LSTM": (
        "dqn",
        {
            "learning_starts": 30,
            "replay_capacity": 90,
            "batch_size": 3,
            "sequence_steps": 4,
            "burn_in_steps": 3,
            "n_step": 2,
            "double": True,
            "prioritised": {},
            "bonus": {"hash": {"type": "simhash", "bits": 8}, "optimism": {}},
            "network": {
                "hidden": (8,),
                "dueling": True,
                "input": "standardise",
                "memory": {"type": "lstm", "size": 4, "last_action": True, "last_reward": True},
                **WEIGHT,
            },
        },
    ),
}
CHECKS = [
    (f"{name}: {check}", run)
    for name, (agent, config) in CHECKED.items()
    for check, run in agent_checks(
        PLUGINS[agent],
        PLUGINS[agent].config(name=agent, **(config if agent == "dqn" else BY_ROLLOUTS | config)),
        gymnasium,
        CARTPOLE,
        steps=40,
    )
]


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
def test_conformance(name: str, check: Any) -> None:
    check()


def made(name: str, line: Line, seed: int = 0, **config: Any) -> Any:
    plugin = PLUGINS[name]
    return plugin.agent(plugin.config(name=name, **config), line.spec, AgentContext(Streams(seed), torch.device("cpu")))


@dataclass
class Histories:
    """All steps of each environment's present episode: the slow, obvious memory."""

    count: int
    steps: list[list[tuple[NDArray[Any], list[float]]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.steps = [[] for _ in range(self.count)]

    def see(self, obs: NDArray[Any], last: list[list[float]], first: NDArray[np.bool_]) -> None:
        for env in range(self.count):
            if first[env]:
                self.steps[env] = []
            self.steps[env].append((obs[env], [0.0] * len(last[env]) if first[env] else last[env]))

    def outputs(self, network: RecurrentNetwork) -> list[Tensor]:
        """For each environment, the network's output after its whole episode from the first step on."""
        found = []
        for episode in self.steps:
            obs = torch.from_numpy(np.stack([obs for obs, _ in episode]))[:, None]
            last = torch.tensor([told for _, told in episode])[:, None]
            with torch.no_grad():
                found.append(network(obs, None, None, last)[-1])
        return found


def told(config: Any, step: StepBatch | None, count: int) -> list[list[float]]:
    """Last action and last reward as the memory gets them, by hand."""
    if step is None:
        return [[0.0] * (3 * config.last_action + config.last_reward)] * count
    rows = []
    for action, reward in zip(step.action, step.reward, strict=True):
        one_hot = [float(action == number) for number in range(3)] if config.last_action else []
        rows.append([*one_hot, *([float(np.clip(reward, -1, 1))] if config.last_reward else [])])
    return rows


def acted(name: str, extras: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """What acting said of its values."""
    return extras["value"][:, 0] if name == "ppo" else extras["values"]


def of(name: str, outputs: Tensor) -> Tensor:
    return outputs[..., 3] if name == "ppo" else outputs


@settings(max_examples=5, deadline=None)
@given(
    name=st.sampled_from(["ppo", "pqn"]),
    kind=st.sampled_from(["gru", "lstm"]),
    chunk=st.sampled_from([None, 2, 3]),
    last=st.sampled_from([(False, False), (True, True), (False, True)]),
    seed=st.integers(0, 999),
)
def test_what_is_learned_from_is_what_acted(
    name: str, kind: str, chunk: int | None, last: tuple[bool, bool], seed: int
) -> None:
    """Three rollouts with parameters that hardly move: each output that the learner computes, of steps in minibatches,
    of all steps, of first steps and of successors, is that of the whole episode unrolled from its beginning."""
    memory = {"type": kind, "size": 4, "last_action": last[0], "last_reward": last[1]}
    network = {"hidden": (5,), "input": "raw", "memory": memory}
    line, length = Line(line_spec("vector")), 6
    config = {"sequence_steps": chunk, "learning_rate": 1e-9, "minibatches": 2, "network": network}
    agent = made(name, line, seed, rollout_steps=length, **config)
    table = agent.policy.network.config
    state, rng, step = agent.initial_state(2), np.random.default_rng(seed), None
    episodes, rows, after = Histories(2), [], []
    rollouts: list[tuple[SequenceInputs, Any]] = []
    take = Trajectory.take

    def taken(self: Trajectory) -> Any:
        batch = take(self)
        inputs = rollout_inputs(batch, agent.policy.network, chunk or length)
        assert isinstance(inputs, SequenceInputs)
        rollouts.append((inputs, batch))
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trajectory, "take", taken)
        for _ in range(3 * length + 1):
            seen = line.observe()
            output = agent.act(seen, state, rng, Mode.EXPLORE)
            agent.learn()
            episodes.see(seen.obs, told(table, step, 2), seen.first)
            rows.append(torch.stack(episodes.outputs(agent.policy.network)))
            np.testing.assert_allclose(acted(name, output.extras), of(name, rows[-1]), atol=1e-5)
            step = line.step(seen, output.action, output.extras)
            following = Histories(
                2,
            )
            following.steps = [list(episode) for episode in episodes.steps]
            following.see(step.after.obs, told(table, step, 2), np.zeros(2, np.bool_))
            after.append((torch.stack(following.outputs(agent.policy.network)), step.ended))
            agent.observe(step)
            state = output.state
    assert len(rollouts) == 3
    evaluate = agent.learner.gradient.evaluate
    for number, (inputs, batch) in enumerate(rollouts):
        span = slice(number * length, (number + 1) * length)
        expected = torch.stack(rows[span]).flatten(0, 1)  # (T * N, ...)
        close = {"atol": 1e-5, "rtol": 1e-4}
        torch.testing.assert_close(evaluate(*inputs.all()), expected, **close)
        torch.testing.assert_close(evaluate(*inputs.first()), expected[:2], **close)
        index = torch.arange(len(expected))
        drawn = []
        for arguments, (own,) in inputs.minibatches((index,), 2, np.random.default_rng(seed)):
            torch.testing.assert_close(evaluate(*arguments), expected[own], **close)
            drawn += own.tolist()
        assert sorted(drawn) == index.tolist()
        ended = [(t, env) for t, (_, over) in enumerate(after[span][:-1]) for env in np.flatnonzero(over)]
        assert batch.final.tolist() == [2 * t + env for t, env in ended]
        successors = [*after[span][-1][0], *(after[span][t][0][env] for t, env in ended)]
        torch.testing.assert_close(inputs.successors(evaluate), torch.stack(successors), **close)


@settings(max_examples=5, deadline=None)
@given(
    burn_in=st.sampled_from([0, 3]),
    n_step=st.sampled_from([1, 3]),
    last=st.booleans(),
    moved=st.booleans(),
    seed=st.integers(0, 999),
)
def test_what_dqn_learns_from_sequences(burn_in: int, n_step: int, last: bool, moved: bool, seed: int) -> None:
    """Values, rewards and discounts of every learned step against whole episodes, step by step.

    moved: with other parameters than those that acted; then only sequences with the beginning of their episode, whose
    state burn-in or none computes anew, are as the whole episode.
    """
    memory = {"size": 4, "last_action": last, "last_reward": last}
    line = Line(line_spec("vector"))
    config = {"sequence_steps": 3, "burn_in_steps": burn_in, "n_step": n_step, "discount": 0.9, "replay_capacity": 60}
    agent = made("dqn", line, seed, **config, network={"hidden": (5,), "input": "raw", "memory": memory})
    network, table = agent.policy.network, agent.policy.network.config
    state, rng, step, episodes = agent.initial_state(2), np.random.default_rng(seed), None, Histories(2)
    before: dict[float, list[Any]] = {}  # by the reward, which is different for all steps: the episode so far
    after: dict[float, list[Any]] = {}
    following: dict[float, tuple[float, bool]] = {}  # the discount, and whether the episode is over
    for turn in range(40):
        seen = line.observe()
        output = agent.act(seen, state, rng, Mode.EXPLORE)
        episodes.see(seen.obs, told(table, step, 2), seen.first)
        played = line.step(seen, output.action, output.extras)
        reward = np.array([0.01 * turn, 0.01 * turn + 0.005], np.float32)
        line.paid(reward)
        step = replace(played, reward=reward, after=replace(played.after, last_reward=reward))
        agent.observe(step)
        reached = told(table, step, 2)
        for env in range(2):
            name = float(reward[env])
            before[name] = list(episodes.steps[env])
            after[name] = [*before[name], (step.after.obs[env], reached[env])]
            following[name] = float(step.discount[env]), bool(step.ended[env])
        state = output.state
    if moved:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.5)
    index, _ = agent.replay.draw(12, 0.0)
    rules = agent._sequences  # noqa: SLF001
    sequences = rules.fetch(agent.replay, index)
    batch, sequence = rules.transitions(sequences, torch.arange(12.0), agent.bonus)
    values, next_values = network(*batch.obs), network(*batch.next_obs)
    newest = agent.replay._newest  # noqa: SLF001
    places = [(t, b) for t in range(3) for b in range(12) if t < sequences.steps[b]]
    assert sequence.tolist() == [b for _, b in places] == batch.weight.tolist()
    for row, (t, b) in enumerate(places):
        rewards = sequences.reward[b, burn_in + t :][: min(n_step, sequences.steps[b] - t)].tolist()
        total, discount = 0.0, 1.0
        for reward in rewards:
            total += discount * reward
            discount *= 0.9 * following[reward][0]
        assert batch.reward[row].item() == pytest.approx(total, abs=1e-6)
        assert batch.discount[row].item() == pytest.approx(discount, abs=1e-6)
        assert len(rewards) == n_step or following[rewards[-1]][1] or rewards[-1] > 0.387
        whole = bool(sequences.first[b])
        row_before = index[b] - 2 * (sequences.before[b] + 1)  # tells where an episode begins, unless overwritten
        overwritten = row_before <= newest[index[b] % 2] - 60
        assert whole == (len(before[rewards[0]]) - 1 - t == sequences.before[b] and not overwritten)
        if not moved or whole:
            for found, episode in ((values[row], before[rewards[0]]), (next_values[row], after[rewards[-1]])):
                alone = Histories(1)
                alone.steps = [episode]
                torch.testing.assert_close(found, alone.outputs(network)[0], atol=1e-5, rtol=1e-4)


def test_a_bonus_is_asked_about_valid_steps_only() -> None:
    """What is repeated around a sequence is no step: the deviation of bonuses would count it."""
    line, network = Line(line_spec("vector")), {"hidden": (5,), "memory": {"size": 4}}
    bonus = {"type": "helpers.far_bonus:FarConfig", "deviation": 0.5}
    config = {"sequence_steps": 4, "burn_in_steps": 2, "n_step": 2, "replay_capacity": 60, "bonus": bonus}
    agent = made("dqn", line, **config, network=network)
    live(agent, line, 30)
    index, weight = agent.replay.draw(12, 0.0)
    sequences = agent._sequences.fetch(agent.replay, index)  # noqa: SLF001
    assert (sequences.steps < 5).any()
    agent._sequences.transitions(sequences, weight, agent.bonus)  # noqa: SLF001
    far = np.concatenate([sequences.extras["far"][b, 2 : 2 + count] for b, count in enumerate(sequences.steps)])
    assert agent.bonus._moments.count == sequences.steps.sum()  # noqa: SLF001
    assert float(agent.bonus._moments.deviation) == pytest.approx(0.5 * np.std(far), rel=1e-4)  # noqa: SLF001


def test_priorities_of_sequences_by_hand() -> None:
    errors, sequence = torch.tensor([1.0, -4.0, 2.0, 3.0]), torch.tensor([0, 1, 0, 1])
    assert priorities(errors, sequence, 2).tolist() == pytest.approx([0.9 * 2 + 0.1 * 1.5, 0.9 * 4 + 0.1 * 3.5])


@pytest.mark.parametrize("name", ["ppo", "pqn"])
def test_the_first_rollout_initialises_the_layers_around_the_memory(name: str) -> None:
    """Inputs, then weights before and after the memory, whose states are then computed anew in every sequence."""
    line, steps = Line(line_spec("vector")), 60
    network = {"hidden": (16,), "input": "standardise", "memory": {"size": 6}, "normalisation": "weight"}
    network["weight_norm"] = {"initial_batch": 2 * steps}
    agent = made(name, line, rollout_steps=steps, sequence_steps=5, learning_rate=1e-9, network=network)
    state, rng, found = agent.initial_state(2), np.random.default_rng(0), []
    learn = agent.learner.learn

    def recorded(first: Any, *others: Any) -> Any:
        found.append(first if name == "ppo" else first.inputs)
        return learn(first, *others)

    agent.learner.learn = recorded
    for _ in range(steps + 1):
        seen = line.observe()
        output = agent.act(seen, state, rng, Mode.EXPLORE)
        agent.learn()
        agent.observe(line.step(seen, output.action, output.extras))
        state = output.state
    (inputs,) = found
    body, evaluate = agent.policy.network.bodies[0], agent.learner.gradient.evaluate
    with torch.no_grad():
        layer = body.before[1](body.before[0](agent.policy.network.inputs(inputs.observations)))
    outputs = evaluate(*inputs.all())
    for values, scale in ((layer, 1.0), (outputs, 0.1)):
        deviation, mean = torch.std_mean(values, 0, correction=0)
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-4, rtol=0)
        torch.testing.assert_close(deviation, torch.full_like(mean, scale), atol=1e-3, rtol=0)
    for arguments, (rows,) in inputs.minibatches((torch.arange(2 * steps),), 4, rng):
        torch.testing.assert_close(evaluate(*arguments), outputs[rows], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_the_exported_step_is_that_of_acting(name: str) -> None:
    """From what `given` says of an observation, at an episode's begin and later."""
    memory = {"size": 3, "last_action": True, "last_reward": True}
    agent = made(name, Line(line_spec("vector")), network={"hidden": (4,), "memory": memory})
    policy: Any = agent.policy
    exported, rng = policy.exported(), np.random.default_rng(0)
    state, size = policy.initial_state(2), policy.network.inputs.shape
    for step in range(3):
        obs = rng.normal(size=(2, *size)).astype(np.float32)
        seen = Observation(obs, {}, np.array([step == 0, step != 1]), np.array([1, 0]), np.array([0.5, -3], np.float32))
        given = exported.given(seen, state)
        with torch.no_grad():
            inputs = [torch.from_numpy(given[key]) for key in exported.inputs]
            scores, after = exported.module(torch.from_numpy(obs), *inputs)
        output = policy.act(seen, state, rng, Mode.EVALUATE)
        assert scores.argmax(1).tolist() == output.action.tolist()
        assert np.allclose(after.numpy(), output.state["memory"], atol=1e-6)
        state = output.state


def test_the_last_reward_must_be_known_within_an_episode() -> None:
    line = Line(line_spec("vector"))
    network = {"hidden": (4,), "memory": {"size": 3, "last_reward": True}}
    agent = made("pqn", line, rollout_steps=4, minibatches=1, network=network)
    seen = Observation(line.observe().obs, {}, np.array([True, False]))
    with pytest.raises(SpecError, match=r"memory.last_reward and needs the last reward after an episode's first step"):
        agent.act(seen, agent.initial_state(2), np.random.default_rng(0), Mode.EVALUATE)


@pytest.mark.parametrize(("keys", "count"), [({}, 2), ({"sequence_steps": 2}, 4), ({"minibatch_size": 1}, 2)])
def test_minibatches_are_whole_sequences(keys: dict[str, int], count: int) -> None:
    memory = ppo.plugin.config(name="ppo", network={"memory": {}}).network
    assert RolloutConfig(rollout_steps=8, **keys).minibatch_count(2, memory) == count


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"sequence_steps": 3, "network": {}}, "sequence_steps is of networks with memory: add network.memory, or"),
        ({"sequence_steps": 3}, "sequence_steps = 3 must divide rollout_steps = 8"),
        ({"minibatches": 3}, "has 2 sequences of 8 steps, too few for 3 minibatches"),
    ],
)
@pytest.mark.parametrize("name", ["ppo", "pqn"])
def test_what_does_not_fit_a_memory(name: str, config: dict[str, Any], says: str) -> None:
    line, table = Line(line_spec("vector")), {"minibatches": 2, "network": {"memory": {"size": 3}}}
    with pytest.raises(ConfigError, match=says):
        made(name, line, rollout_steps=8, **{**table, **config})


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({"memory": {"size": 0}}, "network.memory.size\n.*greater than or equal to 1"),
        ({"memory": {"type": "rnn"}}, "'gru' or 'lstm'"),
        ({"memory": {"horizon": 2}}, "greater than or equal to 3"),
    ],
)
def test_impossible_memories(network: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ppo.plugin.config(name="ppo", network=network)


@pytest.mark.parametrize("key", ["sequence_steps", "burn_in_steps"])
def test_keys_of_a_memory_need_one(key: str) -> None:
    with pytest.raises(ValidationError, match=f"{key} is of networks with memory: add network.memory, or leave it out"):
        dqn.plugin.config(name="dqn", **{key: 3})


def test_sequences_have_no_monte_carlo_returns() -> None:
    with pytest.raises(ValidationError, match=r"monte_carlo mixes targets of windows, not of sequences: leave out it"):
        dqn.plugin.config(name="dqn", monte_carlo=0.1, network={"memory": {}})


@pytest.mark.parametrize("level", ["controller", "meta"])
def test_agents_without_memory_refuse_one(level: str) -> None:
    table = {"goals": {"name": "helpers.line_world:Places"}, level: {"network": {"memory": {}}}}
    with pytest.raises(ValidationError, match=rf"{level}.network.memory: h-DQN does not keep the state of a memory"):
        hdqn.plugin.config(name="hdqn", **table)
