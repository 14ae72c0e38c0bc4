"""The PQN agent against what a small rollout must give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from pydantic import ValidationError

from agents.pqn import PQNAgent, plugin
from agents.pqn.learner import PQNLearner, Samples
from envs.gymnasium import plugin as gymnasium
from helpers.line_world import Line, line_spec, live
from helpers.obvious_counts import ObviousCounts
from helpers.tables import see, step, with_values
from rlkit.agent import AgentContext
from rlkit.errors import ConfigError
from rlkit.learning.sequences import SingleInputs
from rlkit.seeding import Streams
from rlkit.testing import agent_checks
from rlkit.types import ACTION_MASK, ArraySpec, EnvSpec, Mode, Observation, StepBatch

CARTPOLE = gymnasium.config(name="gymnasium", id="CartPole-v1", max_episode_steps=15)
SMALL = {"rollout_steps": 12, "epochs": 2, "minibatches": 3, "network": {"hidden": (8,)}, "epsilon": {"steps": 60}}
CHECKED: dict[str, dict[str, Any]] = {
    "greedy": SMALL,
    "soft, everything else on": {
        **SMALL,
        "softmax": {},
        "anneal": {"steps": 100, "learning_rate": 0.1},
        "reward_clip": 1.0,
        "bonus": {"hash": {"type": "simhash", "bits": 8}, "count_of": "pair", "optimism": {}},
        "network": {"hidden": (8,), "normalisation": "weight", "weight_norm": {"initial_batch": 9}},
    },
}
CHECKS = [
    (f"{name}: {check}", run)
    for name, config in CHECKED.items()
    for check, run in agent_checks(plugin, plugin.config(name="pqn", **config), gymnasium, CARTPOLE, steps=40)
]


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
def test_conformance(name: str, check: Any) -> None:
    check()


def pqn(spec: EnvSpec, seed: int = 0, **config: Any) -> PQNAgent:
    return plugin.agent(plugin.config(name="pqn", **config), spec, AgentContext(Streams(seed), torch.device("cpu")))


@pytest.fixture
def rollouts(monkeypatch: pytest.MonkeyPatch) -> list[Samples]:
    """What agents learn from, as copies."""
    seen: list[Samples] = []
    learn = PQNLearner.learn

    def spy(self: PQNLearner, samples: Samples, learning_rate: float) -> Any:
        seen.append(replace(samples, action=samples.action.clone(), target=samples.target.clone()))
        return learn(self, samples, learning_rate)

    monkeypatch.setattr(PQNLearner, "learn", spy)
    return seen


NETWORK = "policy", "network"
TABLE = {"network": {"hidden": (), "normalisation": "none"}, "epochs": 1, "minibatches": 1, "discount": 0.5}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (  # V(s) = 10 s; row 1: 1 + 30 / 2, 1; row 0: 1 + (20 + 16) / 4, 1 + (30 + 1) / 4
            {},
            [[10, 8.75], [16, 1], [31, 36]],
        ),
        (  # uniform: V(s) = 5 s; row 1: 1 + 15 / 2, 1; row 0: 1 + (10 + 8.5) / 4, 1 + (15 + 1) / 4
            {"softmax": {}},
            [[5.625, 5], [8.5, 1], [16, 18.5]],
        ),
    ],
)
def test_a_truncation_bootstraps_from_its_own_successor(
    config: dict[str, Any], expected: list[list[float]], rollouts: list[Samples]
) -> None:
    """By hand, gamma = lambda = 1/2, Q(s) = (0, 10 s), rewards 1: environment 0 is truncated at its second step, where
    the value of its own successor 3 counts and not that of 5, where the next episode begins; environment 1 terminates.
    """
    agent = pqn(EnvSpec(Discrete(8), 2, 2), rollout_steps=3, q_lambda=0.5, **TABLE, **config)
    with_values(agent, {NETWORK: [[0, 10.0 * place] for place in range(8)]})
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
    (samples,) = rollouts
    assert samples.target.view(3, 2).tolist() == expected


def test_values_are_those_of_the_network_that_acted(rollouts: list[Samples]) -> None:
    """Targets with lambda = 0 against what `act` said about the next observation, over three rollouts."""
    line, steps = Line(line_spec("vector")), 4
    agent = pqn(line.spec, rollout_steps=steps, q_lambda=0.0, learning_rate=0.3, network={"input": "raw"})
    rng, acted, told = np.random.default_rng(0), [], []
    for _ in range(3 * steps + 1):
        observation = line.observe()
        output = agent.act(observation, {}, rng, Mode.EXPLORE)
        agent.learn()
        done = line.step(observation, output.action, output.extras)
        agent.observe(done)
        acted.append(done)
        told.append(output.extras["values"].max(1))
    assert len(rollouts) == 3
    for number, samples in enumerate(rollouts):
        target = samples.target.view(steps, -1).numpy()
        for row in range(steps - 1):
            at = number * steps + row
            goes_on = ~acted[at].ended
            expected = acted[at].reward + np.float32(0.99) * told[at + 1]
            np.testing.assert_allclose(target[row][goes_on], expected[goes_on], rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 9 + 7 / 2),
        ({"reward_clip": 2.0}, 2 + 7 / 2),
        ({"bonus": {"beta": 0.0, "optimism": {"scale": 2.0, "exponent": 1.0}}}, 9 + (7 + 2) / 2),
        ({"bonus": {"beta": 0.7}, "reward_clip": 0.5}, 0.5 + 0.7 + 7 / 2),  # the bonus is not clipped
    ],
    ids=str,
)
def test_one_target(config: dict[str, Any], expected: float, rollouts: list[Samples]) -> None:
    agent = pqn(EnvSpec(Discrete(3), 2, 1), rollout_steps=1, **TABLE, **config)
    with_values(agent, {NETWORK: [[0, 1], [3, 7], [0, 0]]})
    output = agent.act(see([0], first=True), {}, np.random.default_rng(0), Mode.EXPLORE)
    agent.observe(step(0, 1, 1, reward=9.0, first=True, extras=output.extras))
    agent.learn()
    assert rollouts[0].target.tolist() == pytest.approx([expected])


def test_actions_that_are_not_allowed_are_neither_taken_nor_valued(rollouts: list[Samples]) -> None:
    allowed = {ACTION_MASK: np.array([[True, False]])}
    spec = EnvSpec(Discrete(3), 2, 1, signals={ACTION_MASK: ArraySpec((2,), np.bool_)})
    agent = pqn(spec, rollout_steps=1, epsilon={"start": 0.0, "end": 0.0}, **TABLE)
    with_values(agent, {NETWORK: [[0, 1], [3, 7], [0, 0]]})
    output = agent.act(replace(see([0], first=True), signals=allowed), {}, np.random.default_rng(0), Mode.EXPLORE)
    assert output.action.tolist() == [0]
    done = step(0, 0, 1, reward=9.0, first=True, extras=output.extras)
    agent.observe(replace(done, after=replace(done.after, signals=allowed)))
    agent.learn()
    assert rollouts[0].target.tolist() == [9 + 3 / 2]


@pytest.mark.parametrize("hashing", ["exact", "simhash"])
@pytest.mark.parametrize("timing", ["sample", "insert"])
@pytest.mark.parametrize("episodic", ["none", "first", "count"])
def test_each_step_is_counted_once_and_paid(hashing: str, timing: str, episodic: str, rollouts: list[Samples]) -> None:
    """With a discount of 0, targets are rewards, clipped and then with the bonus, by counts of all steps so far.

    SimHash begins when the first rollout has given the mean of the features; its bonuses are then rewritten.
    """
    line = Line(line_spec("vector"))
    bits = {"bits": 4096} if hashing == "simhash" else {}
    bonus = {"beta": 0.5, "hash": {"type": hashing, **bits}, "timing": timing, "count_of": "successor"}
    bonus["episodic"] = episodic
    agent = pqn(line.spec, rollout_steps=5, discount=0.0, reward_clip=0.5, bonus=bonus, network={"hidden": (4,)})
    rng, counts = np.random.default_rng(0), ObviousCounts(2, 0.5, episodic, clip=0.5)
    for turn in range(30):
        observation = line.observe()
        output = agent.act(observation, {}, rng, Mode.EXPLORE)
        done = line.step(observation, output.action, output.extras)
        counts.add(observation, done)
        agent.observe(done)
        agent.learn()
        if turn % 5 == 4:
            expected = counts.rewards(now=timing == "sample" or (hashing == "simhash" and turn == 4))
            np.testing.assert_allclose(rollouts[-1].target, expected, rtol=1e-5)


def test_the_gradient_is_that_of_half_the_squared_error() -> None:
    """One step of plain gradient descent on a table: each value moves by the mean of its errors, times its share."""
    agent = pqn(EnvSpec(Discrete(3), 2, 1), learning_rate=0.5, optimizer={"type": "sgd"}, max_grad_norm=0.0, **TABLE)
    with_values(agent, {NETWORK: [[0, 1], [3, 7], [0, 0]]})
    inputs = SingleInputs(torch.tensor([[0], [0], [1]]), torch.tensor([1]))
    samples = Samples(inputs, torch.tensor([1, 1, 0]), torch.tensor([4.0, 7.0, 6.0]))
    metrics = agent.learner.learn(samples, 0.5)
    weight = agent.state_dict()["policy"]["network"]["head.0.weight"]
    torch.testing.assert_close(weight.T, torch.tensor([[0, 1 + 0.5 * (3 + 6) / 3], [3 + 0.5 * 3 / 3, 7], [0, 0]]))
    assert metrics["loss/td"].item() == pytest.approx((9 + 36 + 9) / 6)
    assert metrics["q/td_error"].item() == 4


def test_the_network_is_initialised_from_the_first_rollout(rollouts: list[Samples]) -> None:
    """Inputs first, then weights; the targets use the values afterwards."""
    line, steps = Line(line_spec("vector")), 60
    network = {"hidden": (16,), "normalisation": "weight", "weight_norm": {"initial_batch": 2 * steps}}
    network["input"] = "standardise"
    agent = pqn(line.spec, rollout_steps=steps, learning_rate=1e-9, network=network, discount=1.0, q_lambda=0.0)
    rng, seen, done = np.random.default_rng(0), [], []
    for _ in range(steps + 1):
        observation = line.observe()
        output = agent.act(observation, {}, rng, Mode.EXPLORE)
        agent.learn()
        done.append(line.step(observation, output.action, output.extras))
        agent.observe(done[-1])
        seen.append(observation.obs)
    obs = torch.from_numpy(np.concatenate(seen[:steps]))
    torch.testing.assert_close(agent.policy.network.inputs(obs).mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    q = agent.learner.gradient.evaluate(obs)
    deviation, mean = torch.std_mean(q, 0, correction=0)
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(deviation, torch.full((3,), 0.1), atol=1e-4, rtol=0)
    after = torch.from_numpy(np.stack([step.after.obs for step in done[:steps]]))
    value = agent.learner.gradient.evaluate(after.flatten(0, 1)).max(1).values
    reward, discount = (
        torch.from_numpy(np.concatenate([getattr(step, name) for step in done[:steps]]))
        for name in ("reward", "discount")
    )
    torch.testing.assert_close(rollouts[0].target, reward + discount * value, atol=1e-4, rtol=1e-4)


def test_epsilon_falls_from_the_first_step_on() -> None:
    line = Line(line_spec("number"))
    agent = pqn(line.spec, rollout_steps=50, epsilon={"start": 1.0, "end": 0.0, "steps": 20})
    for turn, epsilon in ((0, 1.0), (5, 0.5), (5, 0.0)):
        live(agent, line, turn)
        assert agent.policy.epsilon == pytest.approx(epsilon)


def test_layer_normalisation_is_the_default_and_none_is_saved() -> None:
    """A saved config leaves out what is None, so "none" must not be."""
    for table, expected in (({}, "layer"), ({"hidden": (4,)}, "layer"), ({"normalisation": "none"}, None)):
        config = plugin.config(name="pqn", network=table)
        saved = plugin.config(**config.model_dump(exclude_none=True))
        assert [each.network.plain().normalisation for each in (config, saved)] == [expected] * 2
    names = dict(pqn(line_spec("vector")).policy.network.named_modules())
    assert sum(type(module) is torch.nn.LayerNorm for module in names.values()) == 2


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"minibatches": 2, "minibatch_size": 3}, "minibatches and minibatch_size both set the size"),
        ({"adjustable_clip": 0.1, "anneal": {"steps": 9}}, "adjustable_clip needs a constant learning rate"),
        ({"softmax": {"temperature": 0.0}}, "greater than 0"),
    ],
)
def test_impossible_configs(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        plugin.config(name="pqn", **config)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"minibatches": 5}, r"2 steps \(rollout_steps\) of 2 environments \(train.num_envs\) is too short for 5"),
        ({"network": {"normalisation": "weight"}}, r"rollout_steps \* train.num_envs = 4 must be at least"),
        ({"network": {"hidden": ()}}, 'network.hidden is empty; use network.normalisation = "none"'),
        ({"bonus": {"features": {"type": "learned", "side": 8}}}, "learns from a replay, and this agent has none"),
    ],
)
def test_what_does_not_fit_the_environments(config: dict[str, Any], says: str) -> None:
    spec = line_spec("image" if "features" in str(config) else "vector")
    with pytest.raises(ConfigError, match=says):
        pqn(spec, rollout_steps=2, **({"minibatches": 2} | config))


def test_the_learning_rate_falls_from_the_first_rollout_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    monkeypatch.setattr(PQNLearner, "learn", lambda self, samples, rate: seen.append(rate) or {})
    line = Line(line_spec("vector"))
    agent = pqn(line.spec, rollout_steps=5, learning_rate=0.2, anneal={"steps": 20}, network={"input": "raw"})
    live(agent, line, 15)
    assert seen == pytest.approx([0.2, 0.1, 0.0])
