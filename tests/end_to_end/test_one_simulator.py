"""A simulator of which only one instance may exist at a time, such as a robot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import rlkit
from rlkit.config.load import override, resolve
from rlkit.errors import SpecError

TABLES: dict[str, Any] = {
    "env": {"name": "gymnasium", "id": "Robot-v0"},
    "agent": {"name": "random"},
    "train": {"steps": 60, "sinks": []},
    "evaluation": {"final_episodes": 2},
}


class Robot(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    connected = 0

    def __init__(self) -> None:
        if Robot.connected:
            raise RuntimeError("the serial port is in use")
        Robot.connected = self.mine = 1

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), float(action), False, False, {}

    def close(self) -> None:
        Robot.connected, self.mine = Robot.connected - self.mine, 0


@pytest.fixture(autouse=True)
def _robot() -> None:
    Robot.connected = 0
    if "Robot-v0" not in gym.registry:
        gym.register("Robot-v0", Robot, max_episode_steps=10)


def test_it_is_trained_evaluated_and_resumed(tmp_path: Path) -> None:
    """The final evaluation begins when the training environment is closed."""
    run = rlkit.train(resolve("robot", TABLES), run=tmp_path / "run")
    assert len(rlkit.resume(run.path, 90).result()["final"]["returns"]) == 2  # type: ignore[index]
    assert Robot.connected == 0


@pytest.mark.parametrize(("key", "value"), [("evaluation.every", 30), ("train.num_envs", 2)])
def test_a_config_that_needs_two_is_refused_before_training(key: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"a second instance cannot be made .*serial port.*set {key}"):
        rlkit.train(resolve("robot", override(TABLES, {key: value})), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert Robot.connected == 0
