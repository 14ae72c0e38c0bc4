"""Measures the cost of DQN on Atari games, and draws the input of its network.

    python benchmarks/atari.py --out docs/results/data/atari-cost.json --picture docs/images/atari-frames.png

Each game is trained for 20,000 steps in its own process, with the settings of `atari/dqn-dopamine`. Learning begins at
step 2,000, and epsilon falls over the next 8,000 steps. Interrupted runs are resumed when the command is repeated.

The record contains steps, updates, episodes and their mean return during training, the peak memory of the process,
wall-clock time, and processor time summed over all threads. Processor time varies less on a busy machine. The picture
has one row per game: the stack of four frames that the network receives, as floats between 0 and 1.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import rlkit
from rlkit import plugins
from rlkit.config.load import load
from rlkit.config.tables import Config
from rlkit.files import write_text
from rlkit.metrics.line_log import read_rows
from rlkit.nn.inputs import build_input
from rlkit.runs.directory import machine, today, versions
from rlkit.training.trainer import Trainer
from rlkit.types import Purpose

CONFIG = "atari/dqn-dopamine"
GAMES = ["pong", "breakout", "freeway"]
SEEN_AT = 120  # steps of random actions before the picture


@dataclass(frozen=True)
class Point:
    """The progress of training at a log."""

    env_steps: int
    updates: int
    clock: float  # seconds of wall-clock time
    cpu: float  # seconds of processor time


def costs(points: list[Point], learning_starts: int) -> dict[str, float] | None:
    """Milliseconds per step with random actions, and milliseconds that learning adds per update, acting included.

    Returns None if the run was resumed after learning began, because this process then lacks the steps before it.
    """
    before = [point for point in points if point.env_steps <= learning_starts]
    if len(before) < 2:
        return None
    first, begin, end = before[0], before[-1], points[-1]
    found = {}
    for name in ("clock", "cpu"):
        step = (getattr(begin, name) - getattr(first, name)) / (begin.env_steps - first.env_steps)
        learning = getattr(end, name) - getattr(begin, name) - step * (end.env_steps - begin.env_steps)
        found[f"{name}_ms_per_random_step"] = round(1000 * step, 3)
        found[f"{name}_ms_per_update"] = round(1000 * learning / (end.updates - begin.updates), 3)
    return found


def config_of(game: str, steps: int, threads: int) -> Config:
    return load(
        CONFIG,
        {
            "env.game": game,
            "agent.learning_starts": steps // 10,
            "agent.epsilon.steps": 4 * steps // 10,
            "agent.replay_capacity": 2 * steps,
            "train.steps": steps,
            "train.threads": threads,
            "train.device": "cpu",
            "train.log_every": max(1, steps // 40),
            "train.checkpoint_every": max(1, steps // 4),
            "evaluation.every": 0,
            "evaluation.final_episodes": 1,
        },
    )


def train(game: str, steps: int, threads: int, folder: Path) -> dict[str, Any]:
    """Trains or resumes one game in this process, or reads its record if it is finished."""
    path = folder / f"{game}-{steps}"
    kept = path / "cost.json"
    if kept.exists():
        finished: dict[str, Any] = json.loads(kept.read_text())
        return finished
    config = config_of(game, steps, threads)
    points: list[Point] = []

    def mark(trainer: Trainer) -> None:
        points.append(Point(trainer.env_steps, trainer.agent.updates, time.perf_counter(), time.process_time()))

    if (path / "checkpoints").exists() and any((path / "checkpoints").glob("[0-9]*")):
        rlkit.resume(path, on_progress=mark)
    else:
        rlkit.train(config, run=path, on_progress=mark)
    result = json.loads((path / "result.json").read_text())
    rows = read_rows(path / "metrics.jsonl")
    returns = [row["episode/return"] for row in rows if "episode/return" in row]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    record = {
        "game": game,
        "env_steps": result["env_steps"],
        "updates": result["updates"],
        "train_seconds": result["train_seconds"],
        "env_steps_per_second": round(result["env_steps"] / result["train_seconds"], 1),
        "costs": costs(points, steps // 10),
        "episodes": max((row.get("progress/episodes", 0) for row in rows), default=0),
        "mean_return_of_the_last_log": returns[-1] if returns else None,
        "process_peak_bytes": peak,  # of the last process if the run was resumed
        "threads": threads,
        "protocol": result["protocol"],
    }
    write_text(kept, json.dumps(record) + "\n")
    return record


def in_its_own_process(game: str, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", game, "--steps", str(arguments.steps)]
    command += ["--threads", str(arguments.threads), "--runs", str(arguments.runs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


def seen(game: str) -> NDArray[np.uint8]:
    """(84, 4 * 84): the output of the network's input layer for one observation, the oldest frame first."""
    config = config_of(game, 10, 1)
    environments = plugins.load(plugins.ENVS, config.env.name).make(config.env, 1, Purpose.TRAIN)
    rng = np.random.default_rng(0)
    observation = environments.reset(np.ones(1, np.bool_), np.zeros(1, np.int64))
    for _ in range(SEEN_AT):
        before = observation.obs
        environments.send(rng.integers(0, environments.spec.num_actions, 1))
        step = environments.receive()
        ended = step.terminated | step.truncated
        observation = environments.reset(ended, np.full(1, -1)) if ended.any() else step.after
    assert (observation.obs[0, :-1] == before[0, 1:]).all()  # a step shifts the stack by one frame
    inputs = build_input(environments.spec.observation_space)(torch.from_numpy(observation.obs))  # (1, 4, 84, 84)
    environments.close()
    low, high = float(inputs.min()), float(inputs.max())
    assert 0.0 <= low < high <= 1.0
    frames: NDArray[np.uint8] = (255 * inputs[0].numpy()).round().astype(np.uint8)
    return np.concatenate(list(frames), axis=1)


def draw(games: list[str], path: Path) -> None:
    from PIL import Image

    rows = np.concatenate([np.pad(seen(game), ((0, 4), (0, 0)), constant_values=255) for game in games])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rows).resize((2 * rows.shape[1], 2 * rows.shape[0]), Image.Resampling.NEAREST).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=GAMES)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--runs", type=Path, default=Path("runs/atari"), help="folder of the run directories")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--picture", type=Path, help="PNG file to write")
    parser.add_argument("--one", metavar="GAME", help="train this game in this process and print its record")
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(train(arguments.one, arguments.steps, arguments.threads, arguments.runs)))
        return
    if arguments.picture is not None:
        draw(arguments.games, arguments.picture)
    records = []
    for game in arguments.games:
        records.append(in_its_own_process(game, arguments))
        print(json.dumps({key: value for key, value in records[-1].items() if key != "protocol"}), flush=True)
    if arguments.out is not None:
        record = {
            "format": 1,
            "benchmark": f"the cost of {CONFIG}",
            "machine": machine(),
            "date": today(),
            "versions": versions(),
            "games": records,
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(arguments.out, json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
