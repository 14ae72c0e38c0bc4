"""What single keys of h-DQN do, by hand: tables of six states on both levels, and one update or few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from agents.hdqn import HDQNAgent, HDQNConfig, plugin
from helpers.tables import BY_HAND, step, values, with_values
from rlkit.agent import AgentContext
from rlkit.seeding import Streams
from rlkit.types import EnvSpec, StepBatch

SPEC = EnvSpec(Discrete(6), 2, 1)
NEVER = 10**6
ONLINE = {"controller": ("policy", "controller"), "meta": ("policy", "meta")}
TARGET = {level: (level, "learner", "target") for level in ONLINE}


def table(level: str, changes: dict[str, Any] | None = None, **top: Any) -> HDQNAgent:
    """All values 0; one update of one level for each step, or option, to the whole of its target."""
    starts = {"controller": NEVER, "meta": NEVER, level: 0}
    controller = {**BY_HAND, "learning_starts": starts["controller"], "updates_per_step": 1.0, "replay_capacity": 200}
    controller["network"] = {"hidden": (), "goal": "heads"}
    meta = {**BY_HAND, "learning_starts": starts["meta"], "network": {"hidden": ()}}
    tables = {"controller": controller, "meta": meta}
    tables[level] |= changes or {}
    chosen = HDQNConfig(name="hdqn", goals={"name": "envs.goals.chain:States"}, **(tables | top))
    return plugin.agent(chosen, SPEC, AgentContext(Streams(0), torch.device("cpu")))


def towards(goal: int, before: int, action: int, after: int, *, age: int = 0, **rest: Any) -> StepBatch:
    """A step under a goal; goal g is achieved in state g."""
    extras = {"goal": np.array([goal]), "age": np.array([age]), "achieved_before": np.eye(6, dtype=bool)[[before]]}
    return step(before, action, after, extras=extras, **rest)


def controller_table(**rows: list[float]) -> np.ndarray:
    """Q1(s, g, a) under goal 3 as (S, G * A): s0=[...] gives the two values of state 0."""
    table = np.zeros((6, 6, 2))
    for name, row in rows.items():
        table[int(name[1:]), 3] = row
    return table.reshape(6, 12)


Q = 1.25  # of the choice in question, before


def sign(reward: float) -> float:
    """Of the error."""
    return 1.0 if reward > 0 else -1.0


UPDATES: list[tuple[dict[str, Any], Callable[[float], float]]] = [
    ({}, lambda r: r + 0.5 * 7),
    ({"discount": 0.25}, lambda r: r + 0.25 * 7),
    ({"double": True}, lambda r: r + 0.5 * 3),  # of the choice that the online network prefers
    ({"learning_rate": 0.5}, lambda r: Q + 0.5 * (r + 0.5 * 7 - Q)),
    ({"loss": "huber"}, lambda r: Q + sign(r)),
    ({"max_grad_norm": 0.25}, lambda r: Q + 0.25 * sign(r)),
    ({"max_grad_value": 0.5}, lambda r: Q + 0.5 * sign(r)),
    ({"adjustable_clip": 0.25, "learning_rate": 0.5}, lambda r: Q + 0.25 * sign(r)),
    ({"bonus": {"beta": 0.7}}, lambda r: r + 0.7 + 0.5 * 7),
]
"""Keys of a level, and what Q becomes for a reward r: -9 of the critic, or an option's 9; the next value is 7."""
OPTIMISM = {"beta": 0.0, "optimism": {"scale": 2.0, "exponent": 1.0}}
ACTIONS = [*UPDATES, ({"bonus": OPTIMISM}, lambda r: r + 0.5 * (7 + 2))]
OPTIONS = [*UPDATES, ({"reward_clip": 2.0}, lambda r: 2 + 0.5 * 7)]


@pytest.mark.parametrize(("changes", "expected"), ACTIONS, ids=[str(changes) for changes, _ in ACTIONS])
def test_one_update_of_the_controller(changes: dict[str, Any], expected: Callable[[float], float]) -> None:
    agent = table("controller", {"reward": {"step_cost": 9.0}, **changes})
    online, target = np.zeros((6, 6, 2)), np.zeros((6, 6, 2))  # state, goal, action
    online[0, 3, 1] = Q
    online[1, 3], target[1, 3] = [2, 1], [3, 7]
    with_values(agent, {ONLINE["controller"]: online.reshape(6, 12), TARGET["controller"]: target.reshape(6, 12)})
    agent.observe(towards(3, 0, 1, 1, reward=9.0, first=True))
    agent.learn()
    online[0, 3, 1] = expected(-9.0)
    assert values(agent, *ONLINE["controller"]) == pytest.approx(online.reshape(6, 12), rel=1e-5)


@pytest.mark.parametrize(("changes", "expected"), OPTIONS, ids=[str(changes) for changes, _ in OPTIONS])
def test_one_update_of_the_meta_controller(changes: dict[str, Any], expected: Callable[[float], float]) -> None:
    """Of an option of one step from state 0 to 1, where goal 1 is achieved and so may not follow."""
    agent = table("meta", changes, max_option_steps=1)
    online, target = np.zeros((6, 6)), np.zeros((6, 6))  # state, goal
    online[0, 3] = Q
    online[1], target[1] = [2, 50, 1, 0, 0, 0], [3, 60, 7, 0, 0, 0]
    with_values(agent, {ONLINE["meta"]: online, TARGET["meta"]: target})
    agent.observe(towards(3, 0, 1, 1, reward=9.0, first=True))
    agent.learn()
    online[0, 3] = expected(9.0)
    assert values(agent, *ONLINE["meta"]) == pytest.approx(online, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "died", "expected"),
    [
        ({}, False, 9 + 9 + 0.5 * 7),
        ({"option_discount": "smdp"}, False, 9 + 0.5 * 9 + 0.25 * 7),
        ({"option_discount": "smdp"}, True, 9 + 0.5 * 9),
    ],
)
def test_the_discount_of_an_option_of_two_steps(changes: dict[str, Any], died: bool, expected: float) -> None:
    agent = table("meta", max_option_steps=2, **changes)
    target = np.zeros((6, 6))  # state, goal
    target[2] = [3, 7, 0, 0, 0, 0]
    with_values(agent, {ONLINE["meta"]: np.zeros((6, 6)), TARGET["meta"]: target})
    agent.observe(towards(3, 0, 1, 1, reward=9.0, first=True))
    agent.observe(towards(3, 1, 1, 2, reward=9.0, age=1, died=died))
    agent.learn()
    assert values(agent, *ONLINE["meta"])[0, 3] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("after", "died", "expected"), [(3, False, 49.5), (3, True, 49.5), (2, False, -0.5), (2, True, -200.5)]
)
def test_what_the_critic_pays_is_learned(after: int, died: bool, expected: float) -> None:
    agent = table("controller", {"reward": {"goal": 50.0, "step_cost": 0.5, "death": 200.0}})
    agent.observe(towards(3, 0, 1, after, reward=9.0, first=True, died=died))
    agent.learn()
    assert values(agent, *ONLINE["controller"]).reshape(6, 6, 2)[0, 3].tolist() == pytest.approx([0, expected])


def test_hindsight_is_not_about_goals_achieved_before() -> None:
    """Episodes 2 -> 2 -> 4: both steps are learned about with goal 4, which was reached, and never with goal 2."""
    agent = table("controller", {"hindsight": {"share": 1.0}, "discount": 0.5})
    for _ in range(30):
        agent.observe(towards(5, 2, 0, 2, first=True))
        agent.observe(towards(5, 2, 1, 4, age=1, truncated=True))
        agent.learn()
    q = values(agent, *ONLINE["controller"]).reshape(6, 6, 2)
    assert q[2, 4].tolist() == [0.0, 1.0]  # the target network's values remain 0
    assert not q[:, [0, 1, 2, 3, 5]].any()


def test_goals_are_random_until_pre_training_ends() -> None:
    """Then the schedule begins; actions have theirs from where the controller's learning starts."""
    agent = table(
        "meta",
        {"epsilon": {"start": 0.8, "end": 0.0, "steps": 4}},
        pretraining_steps=5,
        controller={"learning_starts": 3, "epsilon": {"start": 0.5, "end": 0.1, "steps": 4}},
    )
    goals, actions = [], []
    for number in range(11):
        gauges = agent.gauges()
        goals.append(gauges["explore/meta_epsilon"])
        actions.append(gauges["explore/epsilon"])
        agent.observe(towards(3, 0, 1, 1, first=number == 0, age=number))
    assert goals == pytest.approx([1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0])
    assert actions == pytest.approx([1, 1, 1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1])


def test_goals_are_random_until_there_are_options_enough() -> None:
    agent = table("meta", {"epsilon": {"start": 0.5, "end": 0.5}, "learning_starts": 3}, max_option_steps=2)
    seen = []
    for number in range(8):
        seen.append(agent.gauges()["explore/meta_epsilon"])
        agent.observe(towards(3, 0, 1, 1, first=number == 0, age=number % 2))
    assert seen == [1, 1, 1, 1, 1, 1, 0.5, 0.5]  # an option takes two steps
