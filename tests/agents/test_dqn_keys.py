"""What single keys of DQN do, by hand: tables of three states, and one update or few."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from agents.dqn import DQNAgent, DQNConfig, plugin
from helpers.tables import BY_HAND, step, values, with_values
from rlkit.agent import AgentContext
from rlkit.seeding import Streams
from rlkit.types import EnvSpec, Mode, Observation

SPEC = EnvSpec(Discrete(3), 2, 1)
ONLINE, TARGET = ("policy", "network"), ("learner", "target")


def table(**changes: Any) -> DQNAgent:
    """All values 0; one update for each step, to the whole of its target."""
    keys = {**BY_HAND, "double": False, "n_step": 1, "learning_starts": 0, "updates_per_step": 1.0}
    keys |= {"replay_capacity": 50, "network": {"hidden": ()}}
    return plugin.agent(DQNConfig(name="dqn", **(keys | changes)), SPEC, AgentContext(Streams(0), torch.device("cpu")))


Q = 1 + 2**-10  # of the state and action in question, before; no bfloat16
GOAL = 9 + 0.5 * 7  # its target: a reward of 9, and half of the target network's best value of the next state


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, GOAL),
        ({"discount": 0.25}, 9 + 0.25 * 7),
        ({"double": True}, 9 + 0.5 * 3),  # of the action that the online network prefers
        ({"reward_clip": 2.0}, 2 + 0.5 * 7),
        ({"learning_rate": 0.5}, Q + 0.5 * (GOAL - Q)),
        ({"loss": "huber"}, Q + 1),
        ({"max_grad_norm": 0.25}, Q + 0.25),
        ({"max_grad_value": 0.5}, Q + 0.5),
        ({"adjustable_clip": 0.25, "learning_rate": 0.5}, Q + 0.25),
        ({"precision": "bfloat16"}, Q + (GOAL - 1)),
        ({"bonus": {"beta": 0.0, "optimism": {"scale": 2.0, "exponent": 1.0}}}, 9 + 0.5 * (7 + 2)),
        ({"bonus": {"beta": 0.7}}, GOAL + 0.7),
        ({"bonus": {"beta": 0.7}, "reward_clip": 0.5}, 0.5 + 0.7 + 0.5 * 7),  # the bonus is not clipped
    ],
    ids=str,
)
def test_one_update(changes: dict[str, Any], expected: float) -> None:
    agent = with_values(table(**changes), {ONLINE: [[0, Q], [2, 1], [0, 0]], TARGET: [[0, 0], [3, 7], [0, 0]]})
    agent.observe(step(0, 1, 1, reward=9.0, first=True))
    agent.learn()
    assert agent.updates == 1
    assert values(agent, *ONLINE)[0] == pytest.approx([0, expected], rel=1e-5)


@pytest.mark.parametrize(("double", "gap"), [(False, 7 - 3), (True, 1 - 2)])
def test_soft_values_bootstrap(double: bool, gap: float) -> None:
    """tau = 1/2 * 4 = 2; the probabilities are those of the values that would select the action."""
    agent = table(double=double, softmax={"temperature": 0.5})
    with_values(agent, {ONLINE: [[0, Q], [2, 1], [0, 0]], TARGET: [[0, 0], [3, 7], [0, 0]]})
    assert agent.policy.softmax is not None
    agent.policy.softmax.measure(torch.tensor([[0.0, 8.0]]))
    agent.observe(step(0, 1, 1, reward=9.0, first=True))
    agent.learn()
    share = 1 / (1 + np.exp(-gap / 2))  # of the second action
    assert values(agent, *ONLINE)[0] == pytest.approx([0, 9 + 0.5 * (3 + 4 * share)], rel=1e-5)
    assert agent.policy.softmax.tau.item() == pytest.approx(0.5 * (4 + Q / 2) / 2)  # the batch: state 0 alone


def test_a_soft_policy_draws_by_its_values_and_epsilon_beside() -> None:
    """tau = 1: the second action has probability 1 / (1 + e^-1), 0.73; with epsilon = 1/2 0.5 + 0.23 / 2."""
    agent = table(softmax={"temperature": 0.5}, epsilon={"start": 0.5, "end": 0.5})
    with_values(agent, {ONLINE: [[0, 1]] * 3})
    assert agent.policy.softmax is not None
    agent.policy.softmax.measure(torch.tensor([[0.0, 4.0]]))
    seen = Observation(np.zeros(8000, np.int64), {}, np.zeros(8000, np.bool_))
    share = {mode: agent.act(seen, {}, np.random.default_rng(0), mode).action.mean() for mode in Mode}
    assert share[Mode.EVALUATE] == 1
    assert share[Mode.SAMPLE] == pytest.approx(0.731, abs=0.015)
    assert share[Mode.EXPLORE] == pytest.approx(0.5 + 0.231 / 2, abs=0.015)


@pytest.mark.parametrize(("double", "expected"), [(True, 7 + 2 / 1), (False, 10 + 2 / 4)])
def test_double_selects_with_optimism_too(double: bool, expected: float) -> None:
    """Three steps from state 1 to itself by action 0: online 0.5 + 2 / 4 is less than 0 + 2 / 1 of the other action."""
    bonus = {"beta": 0.0, "optimism": {"scale": 2.0, "exponent": 1.0}}
    agent = table(double=double, bonus=bonus, updates_per_step=0.34, discount=1.0)
    with_values(agent, {ONLINE: [[0, 0], [0.5, 0], [0, 0]], TARGET: [[0, 0], [10, 7], [0, 0]]})
    for number in range(3):
        agent.observe(step(1, 0, 1, first=number == 0))
    agent.learn()
    assert agent.updates == 1
    assert values(agent, *ONLINE)[1] == pytest.approx([expected, 0])


@pytest.mark.parametrize(("count_of", "n"), [("state", 4), ("successor", 3), ("pair", 2)])
def test_the_bonus_is_of_what_is_counted(count_of: str, n: int) -> None:
    """Episodes of one step each: twice 0 -> 1 by action 1, once by action 0, and then 0 -> 2."""
    agent = table(bonus={"beta": 0.8, "count_of": count_of}, updates_per_step=0.25, batch_size=200, discount=0.0)
    for action, after in ((1, 1), (1, 1), (0, 1), (0, 2)):
        agent.observe(step(0, action, after, first=True, truncated=True))
    agent.learn()
    assert agent.updates == 1
    # of 200 draws about half are of the first two steps: the step down the gradient says how many
    drawn = values(agent, *ONLINE)[0, 1] / (0.8 / n**0.5)
    assert 0.35 < drawn < 0.65
    assert 200 * drawn == pytest.approx(round(200 * drawn), abs=1e-3)


def prioritised(updates_per_step: float, **changes: Any) -> DQNAgent:
    """Two steps, of rewards 1 and 4, learned from so slowly that the errors remain what they are."""
    agent = table(
        prioritised={"beta_updates": 10**9, **changes},
        updates_per_step=updates_per_step,
        batch_size=64,
        discount=0.0,
        learning_rate=1e-6,
    )
    agent.observe(step(0, 0, 2, reward=1.0, first=True, died=True))
    agent.observe(step(1, 1, 2, reward=4.0, first=True, died=True))
    agent.learn()
    return agent


@pytest.mark.parametrize(("alpha", "eps"), [(1.0, 1e-6), (0.5, 1e-6), (1.0, 0.5), (0.0, 0.5)])
def test_priorities(alpha: float, eps: float) -> None:
    """|td error| + eps to the power of alpha, one update late."""
    agent = prioritised(1.0, alpha=alpha, eps=eps)
    leaves = agent.state_dict()["replay"]["priorities"]["leaves"]
    assert leaves[leaves > 0].tolist() == pytest.approx([(1 + eps) ** alpha, (4 + eps) ** alpha], rel=1e-4)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_importance_weights(beta: float) -> None:
    """The third update is the first with priorities, 1 and 4, and so with weights: 1, and 1/4 to the power of beta."""
    before, after = (values(prioritised(rate, alpha=1.0, beta=beta), *ONLINE) for rate in (1.0, 1.5))
    change = (after - before) / 1e-6 * 64  # for each step how often it was drawn, times error and weight
    drawn = round(change[0, 0])
    assert 0 < drawn < 64
    assert change[0, 0] == pytest.approx(drawn, rel=1e-3)
    assert change[1, 1] == pytest.approx((64 - drawn) * 4 * 0.25**beta, rel=1e-3)


def test_exploration_decays_from_where_learning_starts() -> None:
    agent = table(learning_starts=3, epsilon={"start": 0.5, "end": 0.1, "steps": 4})
    seen = []
    for number in range(9):
        seen.append(agent.gauges()["explore/epsilon"])
        agent.observe(step(0, 0, 1, first=number == 0))
    assert seen == pytest.approx([1, 1, 1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1])


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_the_share_of_random_actions(epsilon: float) -> None:
    agent = with_values(table(epsilon={"start": epsilon, "end": epsilon}), {ONLINE: [[1, 0], [0, 0], [0, 0]]})
    agent.observe(step(0, 0, 0, first=True))
    rng, seen = np.random.default_rng(0), step(0, 0, 0).after
    other = np.mean([agent.act(seen, {}, rng, Mode.EXPLORE).action[0] for _ in range(2000)])
    assert other == pytest.approx(epsilon / 2, abs=0.03)
    assert not any(agent.act(seen, {}, rng, Mode.EVALUATE).action[0] for _ in range(200))
