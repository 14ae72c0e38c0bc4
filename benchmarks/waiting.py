"""The pace of one learner with many actors, in an environment that waits 20 ms a step: it waits, and does not compute.

    python benchmarks/waiting.py --actors 8

Prints environment steps a second of one local environment, and of actors on this machine (Ray, extra `cluster`).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import rlkit

WAITS = 0.02  # seconds a step


class Waiting(gym.Env[Any, Any]):
    """Observes noise."""

    observation_space = gym.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.random(4, dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(WAITS)
        return self.np_random.random(4, dtype=np.float32), 0.0, False, False, {}


def register() -> None:
    gym.register("benchmarks/Waiting-v0", Waiting, max_episode_steps=100)


def pace(num_envs: int, steps: int, actors: dict[str, Any] | None) -> float:
    """Environment steps a second after the first quarter, learning included."""
    marks: list[tuple[int, float]] = []
    values: dict[str, Any] = {
        "env.id": "benchmarks/Waiting-v0", "env.register": ["waiting:register"], "train.steps": steps,
        "train.num_envs": num_envs, "agent.learning_starts": 50, "evaluation.every": 0, "evaluation.final_episodes": 1,
        "train.sinks": [], "evaluation.stop": False,
    }  # fmt: skip
    if actors is not None:
        values["train.actors"] = actors
    with tempfile.TemporaryDirectory() as folder:
        rlkit.train("cartpole", values, run=Path(folder) / "run",
                    on_step=lambda trainer, step: marks.append((trainer.env_steps, time.perf_counter())))  # fmt: skip
    (first, began), (last, ended) = marks[len(marks) // 4], marks[-1]
    return (last - first) / (ended - began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--actors", type=int, default=8)
    count = parser.parse_args().actors
    os.chdir(Path(__file__).parent)
    local = pace(1, 400, None)
    table = {"count": count, "cpus": 1 / count, "push_every": 8}
    remote = pace(count, 400 * count, table)
    print(f"one local environment: {local:.1f} steps a second")
    print(f"{count} actors: {remote:.1f} steps a second, {remote / local / count:.2f} x {count} x the local pace")


if __name__ == "__main__":
    main()
