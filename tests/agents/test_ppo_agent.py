"""The PPO agent against what a small rollout must give."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.nn.utils import parametrize

from agents.ppo import PPOAgent, plugin
from agents.ppo.agent import explained_variance
from agents.ppo.learner import PPOLearner
from envs.gymnasium import plugin as gymnasium
from helpers.line_world import Line, line_spec, live
from helpers.obvious_counts import ObviousCounts
from rlkit.agent import AgentContext
from rlkit.errors import ConfigError
from rlkit.learning.background import Background
from rlkit.learning.policy_losses import PolicySteps
from rlkit.learning.sequences import RolloutInputs
from rlkit.replay import TrajectoryBatch
from rlkit.seeding import Streams
from rlkit.testing import agent_checks
from rlkit.testing.states import difference, snapshot
from rlkit.types import EnvSpec, Mode, Observation, StepBatch

CARTPOLE = gymnasium.config(name="gymnasium", id="CartPole-v1", max_episode_steps=15)
SMALL = {"rollout_steps": 12, "epochs": 2, "minibatches": 3, "network": {"hidden": (8,), "activation": "tanh"}}
CHECKED: dict[str, dict[str, Any]] = {
    "one network": SMALL,
    "overlap": {**SMALL, "overlap": True},
    "two networks, everything else on": {
        **SMALL,
        "separate_networks": True,
        "anneal": {"steps": 100, "learning_rate": 0.1, "clip": 0.5},
        "max_kl": 0.001,
        "value_clip": 0.2,
        "reward_clip": 1.0,
        "bonus": {"hash": {"type": "simhash", "bits": 8}, "count_of": "pair"},
        "bonus_value": {},
        "network": {"hidden": (8,), "normalisation": "weight", "weight_norm": {"initial_batch": 9}},
    },
}
CHECKS = [
    (f"{name}: {check}", run)
    for name, config in CHECKED.items()
    for check, run in agent_checks(plugin, plugin.config(name="ppo", **config), gymnasium, CARTPOLE, steps=40)
]


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
def test_conformance(name: str, check: Any) -> None:
    check()


def ppo(spec: EnvSpec, seed: int = 0, **config: Any) -> PPOAgent:
    return plugin.agent(plugin.config(name="ppo", **config), spec, AgentContext(Streams(seed), torch.device("cpu")))


Rollout = tuple[torch.Tensor, PolicySteps]


def watched(patch: pytest.MonkeyPatch) -> list[Rollout]:
    """The observations and steps that agents learn from."""
    seen: list[Rollout] = []
    learn = PPOLearner.learn

    def spy(self: PPOLearner, inputs: RolloutInputs, steps: PolicySteps, factors: tuple[float, float]) -> Any:
        seen.append((inputs.observations, steps))
        return learn(self, inputs, steps, factors)

    patch.setattr(PPOLearner, "learn", spy)
    return seen


@pytest.fixture
def rollouts(monkeypatch: pytest.MonkeyPatch) -> list[Rollout]:
    return watched(monkeypatch)


TABLE = {"network": {"hidden": ()}, "epochs": 1, "minibatches": 1}


def set_values(agent: PPOAgent, *values: list[float]) -> None:
    """The values of a table; its policy is uniform."""
    state = snapshot(agent.state_dict()["policy"])
    weight = np.zeros_like(state["network"]["bodies.0.1.weight"])
    weight[-len(values) :] = values
    state["network"] |= {"bodies.0.1.weight": weight, "bodies.0.1.bias": np.zeros(len(weight), np.float32)}
    agent.load_policy_state(state)


def play_three_steps(agent: PPOAgent) -> None:
    """Places 1, 2, 5 with successors 2, 3, 6 in environment 0, which is truncated at its second step, and 2, 3, 6 with
    3, 4, 7 in environment 1, which terminates there; all rewards are 1."""
    before, after = [[1, 2], [2, 3], [5, 6]], [[2, 3], [3, 4], [6, 7]]
    no, ones, rng = np.zeros(2, np.bool_), np.ones(2, np.float32), np.random.default_rng(0)
    for number in range(3):
        last = number == 1
        seen = Observation(np.array(before[number]), {}, np.full(2, number != 1))
        output = agent.act(seen, {}, rng, Mode.EXPLORE)
        truncated, terminated = np.array([last, False]), np.array([False, last])
        following = Observation(np.array(after[number]), {}, no)
        agent.observe(
            StepBatch(seen, output.action, ones, ones - terminated, terminated, truncated, following, output.extras)
        )
    agent.learn()


# By hand, gamma = lambda = 1/2, V(s) = 10 s: at its truncated step environment 0 bootstraps from its own successor 3,
# not from 5, where the next episode begins
ENDS = [1 + 15 - 20, 1 - 30]
ADVANTAGES = [[1 + 10 - 10 + ENDS[0] / 4, 1 + 15 - 20 + ENDS[1] / 4], ENDS, [1 + 30 - 50, 1 + 35 - 60]]
VALUES = [[10, 20], [20, 30], [50, 60]]


def test_a_truncation_bootstraps_from_its_own_successor(rollouts: list[Rollout]) -> None:
    agent = ppo(EnvSpec(Discrete(8), 2, 2), rollout_steps=3, discount=0.5, gae_lambda=0.5, **TABLE)
    set_values(agent, [10.0 * place for place in range(8)])
    play_three_steps(agent)
    ((_, steps),) = rollouts
    assert steps.value.view(3, 2).tolist() == VALUES
    assert steps.advantage.view(3, 2).tolist() == ADVANTAGES
    assert steps.returns.view(3, 2).tolist() == (np.array(ADVANTAGES) + VALUES).tolist()


@pytest.mark.parametrize(
    ("episodic", "advantages"),
    [
        (True, [[1.125, 0.0], [0.5, -2.0], [-1.0, -1.5]]),
        # beyond the ends the next episodes follow, from 5 and 6: 1 + 5 / 2 - 2 - 1 / 4, and 1 + 6 / 2 - 3 - 1.5 / 4
        (False, [[1.3125, 0.65625], [1.25, 0.625], [-1.0, -1.5]]),
    ],
)
def test_a_value_of_bonuses(episodic: bool, advantages: list[list[float]], rollouts: list[Rollout]) -> None:
    """By hand, all bonuses 1 and their V(s) = s, gamma = lambda = 1/2; rewards as above, whose values do not change."""
    own = {"discount": 0.5, "weight": 2.0, "episodic": episodic}
    config = {"discount": 0.5, "gae_lambda": 0.5, "bonus": True, "bonus_value": own}
    agent = ppo(EnvSpec(Discrete(8), 2, 2), rollout_steps=3, **config, **TABLE)
    set_values(agent, [10.0 * place for place in range(8)], [float(place) for place in range(8)])
    agent.bonus.add = lambda reward, window: reward + 1.0  # type: ignore[method-assign]
    play_three_steps(agent)
    ((_, steps),) = rollouts
    of_bonuses, values = steps.returns[:, 1].view(3, 2), steps.value[:, 1].view(3, 2)
    assert (of_bonuses - values).tolist() == advantages
    assert steps.returns[:, 0].view(3, 2).tolist() == (np.array(ADVANTAGES) + VALUES).tolist()
    assert steps.advantage.view(3, 2).tolist() == (np.array(ADVANTAGES) + 2 * np.array(advantages)).tolist()


@pytest.mark.parametrize("own", [None, {"discount": 0.0}])
def test_bonuses_are_added_after_clipping(own: dict[str, Any] | None, rollouts: list[Rollout]) -> None:
    """All rewards are 1 and clipped to 0.25; bonuses are 1 and stay. With a discount of 0 returns are rewards."""
    config = {"discount": 0.0, "reward_clip": 0.25, "bonus": True, "bonus_value": own}
    agent = ppo(EnvSpec(Discrete(8), 2, 2), rollout_steps=3, **config, **TABLE)
    agent.bonus.add = lambda reward, window: reward + 1.0  # type: ignore[method-assign]
    play_three_steps(agent)
    ((_, steps),) = rollouts
    expected = [[1.25]] if own is None else [[0.25, 1.0]]
    torch.testing.assert_close(steps.returns, torch.tensor(expected * 6))


def test_the_probabilities_learned_with_are_those_of_the_policy_that_acted(rollouts: list[Rollout]) -> None:
    """Also of the step in flight during an update, the first of the next rollout; each step is learned from once."""
    line = Line(line_spec("vector"))
    agent = ppo(line.spec, rollout_steps=4, learning_rate=0.3, network={"input": "raw"})
    rng = np.random.default_rng(0)
    acted: list[tuple[Any, ...]] = []
    for turn in range(13):
        seen = line.observe()
        output = agent.act(seen, {}, rng, Mode.EXPLORE)
        metrics = agent.learn()
        if turn == 4:  # the first rollout was made by the policy that learns from it
            assert metrics["value/mean"] == pytest.approx(np.mean([extras["value"] for *_, extras in acted]))
        step = line.step(seen, output.action, output.extras)
        agent.observe(step)
        acted.append((seen.obs, output.action, output.extras))
    assert len(rollouts) == 3
    np.testing.assert_array_equal(
        torch.cat([obs for obs, _ in rollouts]), np.concatenate([one[0] for one in acted[:12]])
    )
    names = ("action", "log_probability", "value")
    learned = {name: torch.cat([getattr(steps, name) for _, steps in rollouts]) for name in names}
    np.testing.assert_array_equal(learned["action"], np.concatenate([one[1] for one in acted[:12]]))
    for name in names[1:]:
        np.testing.assert_array_equal(learned[name], np.concatenate([one[2][name] for one in acted[:12]]))


def overlapping(patch: pytest.MonkeyPatch, *, in_turn: bool) -> list[Any]:
    """The acting parameters of each rollout and the final state, with slow updates or with updates before acting."""
    learn, start, line = PPOLearner.learn, Background.start, Line(line_spec("vector"))

    def slow(self: PPOLearner, *arguments: Any) -> Any:
        time.sleep(0.0 if in_turn else 0.02)
        return learn(self, *arguments)

    def start_and_wait(self: Background, *arguments: Any) -> None:
        start(self, *arguments)
        self.state_dict()

    with patch.context() as patched:
        patched.setattr(PPOLearner, "learn", slow)
        if in_turn:
            patched.setattr(Background, "start", start_and_wait)
        agent, states = ppo(line.spec, rollout_steps=4, learning_rate=0.1, overlap=True), []
        for _ in range(5):
            live(agent, line, 4)
            states.append(snapshot(agent.policy.state_dict()))
        return [*states, snapshot(agent.state_dict())]


def test_overlapping_updates_may_end_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, in_turn = (overlapping(monkeypatch, in_turn=each) for each in (False, True))
    assert difference(in_turn, slow) is None
    assert all(difference(*pair) is not None for pair in pairwise(slow[1:5]))  # each rollout has other parameters
    assert difference(slow[4]["network"], slow[5]["background"]["network"]) is not None  # the last updates act later


def test_all_values_of_a_rollout_are_by_the_network_that_acted_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With overlapping updates too, where the learner's network is one round ahead; the first step was in flight."""
    rounds, line, original = [], Line(line_spec("vector")), PPOAgent._advantages  # noqa: SLF001

    def spy(self: PPOAgent, batch: TrajectoryBatch, values: Tensor, successors: Tensor) -> Any:
        with torch.no_grad():
            expected = [self.policy.network(each)[..., -1:] for each in (batch.obs[1:].flatten(0, 1), batch.successors)]
            ahead = self.learner._network(batch.successors)[..., -1:]  # noqa: SLF001
        torch.testing.assert_close(values[1:].flatten(0, 1), expected[0])
        torch.testing.assert_close(successors, expected[1])
        rounds.append((ahead - successors).abs().max())
        return original(self, batch, values, successors)

    monkeypatch.setattr(PPOAgent, "_advantages", spy)
    live(ppo(line.spec, rollout_steps=4, learning_rate=0.3, overlap=True), line, 24)
    assert len(rounds) == 6
    assert min(rounds[1:]) > 0.01, "the networks hardly differ: shows too little"


@pytest.mark.parametrize(("limit", "epochs"), [(None, 5), (1e-6, 2), (100.0, 5)])
def test_the_divergence_stops_the_epochs(limit: float | None, epochs: int) -> None:
    """The first epoch's single update is made on-policy, so its divergence is 0."""
    line = Line(line_spec("vector"))
    agent = ppo(line.spec, rollout_steps=8, epochs=5, minibatches=1, max_kl=limit, learning_rate=0.01)
    live(agent, line, 8)
    assert agent.updates == epochs


@settings(max_examples=24, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shown=st.sampled_from(["number", "vector"]),
    hashing=st.sampled_from(["exact", "simhash"]),
    timing=st.sampled_from(["sample", "insert"]),
    episodic=st.sampled_from(["none", "first", "count"]),
    table=st.sampled_from(["exact", "sketch"]),
)
def test_each_step_is_counted_once_and_paid(
    seed: int, shown: str, hashing: str, timing: str, episodic: str, table: str
) -> None:
    """With a discount of 0, returns are rewards, clipped and then with the bonus, by counts of all steps so far.

    SimHash begins when the first rollout has given the mean of the features; its bonuses are then rewritten. It has so
    many bits that directions of less than a tenth of a degree have codes of their own, and the sketch is so large that
    no codes share its cells.
    """
    line = Line(line_spec(shown))
    bits = {"bits": 4096} if hashing == "simhash" else {}
    bonus = {"beta": 0.5, "hash": {"type": hashing, **bits}, "timing": timing, "count_of": "successor"}
    bonus |= {"episodic": episodic, "counts": {"type": table}}
    agent = ppo(line.spec, seed, rollout_steps=5, discount=0.0, reward_clip=0.5, bonus=bonus, network={"hidden": (4,)})
    rng, counts = np.random.default_rng(seed), ObviousCounts(2, 0.5, episodic, clip=0.5)
    with pytest.MonkeyPatch.context() as patch:
        seen = watched(patch)
        for turn in range(30):
            observation = line.observe()
            output = agent.act(observation, {}, rng, Mode.EXPLORE)
            step = line.step(observation, output.action, output.extras)
            counts.add(observation, step)
            agent.observe(step)
            agent.learn()
            if turn % 5 == 4:
                expected = counts.rewards(now=timing == "sample" or (hashing == "simhash" and turn == 4))
                np.testing.assert_allclose(seen[-1][1].returns[:, 0], expected, rtol=1e-5)
    if table == "exact":
        visits = agent.bonus.visits.states.values()  # type: ignore[attr-defined]
        assert sorted(counts.lifelong.values()) == sorted(visits)


def test_normalised_weights_are_initialised_from_the_first_rollout(rollouts: list[Rollout]) -> None:
    line, steps = Line(line_spec("vector")), 60
    network = {"hidden": (16,), "normalisation": "weight", "weight_norm": {"initial_batch": 2 * steps}}
    network["input"] = "standardise"
    agent = ppo(line.spec, rollout_steps=steps, epochs=4, learning_rate=1e-9, network=network)
    rng, seen = np.random.default_rng(0), []
    for _ in range(steps + 1):
        observation = line.observe()
        output = agent.act(observation, {}, rng, Mode.EXPLORE)
        agent.learn()
        agent.observe(line.step(observation, output.action, output.extras))
        seen.append(observation.obs)
    assert agent.updates == 16
    rows = agent.policy.network.inputs(torch.from_numpy(np.concatenate(seen[:steps])))  # before the weights
    torch.testing.assert_close(rows.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    output = agent.learner.gradient.evaluate(torch.from_numpy(np.concatenate(seen[:steps])))
    torch.testing.assert_close(rollouts[0][1].value, output[:, -1:], atol=1e-4, rtol=0)  # not those it had acted with
    deviation, mean = torch.std_mean(output, 0, correction=0)
    torch.testing.assert_close(mean, torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(deviation, torch.full((4,), 0.1), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "network", [{"input": "standardise"}, {"normalisation": "weight", "weight_norm": {"initial_batch": 5}}]
)
def test_values_are_those_of_the_network_before_its_update(network: dict[str, Any]) -> None:
    """Also those of the step that was in flight while the network was initialised from the first rollout."""
    line, errors = Line(line_spec("vector")), []
    agent = ppo(line.spec, rollout_steps=60, epochs=1, network={"hidden": (8,), **network})
    learn = agent.learner.learn

    def recorded(inputs: RolloutInputs, steps: Any, factors: Any) -> Any:
        errors.append((steps.value - agent.learner.gradient.evaluate(*inputs.all())[:, -1:]).abs().max().item())
        return learn(inputs, steps, factors)

    agent.learner.learn = recorded  # type: ignore[method-assign]
    live(agent, line, 125)
    assert len(errors) == 2
    assert max(errors) < 1e-4


@pytest.mark.parametrize(("size", "sizes"), [(4, [4, 3, 3]), (5, [5, 5]), (100, [10]), (None, [3, 3, 2, 2])])
def test_minibatches_are_equal_parts_of_the_rollout(size: int | None, sizes: list[int]) -> None:
    line = Line(line_spec("number"))
    agent, seen = ppo(line.spec, rollout_steps=5, epochs=2, minibatch_size=size), []
    forward = agent.learner.gradient.forward
    agent.learner.gradient.forward = lambda obs: (seen.append(len(obs)), forward(obs))[1]  # type: ignore[method-assign]
    live(agent, line, 5)
    assert seen == sizes * 2


def test_evaluation_takes_the_likeliest_action_or_samples() -> None:
    agent = ppo(EnvSpec(Discrete(2), 3, 500), network={"hidden": ()}, rollout_steps=1, initialisation="uniform")
    seen = Observation(np.zeros(500, np.int64), {}, np.zeros(500, np.bool_))
    actions = {mode: agent.act(seen, {}, np.random.default_rng(0), mode) for mode in Mode}
    np.testing.assert_array_equal(actions[Mode.SAMPLE].action, actions[Mode.EXPLORE].action)
    counts = np.bincount(actions[Mode.SAMPLE].action, minlength=3)
    assert (counts > 50).all()
    assert set(actions[Mode.EVALUATE].action) == {counts.argmax()}
    probabilities, values = agent.policy.action_probabilities(seen, {})
    np.testing.assert_allclose(counts / 500, probabilities[0], atol=0.07)
    np.testing.assert_array_equal(values, actions[Mode.EXPLORE].extras["value"][:, 0])
    assert [len(actions[mode].extras) for mode in (Mode.EXPLORE, Mode.SAMPLE, Mode.EVALUATE)] == [2, 0, 0]


def test_annealing_begins_with_the_first_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float]] = []
    monkeypatch.setattr(PPOLearner, "learn", lambda self, obs, steps, factors: seen.append(factors) or {})
    line = Line(line_spec("vector"))
    live(ppo(line.spec, rollout_steps=5, anneal={"steps": 20}), line, 15)
    assert seen == [(1.0, 1.0), (0.5, 1.0), (0.0, 1.0)]


def learned_from(rollouts: list[Rollout], **config: Any) -> tuple[PPOAgent, RolloutInputs, PolicySteps]:
    """An agent that has learned from its first rollout of 16 steps, and what it learned from."""
    line, inputs = Line(line_spec("vector")), []
    agent = ppo(line.spec, rollout_steps=8, network={"hidden": (8,), "input": "raw"}, **config)
    learn = agent.learner.learn
    agent.learner.learn = lambda given, *rest: (inputs.append(given), learn(given, *rest))[1]  # type: ignore[method-assign]
    live(agent, line, 8)
    agent.learner.learn = learn  # type: ignore[method-assign]
    return agent, inputs[0], rollouts[0][1]


def test_annealing_lowers_the_learning_rate_and_the_clip_range(rollouts: list[Rollout]) -> None:
    agent, inputs, steps = learned_from(rollouts, anneal={"steps": 100}, epochs=4, minibatches=2)
    before = snapshot(agent.policy.state_dict())
    agent.learner.learn(inputs, steps, (0.0, 1.0))
    assert difference(before, agent.policy.state_dict()) is None
    assert agent.learner.learn(inputs, steps, (1.0, 1e-6))["policy/clip_fraction"] > 0.9
    assert difference(before, agent.policy.state_dict()) is not None


@pytest.mark.parametrize(("how", "sizes"), [("rollout", [16]), ("minibatch", [4, 4, 4, 4]), ("none", [])])
def test_advantages_are_normalised_over_the_rollout_or_each_minibatch(
    how: str, sizes: list[int], rollouts: list[Rollout]
) -> None:
    agent, inputs, steps = learned_from(rollouts, normalise_advantages=how, epochs=1, minibatches=4)
    parts: list[Tensor] = []
    loss = agent.learner._loss  # noqa: SLF001
    agent.learner._loss = lambda output, batch: (parts.append(batch.advantage), loss(output, batch))[1]  # type: ignore[assignment]  # noqa: SLF001
    agent.learner.learn(inputs, steps, (1.0, 1.0))
    used = torch.cat(parts)
    for part in used.split(sizes) if sizes else ():
        torch.testing.assert_close(part.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
        torch.testing.assert_close(part.std(), torch.tensor(1.0))
    if how == "none":
        torch.testing.assert_close(used.sort().values, steps.advantage.sort().values)
    if how == "rollout":
        assert len({round(float(part.mean()), 3) for part in parts}) > 1, "each minibatch for itself"


def test_the_divergence_is_the_mean_over_an_epoch(rollouts: list[Rollout]) -> None:
    agent, inputs, steps = learned_from(rollouts, max_kl=1e9, epochs=1, minibatches=4, learning_rate=0.05)
    ratios: list[Tensor] = []
    loss = agent.learner._loss  # noqa: SLF001

    def spy(output: Tensor, batch: PolicySteps) -> Any:
        found = loss(output, batch)
        ratios.append(found.log_ratio)
        return found

    _, divergence = agent.learner._epoch(inputs, steps, spy)  # type: ignore[arg-type]  # noqa: SLF001
    by_hand = [float((ratio.exp() - 1 - ratio).mean()) for ratio in ratios]
    assert divergence == pytest.approx(np.mean(by_hand), rel=1e-4)
    assert divergence != pytest.approx(by_hand[-1], rel=0.01), "shows too little"


def test_explained_variance_by_hand() -> None:
    returns = torch.tensor([1.0, 2.0, 3.0, 6.0])  # variance 3.5
    errors = torch.tensor([1.0, -1.0, 1.0, -1.0])  # variance 1
    assert float(explained_variance(returns - errors, returns)) == pytest.approx(1 - 1 / 3.5)
    assert float(explained_variance(torch.zeros(4), torch.ones(4))) == 0.0


def test_gauges_show_what_the_next_rollout_is_learned_with() -> None:
    line = Line(line_spec("vector"))
    agent = ppo(line.spec, rollout_steps=5, learning_rate=0.02, clip=0.4, anneal={"steps": 40, "clip": 0.5})
    live(agent, line, 10)  # half of the 40 steps
    assert agent.gauges()["policy/learning_rate"] == pytest.approx(0.01)
    assert agent.gauges()["policy/clip"] == pytest.approx(0.3)


def test_a_network_of_another_run_is_not_initialised_again() -> None:
    line, network = Line(line_spec("vector")), {"hidden": (8,), "input": "standardise"}
    donor = ppo(line.spec, rollout_steps=8, network=network)
    live(donor, line, 16)
    taken = snapshot(donor.state_dict())
    agent = ppo(line.spec, 1, rollout_steps=8, network=network, learning_rate=1e-9)
    agent.warm_start(taken, ())
    live(agent, Line(line_spec("vector")), 16)
    assert agent.updates
    ours, theirs = agent.policy.state_dict()["network"], taken["policy"]["network"]
    for name, value in theirs.items():
        np.testing.assert_allclose(np.asarray(ours[name]), np.asarray(value), atol=1e-6, err_msg=name)


def test_annealing_by_hand() -> None:
    anneal = plugin.config(name="ppo", anneal={"steps": 100, "learning_rate": 0.2, "clip": 0.5}).anneal
    assert [anneal.factors(steps) for steps in (0, 50, 100, 200)] == [
        (1.0, 1.0),
        pytest.approx((0.6, 0.75)),
        pytest.approx((0.2, 0.5)),
        pytest.approx((0.2, 0.5)),
    ]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"minibatches": 2, "minibatch_size": 3}, "minibatches and minibatch_size both set the size"),
        ({"bonus_value": {}}, "bonus_value needs a bonus"),
        ({"bonus": {}, "bonus_value": {"discount": 1.0}}, "sums the bonuses of the whole run, without a bound"),
        ({"network": {"dueling": True}}, "network.dueling applies to action values"),
        ({"adjustable_clip": 0.1, "anneal": {"steps": 9}}, "adjustable_clip needs a constant learning rate"),
    ],
)
def test_impossible_configs(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        plugin.config(name="ppo", **config)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            {"minibatches": 5},
            r"2 steps \(rollout_steps\) of 2 environments \(train.num_envs\) is too short for 5",
        ),
        ({"minibatch_size": 1}, r'normalise_advantages = "minibatch" needs 2 steps or more at once, but .* has 1'),
        (
            {"network": {"normalisation": "weight"}},
            r"rollout_steps \* train.num_envs = 4 must be at least",
        ),
        ({"bonus": {"optimism": {}}}, "optimism adjusts action values"),
        ({"bonus": {"features": {"type": "learned", "side": 8}}}, "learns from a replay, and this agent has none"),
    ],
)
def test_what_does_not_fit_the_environments(config: dict[str, Any], says: str) -> None:
    spec = line_spec("image" if "features" in str(config) else "vector")
    with pytest.raises(ConfigError, match=says):
        ppo(spec, rollout_steps=2, **({"minibatches": 2} | config if "minibatch_size" not in config else config))


def test_while_learning_in_a_thread_no_weights_are_cached_for_the_policy_that_acts() -> None:
    """torch caches parametrized weights for the whole process: the policy could act with those of before a round."""
    line, cached = Line(line_spec("vector")), []
    network = {"hidden": (4,), "normalisation": "weight", "weight_norm": {"initial_batch": 4}}
    agent = ppo(line.spec, rollout_steps=4, overlap=True, network=network)
    agent.learner._network.register_forward_pre_hook(  # noqa: SLF001
        lambda module, arguments: cached.append(parametrize._cache_enabled)  # noqa: SLF001
    )
    live(agent, line, 9)
    assert agent.state_dict()
    assert len(cached) > 16
    assert not any(cached)
