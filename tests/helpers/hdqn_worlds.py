"""Small worlds and settings for tests of the h-DQN agent."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from agents.hdqn import HDQNConfig
from envs.gymnasium import plugin as gymnasium
from rlkit import EnvSpec, Observation


class Paying(gym.Wrapper[Any, Any, Any, Any]):
    """A chain that pays in every step, in each state another amount, so that sums over options tell all steps apart."""

    def step(self, action: Any) -> Any:
        obs, reward, *rest = self.env.step(action)
        return obs, float(reward) + 0.1 * float(obs), *rest


CHAIN = gymnasium.config(
    name="gymnasium",
    id="rlkit/Chain-v0",
    kwargs={"length": 4},
    wrappers=("helpers.hdqn_worlds:Paying",),
    max_episode_steps=7,
)
DOORKEY = gymnasium.config(
    name="gymnasium",
    id="MiniGrid-DoorKey-5x5-v0",
    register=("minigrid",),
    signals="envs.minigrid:situation",
    wrappers=("minigrid.wrappers:FullyObsWrapper", "minigrid.wrappers:ImgObsWrapper"),
    max_episode_steps=50,
)
STATES = {"name": "envs.goals.chain:States"}
OBJECTS = {"name": "envs.goals.minigrid:Objects"}
TABLE = {"hidden": (), "goal": "heads"}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with tables changed key by key."""
    out = dict(base)
    for key, value in changes.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def config(**changes: Any) -> HDQNConfig:
    """Learns within the few steps of a conformance suite; replays are smaller than its runs."""
    base = {
        "name": "hdqn",
        "goals": STATES,
        "controller": {
            "learning_starts": 20,
            "replay_capacity": 120,
            "batch_size": 8,
            "updates_per_step": 0.3,
            "network": {"hidden": (16,)},
            "target": {"every": 7},
            "epsilon": {"steps": 60, "end": 0.1},
        },
        "meta": {
            "learning_starts": 5,
            "capacity": 40,
            "batch_size": 8,
            "updates_per_option": 0.5,
            "network": {"hidden": (16,)},
            "target": {"every": 5},
            "epsilon": {"steps": 60, "end": 0.1},
        },
    }
    return HDQNConfig(**merged(base, changes))


class Sides:
    """Left and right of the origin."""

    names = ("left", "right")

    def __init__(self, spec: EnvSpec) -> None:
        """Nothing is needed of the environment."""

    def achieved(self, observation: Observation) -> Any:
        return np.stack((observation.obs[:, 0] < 0, observation.obs[:, 0] > 0), 1)

    def encode(self, goal: Any) -> Any:
        return np.eye(2, dtype=np.float32)[goal]
