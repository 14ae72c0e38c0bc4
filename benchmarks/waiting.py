"""The pace of one learner with many actors: where it pays, and what it costs where it does not.

    python benchmarks/waiting.py --actors 8             an environment that waits 20 ms a step: it waits, not computes
    python benchmarks/waiting.py --actors 4 --fast      CartPole, without learning: the overhead

Prints environment steps a second, and the learner's processor time for each step, of local environments and of
actors on this machine (Ray, extra `cluster`).
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


def pace(values: dict[str, Any], num_envs: int, steps: int, actors: dict[str, Any] | None) -> tuple[float, float]:
    """(environment steps a second, ms of this process a step) after the first quarter."""
    marks: list[tuple[int, float, float]] = []
    values = {
        "train.steps": steps, "train.num_envs": num_envs, "evaluation.every": 0, "evaluation.final_episodes": 1,
        "train.sinks": [], "evaluation.stop": False, **values,
    }  # fmt: skip
    if actors is not None:
        values["train.actors"] = actors
    with tempfile.TemporaryDirectory() as folder:
        rlkit.train("cartpole", values, run=Path(folder) / "run", on_step=lambda trainer, step: marks.append(
            (trainer.env_steps, time.perf_counter(), time.process_time())))  # fmt: skip
    (first, began, used), (last, ended, in_all) = marks[len(marks) // 4], marks[-1]
    return (last - first) / (ended - began), 1000 * (in_all - used) / (last - first)


def waiting(count: int) -> None:
    """One local environment against actors, with learning."""
    values = {"env.id": "benchmarks/Waiting-v0", "env.register": ["waiting:register"], "agent.learning_starts": 50}
    local, _ = pace(values, 1, 400, None)
    remote, _ = pace(values, count, 400 * count, {"count": count, "cpus": 1 / count, "push_every": 8})
    print(f"one local environment: {local:.1f} steps a second")
    print(f"{count} actors: {remote:.1f} steps a second, {remote / local / count:.2f} x {count} x the local pace")


def fast(count: int) -> None:
    """As many local environments as actors, without learning."""
    values = {"agent.learning_starts": 10_000_000, "agent.replay_capacity": 50_000}
    print(f"CartPole, {count} environments, no learning: steps a second, ms of the learner's process a step")
    speed, used = pace(values, count, 5000 * count, None)
    print(f"local: {speed:,.0f}, {used:.3f}")
    for push in (4, 16, 64):
        table = {"count": count, "cpus": 1 / count, "push_every": push}
        speed, used = pace(values, count, 2000 * count, table)
        print(f"actors, push_every = {push}: {speed:,.0f}, {used:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--actors", type=int, default=8)
    parser.add_argument("--fast", action="store_true")
    arguments = parser.parse_args()
    os.chdir(Path(__file__).parent)
    (fast if arguments.fast else waiting)(arguments.actors)


if __name__ == "__main__":
    main()
