"""Small Gymnasium environments, and a maker of vectors of them that closes what it made."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rlkit.vector.driver import VectorEnvironments
from rlkit.vector.environment import describe


def cartpole() -> gym.Env:
    return gym.make("CartPole-v1", max_episode_steps=12, disable_env_checker=True)


def lake() -> gym.Env:
    return gym.make("FrozenLake-v1", max_episode_steps=6, disable_env_checker=True)


def state_of(env: gym.Env) -> dict[str, Any]:
    return {"state": np.array(env.unwrapped.state, dtype=np.float32), "sum": np.float64(sum(env.unwrapped.state))}


def everyone(num_envs: int) -> np.ndarray:
    return np.ones(num_envs, dtype=np.bool_)


class Vectors:
    """Makes environments and closes them all, whatever the test does."""

    def __init__(self) -> None:
        self.made: list[VectorEnvironments] = []

    def __call__(
        self, make: Any, num_envs: int, mode: str = "sync", signals: Any = None, step_timeout: float | None = None
    ) -> VectorEnvironments:
        self.made.append(VectorEnvironments(make, describe(make, num_envs, signals), mode, signals, step_timeout))
        return self.made[-1]


class Toy(gym.Env):
    """Does what its spaces and its `trouble` say."""

    def __init__(self, obs: spaces.Space | None = None, action: spaces.Space | None = None, trouble: Any = None):
        self.observation_space = obs or spaces.Box(0, 9, (2,), np.float32)
        self.action_space = action or spaces.Discrete(3)
        self.trouble = trouble

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        if self.trouble is not None:
            self.trouble("reset", None, seed)
        return self.observation_space.sample(), {"ignored": object()}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        if self.trouble is not None:
            self.trouble("step", action, None)
        return self.observation_space.sample(), 1.0, False, False, {"ignored": lambda: None}
