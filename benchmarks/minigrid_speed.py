"""Measures the environment family `minigrid` against MiniGrid's own environments, with random actions.

    python benchmarks/minigrid_speed.py                                        # the table of docs/environments.md
    python benchmarks/minigrid_speed.py --id MiniGrid-DoorKey-8x8-v0 --num-envs 256 --json

The columns are environment steps per second of processor time in one thread, without and with the time of the resets
that random play needs, and the time of one reset. The package's environments are stepped one after the other, in
ImgObsWrapper, for a tenth of the steps.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from time import process_time
from typing import Any, Protocol

import gymnasium as gym
import minigrid  # noqa: F401  registers its ids
import numpy as np
from minigrid.wrappers import ImgObsWrapper
from numpy.typing import NDArray

from envs.minigrid_vector import MiniGridConfig, plugin
from rlkit.types import Purpose

IDS = (
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-DoorKey-16x16-v0",
    "MiniGrid-MultiRoom-N4-S5-v1",
    "MiniGrid-KeyCorridorS3R3-v0",
    "MiniGrid-ObstructedMaze-2Dlh-v0",
    "MiniGrid-Dynamic-Obstacles-8x8-v0",
)
CHUNKS = 20  # parts of a measurement, of which the fastest counts, since other processes disturb some
RESETS = 10  # of all environments, likewise


class Vector(Protocol):
    num_actions: int

    def begin(self) -> None: ...
    def step(self, action: NDArray[np.int64]) -> NDArray[np.bool_]: ...
    def reset(self, ended: NDArray[np.bool_]) -> None: ...


class Ours:
    """Through the interface that rlkit's agents use."""

    def __init__(self, env_id: str, num_envs: int) -> None:
        config = MiniGridConfig(name="minigrid", id=env_id)
        self._environments = plugin.make(config, num_envs, Purpose.TRAIN)
        self._seeds = np.arange(num_envs)
        self.num_actions = self._environments.spec.num_actions

    def begin(self) -> None:
        self._environments.reset(np.ones(len(self._seeds), np.bool_), self._seeds)

    def step(self, action: NDArray[np.int64]) -> NDArray[np.bool_]:
        self._environments.send(action)
        step = self._environments.receive()
        return step.terminated | step.truncated

    def reset(self, ended: NDArray[np.bool_]) -> None:
        self._environments.reset(ended, np.full(len(ended), -1))


class Theirs:
    """A plain loop, whose observations are not even put together."""

    def __init__(self, env_id: str, num_envs: int) -> None:
        self._envs: list[Any] = [ImgObsWrapper(gym.make(env_id, disable_env_checker=True)) for _ in range(num_envs)]
        self.num_actions = int(self._envs[0].action_space.n)

    def begin(self) -> None:
        for seed, env in enumerate(self._envs):
            env.reset(seed=seed)

    def step(self, action: NDArray[np.int64]) -> NDArray[np.bool_]:
        rows = [env.step(number) for env, number in zip(self._envs, action.tolist(), strict=True)]
        return np.array([row[2] or row[3] for row in rows])

    def reset(self, ended: NDArray[np.bool_]) -> None:
        for index in np.flatnonzero(ended).tolist():
            self._envs[index].reset()


def measure(vector: Vector, num_envs: int, steps: int) -> tuple[float, float, float]:
    """Seconds of processor time per step, seconds per reset, and resets per step."""
    vector.begin()
    rng = np.random.default_rng(0)
    times, resets = [], 0
    for _ in range(CHUNKS):
        actions = rng.integers(0, vector.num_actions, (max(1, steps // CHUNKS // num_envs), num_envs))
        seconds = 0.0
        for action in actions:
            begun = process_time()
            ended = vector.step(action)
            seconds += process_time() - begun
            if ended.any():
                vector.reset(ended)
                resets += int(ended.sum())
        times.append(seconds / actions.size)
    reset_times = []
    for _ in range(RESETS):
        begun = process_time()
        vector.reset(np.ones(num_envs, np.bool_))
        reset_times.append((process_time() - begun) / num_envs)
    return min(times), min(reset_times), resets / (CHUNKS * actions.size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--id", action="append", help=f"a MiniGrid id; may be repeated (default: {len(IDS)} of them)")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=640_000, help="environment steps of rlkit's worlds")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    arguments = parser.parse_args()
    kinds: list[tuple[str, Callable[[str, int], Vector], int]] = [("rlkit", Ours, 1), ("package", Theirs, 10)]
    results: dict[str, dict[str, dict[str, float]]] = {}
    if not arguments.json:
        print(f"{arguments.num_envs} environments, Python {platform.python_version()}, NumPy {np.__version__}")
        print("| id | | steps/s without resets | steps/s with resets | ms per reset |\n|---|---|---|---|---|")
    for env_id in arguments.id or IDS:
        for name, make, divisor in kinds:
            vector = make(env_id, arguments.num_envs)
            step, reset, share = measure(vector, arguments.num_envs, arguments.steps // divisor)
            found = {"seconds_per_step": step, "seconds_per_reset": reset, "resets_per_step": share}
            results.setdefault(env_id, {})[name] = found
            share = results[env_id]["rlkit"]["resets_per_step"]  # for both: they play the same, and one plays longer
            if not arguments.json:
                rates = f"{1 / step:,.0f} | {1 / (step + share * reset):,.0f}"
                print(f"| {env_id} | {name} | {rates} | {1000 * reset:.2f} |", flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
