"""Trains Stable-Baselines3's DQN or PPO on MinAtar, for the comparisons in docs/results/engine.md and ppo.md.

    python benchmarks/sb3_minatar.py --game breakout --seed 0 --out docs/results/data/minatar-breakout/sb3-seed0.json
    python benchmarks/sb3_minatar.py --agent ppo --game asterix --seed 0 --out \
        docs/results/data/minatar-asterix-ppo/sb3-seed0.json

DQN trains for 300,000 steps and then plays 100 greedy episodes with the final parameters; PPO trains for a million and
draws its actions. A run writes one JSON file. If the file exists, it does nothing, so a list of runs can be repeated
after an interruption.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from minatar.gym import register_envs
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor, nn

from rlkit.files import write_text
from rlkit.runs.directory import machine, today, versions

GAMES = {
    "asterix": "MinAtar/Asterix-v1",
    "breakout": "MinAtar/Breakout-v1",
    "freeway": "MinAtar/Freeway-v1",
    "seaquest": "MinAtar/Seaquest-v1",
    "space_invaders": "MinAtar/SpaceInvaders-v1",
}
MAX_EPISODE_STEPS = 5_000  # MinAtar sets no limit
ENV_STEPS = {"dqn": 300_000, "ppo": 1_000_000}
CURVE_EVERY = 10_000
EVAL_EPISODES = 100
NETWORK = "conv 16 of 3x3 stride 1, ReLU, linear 128, ReLU, linear"

DQN_SETTINGS: dict[str, Any] = {
    "learning_rate": 2.5e-4,
    "adam_eps": 1e-8,
    "loss": "Huber, slope 1",
    "gamma": 0.99,
    "batch_size": 32,
    "buffer_size": 100_000,
    "learning_starts": 5_000,
    "train_freq": 4,
    "gradient_steps": 1,
    "target_update_every_env_steps": 1_000,
    "max_grad_norm": 10.0,
    "epsilon": [1.0, 0.05],
    "epsilon_env_steps": 100_000,
    "num_envs": 1,
    "network": NETWORK,
}
PPO_SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "anneal": "linearly to 0",
    "adam_eps": 1e-5,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "n_steps": 128,
    "batch_size": 256,
    "n_epochs": 4,
    "clip_range": 0.2,
    "ent_coef": 0.01,
    "vf_coef": 0.25,  # of the squared error; rlkit weights half of it by 0.5
    "max_grad_norm": 0.5,
    "num_envs": 16,
    "network": NETWORK,
}
MINIBATCHES = PPO_SETTINGS["n_steps"] * PPO_SETTINGS["num_envs"] // PPO_SETTINGS["batch_size"]
SETTINGS = {"dqn": DQN_SETTINGS, "ppo": PPO_SETTINGS}


class MinAtarFeatures(BaseFeaturesExtractor):
    """(B, 10, 10, C), channels last, to (B, 128). Stable-Baselines3 has already converted booleans to floats."""

    def __init__(self, observation_space: gym.spaces.Box) -> None:
        super().__init__(observation_space, features_dim=128)
        height, width, channels = observation_space.shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, kernel_size=3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * (height - 2) * (width - 2), 128),
            nn.ReLU(),
        )

    def forward(self, observations: Tensor) -> Tensor:
        features: Tensor = self.layers(observations.permute(0, 3, 1, 2))  # (B, 128)
        return features


class TrainingCurve(BaseCallback):
    """Records every CURVE_EVERY steps the mean return of the training episodes that ended since the last point."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[dict[str, Any]] = []
        self._returns: list[float] = []

    def _on_step(self) -> bool:
        self._returns.extend(info["episode"]["r"] for info in self.locals["infos"] if "episode" in info)
        if self.num_timesteps % CURVE_EVERY < self.training_env.num_envs:
            mean = round(float(np.mean(self._returns)), 3) if self._returns else None
            self.points.append({"env_steps": self.num_timesteps, "mean_training_return": mean})
            self._returns.clear()
        return True


def make_env(game: str) -> gym.Env[Any, Any]:
    return gym.make(GAMES[game], max_episode_steps=MAX_EPISODE_STEPS)


def make_dqn(game: str, seed: int) -> DQN:
    settings = DQN_SETTINGS
    return DQN(
        "MlpPolicy",
        Monitor(make_env(game)),
        learning_rate=settings["learning_rate"],
        buffer_size=settings["buffer_size"],
        learning_starts=settings["learning_starts"],
        batch_size=settings["batch_size"],
        tau=1.0,
        gamma=settings["gamma"],
        train_freq=settings["train_freq"],
        gradient_steps=settings["gradient_steps"],
        target_update_interval=settings["target_update_every_env_steps"],
        exploration_fraction=settings["epsilon_env_steps"] / ENV_STEPS["dqn"],
        exploration_initial_eps=settings["epsilon"][0],
        exploration_final_eps=settings["epsilon"][1],
        max_grad_norm=settings["max_grad_norm"],
        policy_kwargs=policy_kwargs(settings["adam_eps"]),
        seed=seed,
        device="cpu",
        verbose=0,
    )


def make_ppo(game: str, seed: int) -> PPO:
    settings = PPO_SETTINGS
    envs = DummyVecEnv([lambda: Monitor(make_env(game))] * settings["num_envs"])
    same = ("n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "clip_range", "ent_coef", "vf_coef")
    return PPO(
        "MlpPolicy",
        envs,
        learning_rate=lambda remaining: settings["learning_rate"] * remaining,
        max_grad_norm=settings["max_grad_norm"],
        policy_kwargs=policy_kwargs(settings["adam_eps"]),
        seed=seed,
        device="cpu",
        verbose=0,
        **{key: settings[key] for key in same},
    )


def policy_kwargs(eps: float) -> dict[str, Any]:
    return {
        "features_extractor_class": MinAtarFeatures,
        "net_arch": [],
        "optimizer_class": torch.optim.Adam,
        "optimizer_kwargs": {"eps": eps},
    }


def episode_seed(seed: int, episode: int) -> int:
    """The seed of an evaluation episode. It differs from the training seeds, and between runs and episodes."""
    return 1_000_000 + 1_000 * seed + episode


def evaluate(agent: BaseAlgorithm, game: str, seed: int) -> dict[str, Any]:
    """Plays the policy (DQN's greedily, PPO's by drawing) in a separate environment, with one seed per episode."""
    env = make_env(game)
    returns, lengths = [], []
    for episode in range(EVAL_EPISODES):
        obs, _ = env.reset(seed=episode_seed(seed, episode))
        env.unwrapped.game.last_action = 0  # type: ignore[attr-defined]  # which MinAtar's reset keeps
        total, length, ended = 0.0, 0, False
        while not ended:
            action, _ = agent.predict(obs, deterministic=isinstance(agent, DQN))
            obs, reward, terminated, truncated, _ = env.step(int(action))
            total, length, ended = total + float(reward), length + 1, terminated or truncated
        returns.append(total)
        lengths.append(length)
    env.close()
    return {"episodes": EVAL_EPISODES, "returns": returns, "lengths": lengths}


def run(name: str, game: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    register_envs()
    agent: DQN | PPO = make_dqn(game, seed) if name == "dqn" else make_ppo(game, seed)
    curve = TrainingCurve()
    start, processor = time.perf_counter(), time.process_time()
    agent.learn(ENV_STEPS[name], callback=curve, log_interval=None)
    train_seconds, train_processor_seconds = time.perf_counter() - start, time.process_time() - processor
    final = evaluate(agent, game, seed)
    return {
        "format": 1,
        "library": "stable-baselines3",
        "experiment": f"minatar-{game.replace('_', '-')}{'' if name == 'dqn' else '-ppo'}",
        "seed": seed,
        "env_steps": agent.num_timesteps,
        "updates": agent._n_updates * (1 if name == "dqn" else MINIBATCHES),  # noqa: SLF001  # PPO's counts epochs
        "settings": SETTINGS[name],
        "versions": versions("stable-baselines3"),
        "machine": machine(),
        "date": today(),
        "wall_seconds": round(time.perf_counter() - start, 1),
        "train_seconds": round(train_seconds, 1),
        "train_processor_seconds": round(train_processor_seconds, 1),
        "threads": torch.get_num_threads(),
        "protocol": {
            "environment": f"{GAMES[game]}: minimal action set, sticky actions 0.1, difficulty ramping",
            "time_limit": f"{MAX_EPISODE_STEPS} steps",
            "evaluation": f"{EVAL_EPISODES} episodes with the final parameters, epsilon 0, a fresh environment",
            **({} if name == "dqn" else {"actions": "sampled from the policy"}),
            "evaluation_seeds": "episode i of run s: 1000000 + 1000 s + i",
        },
        "curve": curve.points,
        "final": final,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains Stable-Baselines3's DQN or PPO on a MinAtar game.")
    parser.add_argument("--agent", choices=sorted(SETTINGS), default="dqn")
    parser.add_argument("--game", choices=sorted(GAMES), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.out.exists():
        print(f"{arguments.out} exists; nothing to do")
        return
    record = run(arguments.agent, arguments.game, arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out, json.dumps(record) + "\n")
    print(
        f"{record['experiment']} seed {record['seed']}: mean return {np.mean(record['final']['returns']):.2f}, "
        f"{record['wall_seconds']:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
