"""Measures the cost of a count bonus in an Atari training loop by timing the bonus's methods.

    python benchmarks/exploration.py --out docs/results/data/exploration-cost.json

The benchmark trains `atari/hash-pixels` on Pong (SimHash of 256 bits, a sketch of six tables) with updates from step
500 on. It sums the time spent in the bonus's methods and divides it by the time of the loop. The difference of two
runs, one with and one without the bonus, would be less precise. There are five rounds, because memory speed varies over
time. A second measurement counts and looks up batches of 1,000 codes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlkit.config.load import load
from rlkit.exploration.count.counts import ExactCounts, SketchCounts
from rlkit.files import write_text
from rlkit.runs.assemble import assemble
from rlkit.runs.directory import RunDirectory, machine, today, versions

CALLS = ("acting", "observe", "learn", "add", "bootstrapping")
LEARNING_STARTS = 500
ROUNDS = 5


def timed(target: Any, name: str, seconds: Counter[str]) -> None:
    """Wraps the method `target.name` so that the time of each call is added to `seconds[name]`."""
    call = getattr(target, name)

    def measured(*arguments: Any) -> Any:
        begin = time.perf_counter()
        answer = call(*arguments)
        seconds[name] += time.perf_counter() - begin
        return answer

    setattr(target, name, measured)


def loop(steps: int) -> dict[str, Any]:
    """Microseconds per environment step of the whole loop and of the bonus; the bonus's share in the median round."""
    changes = {
        "env.game": "pong",
        "agent.replay_capacity": 5_000,
        "agent.learning_starts": LEARNING_STARTS,
        "train.steps": LEARNING_STARTS + steps,
        "train.sinks": [],
        "train.device": "cpu",
    }
    config = load("atari/hash-pixels", changes)
    seconds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        session = assemble(config, lambda device: RunDirectory.create(Path(folder) / "run", config, {}))
        trainer = session.trainer
        bonus = trainer.agent.bonus  # type: ignore[attr-defined]
        trainer.start()
        for _ in range(LEARNING_STARTS + 40):
            trainer.step()
        for name in CALLS:
            timed(bonus, name, seconds)
        whole, shares = 0.0, []
        for _ in range(ROUNDS):
            before, begin = sum(seconds.values()), time.perf_counter()
            for _ in range(steps // ROUNDS):
                trainer.step()
            took = time.perf_counter() - begin
            whole += took
            shares.append((sum(seconds.values()) - before) / took)
        session.close()
    return {
        "loop": round(1e6 * whole / steps),
        "bonus": round(1e6 * sum(seconds.values()) / steps),
        "share": float(np.median(shares)),
        "shares": [round(share, 4) for share in shares],
        **{name: round(1e6 * value / steps, 1) for name, value in seconds.items()},
    }


def tables(rounds: int = 50) -> dict[str, float]:
    """Milliseconds to count and to look up 1,000 codes, new and known ones mixed; the sketch's size in MB."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 50_000, (rounds, 1_000)) * 2**40
    column = np.zeros(1_000, np.int64)
    out: dict[str, float] = {}
    for name, table in (("exact", ExactCounts()), ("sketch", SketchCounts())):
        begin = time.perf_counter()
        for batch in codes:
            table.add(batch, column)
        middle = time.perf_counter()
        for batch in codes:
            table.look_up(batch)
        end = time.perf_counter()
        out[f"{name} count, ms"] = round(1e3 * (middle - begin) / rounds, 2)
        out[f"{name} look up, ms"] = round(1e3 * (end - middle) / rounds, 2)
    out["sketch, MB"] = SketchCounts().state_dict()["cells"].nbytes / 1e6
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the cost of a count bonus in an Atari training loop.")
    parser.add_argument("--steps", type=int, default=2_000, help="timed environment steps, over all rounds")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {"microseconds a step": loop(arguments.steps), "1,000 codes": tables()}
    print(json.dumps(found, indent=2))
    if arguments.out is not None:
        record = {"format": 1, "benchmark": "cost of a count bonus", "steps": arguments.steps, "threads": 1}
        record |= {"machine": machine(), "date": today(), "versions": versions(), **found}
        write_text(arguments.out, json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
