"""Action spaces, action masks and infos of other people's environments, from the config to the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import rlkit
from rlkit.config.load import override, resolve
from rlkit.errors import SpecError
from rlkit.metrics.line_log import read_rows

TABLES: dict[str, Any] = {
    "env": {"name": "gymnasium", "id": "Strict-v0"},
    "agent": {"name": "dqn", "learning_starts": 40, "batch_size": 8, "replay_capacity": 300, "n_step": 2},
    "train": {"steps": 120, "num_envs": 2, "log_every": 40, "sinks": []},
    "evaluation": {"final_episodes": 10, "epsilon": 0.5},
}
PPO = {"name": "ppo", "rollout_steps": 10, "learning_rate": 1e-9, "network": {"hidden": [8]}}
HDQN = {
    "name": "hdqn",
    "goals": {"name": "helpers.hdqn_worlds:Sides"},
    "controller": {"learning_starts": 30, "batch_size": 8, "replay_capacity": 300, "epsilon": {"steps": 20}},
    "meta": {"learning_starts": 5, "batch_size": 4, "capacity": 100},
}


class Strict(gym.Env):
    """Raises an error for actions that its space or its mask does not have; rewards have shape (1,)."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, space: str = "mask", masks: str = "info") -> None:
        self.kind, self.masks = space, masks
        self.action_space = {
            "mask": gym.spaces.Discrete(4),
            "start": gym.spaces.Discrete(3, start=5),
            "joint": gym.spaces.MultiDiscrete([2, 3], start=[0, 7]),
        }[space]

        if masks == "dict":
            mask = gym.spaces.Box(0, 1, (4,), np.int8)
            self.observation_space = gym.spaces.Dict({"action_mask": mask, "seen": self.observation_space})

    def action_masks(self) -> list[int]:
        return self.allowed if self.masks == "method" else [1, 1, 1, 1]

    def look(self) -> tuple[Any, dict]:
        self.allowed = [int(value) for value in self.np_random.permutation([1, 0, 1, 0])]
        info = {"x_position": np.float64(self.time), "word": "text"}
        mask = np.array(self.allowed, np.int8)
        if self.kind == "mask" and self.masks == "info":
            info["action_mask"] = mask
        seen = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return {"action_mask": mask, "seen": seen} if self.masks == "dict" else seen, info

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.time = 0
        return self.look()

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        fits = self.allowed[action] if self.kind == "mask" else self.action_space.contains(action)
        if not fits:
            raise ValueError(f"{action} is not allowed")
        self.time += 1
        obs, info = self.look()
        if self.time == 5 and self.kind == "mask" and self.masks == "info":
            self.allowed = [0, 0, 0, 0]
            info["action_mask"] = np.zeros(4)
        return obs, np.array([1.0]), self.time == 5, False, info


@pytest.fixture(autouse=True)
def _registered() -> None:
    if "Strict-v0" not in gym.registry:
        gym.register("Strict-v0", Strict, max_episode_steps=9)


@pytest.mark.parametrize(
    "changes",
    [
        {"env.action_mask": True},
        {"env.action_mask": True, "env.kwargs.masks": "method", "env.mode": "async"},
        {"env.action_mask": True, "agent.bonus": {"optimism": {"scale": 0.1}}, "agent.double": True},
        {"env.action_mask": True, "agent.softmax": True, "agent.epsilon.steps": 40},
        {"env.action_mask": True, "agent": {"name": "agents.pqn:plugin", "rollout_steps": 10, "softmax": {}}},
        {"env.action_mask": True, "env.kwargs.masks": "dict", "agent": PPO},
        {"env.action_mask": True, "agent": HDQN},
        {"env.action_mask": True, "agent": {"name": "random"}},
        {"env.kwargs.space": "start"},
        {"env.kwargs.space": "joint"},
    ],
    ids=["info", "method", "optimism", "soft", "pqn", "ppo-dict", "hdqn", "random", "start", "joint"],
)
def test_only_actions_that_exist_and_are_allowed_are_taken(changes: dict[str, Any], tmp_path: Path) -> None:
    run = rlkit.train(resolve("test", override(TABLES, changes)), run=tmp_path / "run")
    result = run.result()
    assert result is not None
    assert result["final"]["returns"] == [5.0] * 10
    rlkit.resume(run.path, 160)
    rows = list(read_rows(run.metrics))
    assert all(row["policy/kl"] < 1e-4 for row in rows if "policy/kl" in row), "the loss has the mask of acting"
    losses = [value for row in rows for name, value in row.items() if "loss" in name]
    assert np.isfinite(losses).all()
    assert losses or changes.get("agent") == {"name": "random"}


def test_a_loaded_policy_asks_for_the_mask(tmp_path: Path) -> None:
    changes = {"env.action_mask": True, "agent": PPO, "train.steps": 20}
    policy = rlkit.load_policy(rlkit.train(resolve("test", override(TABLES, changes)), run=tmp_path / "run").path)
    obs = np.zeros(2, np.float32)
    for action in range(4):
        assert policy(obs, {"action_mask": np.arange(4) == action}) == action
    with pytest.raises(SpecError, match=r'needs the signal "action_mask": .*, from the environment'):
        policy(obs)


def test_infos_are_logged_by_name(tmp_path: Path) -> None:
    changes = {"env.kwargs.space": "start", "env.log_info": ["x_position"]}
    run = rlkit.train(resolve("test", override(TABLES, changes)), run=tmp_path / "run")
    logged = [row["info/x_position"] for row in read_rows(run.metrics) if "info/x_position" in row]
    assert logged
    assert set(logged) == {5.0}, "its value at the end of an episode"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env.action_mask": True, "agent": {"name": "helpers.a2c:plugin"}}, "would ignore the environment's"),
        ({"env.action_mask": True, "env.kwargs.space": "start"}, "the action mask has shape .4,."),
        ({"env.log_info": ["word"]}, "'word' has shape .., dtype <U4; expected a number"),
        ({"env.log_info": ["nothing"]}, "info has no 'nothing'; it has x_position, word"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    tables = override(TABLES, changes)
    with pytest.raises(SpecError, match=message):
        rlkit.train(resolve("test", tables), run=tmp_path / "run")
