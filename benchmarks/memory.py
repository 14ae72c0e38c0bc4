"""Measures the memory that a stored Atari transition takes, and extrapolates it to a million transitions.

    python benchmarks/memory.py                                     # one line each for 1, 8 and 64 environments
    python benchmarks/memory.py --num-envs 8 --rows 20000 --json    # one measurement, as JSON

A transition is a step that can be sampled, with 84 x 84 grey frames in stacks of four. The benchmark fills a replay
once with random frames and episodes of 500 steps, and measures how much the resident memory of the process grows. Each
measurement runs in its own process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from rlkit.replay import Replay, replay_bytes
from rlkit.types import EnvSpec, Observation, Stack, StepBatch

EPISODE = 500  # steps
MILLION = 1_000_000


def atari_spec(num_envs: int) -> EnvSpec:
    space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    return EnvSpec(space, num_actions=18, num_envs=num_envs, frame_skip=4, stack=Stack(0, 4, "zero"))


def fill(replay: Replay, pool: NDArray[np.uint8], num_envs: int, adds: int) -> None:
    """Adds `adds` vector steps with observations from `pool` (64 + num_envs, 4, 84, 84)."""
    nothing = np.zeros(num_envs, np.bool_)
    ones = np.ones(num_envs, np.float32)
    for number in range(adds):
        begins, ends = number % EPISODE == 0, number % EPISODE == EPISODE - 1
        obs = pool[number % 64 :][:num_envs]
        replay.add(
            StepBatch(
                before=Observation(obs, {}, nothing | begins),
                action=np.zeros(num_envs, np.int64),
                reward=ones,
                discount=ones,
                terminated=nothing,
                truncated=nothing | ends,
                after=Observation(obs, {}, nothing),
                extras={},
            )
        )


def measure(num_envs: int, rows: int) -> dict[str, Any]:
    """Fills a replay of `rows` rows in this process and returns its memory."""
    spec = atari_spec(num_envs)
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 256, (64 + num_envs, *spec.observation_space.shape), dtype=np.uint8)
    small = Replay(100 * num_envs, spec, device=torch.device("cpu"), rng=rng)
    fill(small, pool, num_envs, 120)  # first, so that one-time allocations are not measured
    small.sample(32)
    before = psutil.Process().memory_info().rss
    replay = Replay(rows, spec, device=torch.device("cpu"), rng=rng)
    fill(replay, pool, num_envs, replay.capacity // num_envs)
    replay.sample(32)
    grown = psutil.Process().memory_info().rss - before
    per_transition = grown / len(replay)
    return {
        "num_envs": num_envs,
        "transitions": len(replay),
        "bytes": grown,
        "bytes_per_transition": round(per_transition, 1),
        "projected_for_a_million": round(per_transition * MILLION),
        "asked_for_a_million": replay_bytes(MILLION, spec),
    }


def in_its_own_process(num_envs: int, rows: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--num-envs", str(num_envs), "--rows", str(rows), "--json"]
    result: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-envs", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rows", type=int, default=50_000, help="capacity of the replay that is filled")
    parser.add_argument("--json", action="store_true", help="measure once in this process and print JSON")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(measure(options.num_envs[0], options.rows)))
        return
    for num_envs in options.num_envs:
        found = in_its_own_process(num_envs, options.rows)
        print(
            f"{num_envs} environment(s): {found['bytes_per_transition']:,} bytes per transition over "
            f"{found['transitions']:,}; a million: {found['projected_for_a_million'] / 2**30:.2f} GiB "
            f"(estimate before allocation: {found['asked_for_a_million'] / 2**30:.2f} GiB)",
            flush=True,
        )


if __name__ == "__main__":
    main()
