"""The speed of atari/pong-fast with and without a second core: torch's threads, the emulator's, and `overlap`.

    python benchmarks/overlap.py --out docs/results/data/speed-overlap.json

Each run is a process of its own, without evaluations during training; the settings alternate in each round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from rlkit.files import write_text
from rlkit.runs.directory import machine, today, versions

SETTINGS: dict[str, list[str]] = {
    "in turn": [],
    "in turn, 2 threads of torch": ["train.threads=2"],
    "in turn, 2 threads of the emulator": ["env.threads=2"],
    "overlap": ["agent.overlap=true"],
    "overlap, 2 threads of the emulator": ["agent.overlap=true", "env.threads=2"],
}
COMMON = ["evaluation.every=0", "evaluation.stop=false", "evaluation.final_episodes=1", "evaluation.num_envs=1"]


def run(values: list[str], steps: int) -> tuple[int, float]:
    """(environment steps a second, ms of processor time a step)."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "run"
        settings = [word for value in (*COMMON, f"train.steps={steps}", *values) for word in ("--set", value)]
        command = [sys.executable, "-m", "rlkit.cli", "train", "atari/pong-fast", "--run", str(place), *settings]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        result: dict[str, Any] = json.loads((place / "result.json").read_text())
    env_steps = result["env_steps"]
    return round(env_steps / result["train_seconds"]), round(1000 * result["train_processor_seconds"] / env_steps, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what overlap and threads do to the speed of Pong with PPO.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8192)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rounds: list[dict[str, tuple[int, float]]] = []
    for number in range(arguments.rounds):
        rounds.append({})
        for name, values in SETTINGS.items():
            rounds[-1][name] = run(values, arguments.steps)
            print(f"round {number + 1}, {name}: {rounds[-1][name][0]} steps a second", flush=True)
    found = {name: summary([each[name] for each in rounds], [each["in turn"] for each in rounds]) for name in SETTINGS}
    for name, row in found.items():
        print(f"{name}: {row}")
    if arguments.out is not None:
        record = {
            "format": 1,
            "benchmark": f"training speed of atari/pong-fast, {arguments.steps} steps",
            "machine": machine(),
            "date": today(),
            "versions": versions(),
            "conditions": {"load_average_at_the_end": [round(value, 1) for value in os.getloadavg()]},
            "results": found,
        }
        write_text(arguments.out, json.dumps(record) + "\n")


def summary(rows: list[tuple[int, float]], baseline: list[tuple[int, float]]) -> dict[str, Any]:
    """Speeds and processor times of all rounds, and the median, lowest and highest ratio to `baseline`."""
    ratios = [round(row[0] / base[0], 2) for row, base in zip(rows, baseline, strict=True)]
    return {
        "env_steps_per_second": [row[0] for row in rows],
        "processor_ms_per_step": [row[1] for row in rows],
        "ratio": [float(np.median(ratios)), min(ratios), max(ratios)],
    }


if __name__ == "__main__":
    main()
