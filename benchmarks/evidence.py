"""Trains a config with several seeds, one after the other, and leaves each result in docs/results/data/.

    python benchmarks/evidence.py minatar/breakout --seeds 0-9

A seed whose result file exists is skipped, and a run that was interrupted is resumed: evidence is made in pieces.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import rlkit
from rlkit.config import load
from rlkit.training import Stopped

DATA = Path("docs/results/data")


def result_file(config: str, library: str, seed: int) -> Path:
    """docs/results/data/minatar-space-invaders/rlkit-seed3.json"""
    return DATA / config.replace("/", "-").replace("_", "-") / f"{library}-seed{seed}.json"


def seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def train(config: str, seed: int, folder: Path) -> Path:
    """The finished run directory of one seed."""
    run = folder / f"{config.replace('/', '-')}-seed{seed}"
    if (run / "result.json").exists():
        return run
    if list(run.glob("checkpoints/[0-9]*")):
        return rlkit.resume(run).path
    shutil.rmtree(run, ignore_errors=True)  # killed before its first checkpoint
    return rlkit.train(load(config, {"train.seed": seed}), run=run).path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--seeds", type=seeds, default=seeds("0-9"), help="first-last")
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="where the run directories lie")
    options = parser.parse_args()
    for seed in options.seeds:
        out = result_file(options.config, "rlkit", seed)
        if not out.exists():
            try:
                run = train(options.config, seed, options.runs)
            except Stopped as stopped:
                raise SystemExit(f"{stopped}; the same command goes on") from stopped
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(run / "result.json", out)
            print(f"{out}", flush=True)


if __name__ == "__main__":
    main()
