"""The environments and settings of speed.py, for both libraries."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ale_py
import gymnasium as gym
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack


@dataclass(frozen=True)
class World:
    """An environment, with the settings that both libraries use."""

    title: str
    learning_starts: int  # steps of random actions; then epsilon falls from 1 to its end over epsilon_steps
    epsilon_steps: int
    warm_up: int  # steps before timing starts
    steps: int  # timed steps; --steps overrides them
    steps_per_update: int
    threads: int
    better: bool  # also compare each library at its faster number of environments
    settings: dict[str, Any]
    reward_clip: float  # of rlkit; Stable-Baselines3 clips in its Atari wrapper only
    env: dict[str, Any]  # tables of rlkit's config, as `network`
    network: dict[str, Any]
    sb3_env: Callable[[int, int], VecEnv]  # (number of environments, seed) → environments of Stable-Baselines3
    sb3_policy: str
    sb3_network: dict[str, Any]

    def sb3_rollout(self, num_envs: int) -> tuple[int, int]:
        """(vector steps, updates) of one rollout of Stable-Baselines3."""
        env_steps = math.lcm(self.steps_per_update, num_envs)
        return env_steps // num_envs, env_steps // self.steps_per_update


def _sb3_cartpole(num_envs: int, seed: int) -> VecEnv:
    return DummyVecEnv([lambda: Monitor(gym.make("CartPole-v1")) for _ in range(num_envs)])


def _sb3_pong(num_envs: int, seed: int) -> VecEnv:
    gym.register_envs(ale_py)
    wrappers = {"terminal_on_life_loss": False}  # Pong has no lives, so this only removes a wrapper
    return VecFrameStack(make_atari_env("PongNoFrameskip-v4", num_envs, seed, wrapper_kwargs=wrappers), 4)


CARTPOLE = World(
    title="CartPole-v1",
    learning_starts=1_000,
    epsilon_steps=500,
    warm_up=2_000,
    steps=6_000,
    steps_per_update=10,
    threads=1,
    better=False,
    settings={
        "learning_rate": 2.5e-4,
        "batch_size": 128,
        "gamma": 0.99,
        "replay_capacity": 10_000,
        "target_copy_every_updates": 50,
        "max_grad_norm": 10.0,
    },
    reward_clip=0.0,
    env={"name": "gymnasium", "id": "CartPole-v1"},
    network={"hidden": [120, 84]},
    sb3_env=_sb3_cartpole,
    sb3_policy="MlpPolicy",
    sb3_network={"net_arch": [120, 84]},
)

ATARI = World(
    title="Pong, 84 x 84 x 4, frame skip 4, no-ops at reset, the Nature network",
    learning_starts=400,
    epsilon_steps=80,
    warm_up=600,
    steps=2_000,
    steps_per_update=4,
    threads=2,
    better=True,
    settings={
        "learning_rate": 1e-4,
        "batch_size": 32,
        "gamma": 0.99,
        "replay_capacity": 10_000,
        "target_copy_every_updates": 250,
        "max_grad_norm": 10.0,
    },
    reward_clip=1.0,
    env={"name": "atari", "game": "pong", "protocol": "nature"},
    network={"encoder": "nature"},
    sb3_env=_sb3_pong,
    sb3_policy="CnnPolicy",
    sb3_network={},
)

WORLDS = {"cartpole": CARTPOLE, "atari": ATARI}
