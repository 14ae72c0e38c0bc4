"""Runs say once that all rewards are equal, and only where that says nothing."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import rlkit
from rlkit.config.load import resolve


class Paid(gym.Env):
    """Rewards are `paid`, or 1 at step `at` of the instance; episodes terminate after 5 steps if `ends`, else not."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, paid: float = 0.0, ends: bool = False, at: int | None = None) -> None:
        self.paid, self.ends, self.at, self.steps = paid, ends, at, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.length = 0
        return self.np_random.uniform(-1, 1, 1).astype(np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        self.steps, self.length = self.steps + 1, self.length + 1
        reward = 1.0 if self.steps == self.at else self.paid
        return self.np_random.uniform(-1, 1, 1).astype(np.float32), reward, self.ends and self.length == 5, False, {}


@pytest.fixture(autouse=True)
def _registered() -> None:
    if "Paid-v0" not in gym.registry:
        gym.register("Paid-v0", Paid, max_episode_steps=8)


def notes(run: Path, steps: int = 60, resumed: int = 0, **tables: Any) -> list[str]:
    """What a run says about its rewards; resumed: a new number of steps."""
    agent = {
        "name": "dqn",
        "learning_starts": 5,
        "batch_size": 2,
        "network": {"hidden": [2]},
        **tables.get("agent", {}),
    }
    env = {"name": "gymnasium", "id": "Paid-v0", "kwargs": tables.get("kwargs", {})}
    train = {"steps": steps, "sinks": [], "num_envs": 2, **tables.get("train", {})}
    config = resolve("paid", {"env": env, "agent": agent, "train": train, "evaluation": {"final_episodes": 1}})
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        rlkit.train(config, run=run)
        if resumed:
            rlkit.resume(run, resumed)
    return [str(each.message) for each in found if "all rewards" in str(each.message)]


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({}, "all rewards of the first 20 steps are 0: there is nothing to learn from yet; an exploration bonus"),
        ({"kwargs": {"ends": True}}, "--set agent.bonus=true"),
        ({"kwargs": {"paid": -1.0}}, "all rewards of the first 20 steps are -1"),
        ({"agent": {"bonus": {"type": "count"}}}, "another agent.bonus.beta"),
        ({"kwargs": {"paid": 1.0, "ends": True}}, ""),  # as CartPole's
        ({"kwargs": {"at": 9}}, ""),
        ({"kwargs": {"at": 12}}, "all rewards of the first 20"),
        ({"train": {"reward_scale": 0.0}}, ""),
    ],
)
def test_what_is_said(tables: dict[str, Any], says: str, tmp_path: Path) -> None:
    found = notes(tmp_path / "run", **tables)
    assert len(found) == bool(says)
    assert says in "".join(found)


def test_it_is_said_once_also_in_a_resumed_run(tmp_path: Path) -> None:
    assert len(notes(tmp_path / "run", resumed=120)) == 1
