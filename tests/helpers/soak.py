"""Kills training processes and compares what they leave with runs that were not interrupted: `make soak`.

    PYTHONPATH=tests python -m helpers.soak [--world NAME]... [--minutes M] [--folder runs/soak]

A case is one run, killed by SIGKILL and resumed until it ends; every file of it must then be the uninterrupted run's.
"operation" kills before the n-th change to the run's files, then up to five times before a random one, and resumes to
the end; every second case of it runs all processes under one process id, as in a container. "moment" kills at random
times until the run is finished. Finished cases are lines of FOLDER/cases.jsonl and are not repeated, so that a soak may
be made in pieces; `--table` prints them as the table of docs/results/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import rlkit
from helpers.soak_files import contents
from helpers.soak_seeds import Seeds
from helpers.soak_worlds import SEEDS, WORLDS, tables
from rlkit.config.load import resolve

PROCESSES = multiprocessing.get_context("forkserver")
MODULES = [
    "rlkit.runs.api", "agents.dqn", "agents.hdqn", "agents.ppo", "agents.pqn", "envs.gymnasium", "envs.atari",
    "torch._dynamo",
]  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
ONE_PID = 7


def session(world: str, run: Path, deadly: int, one_pid: bool, count: Path | None = None) -> None:
    """Trains or resumes a run in this process, which dies before its change number `deadly` to the run's files.

    0: at none of them. count: a file for the number of changes.
    """
    changes = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
            path = arguments[0]
            if isinstance(path, str | Path) and str(path).startswith(str(run)):
                changes += 1
                if changes == deadly:
                    os.kill(os.getpid() if not one_pid else real, signal.SIGKILL)

    real = os.getpid()
    if one_pid:
        os.getpid = lambda: ONE_PID
    sys.addaudithook(watch)
    multiprocessing.set_start_method("fork", force=True)  # of worker processes, as from the command line
    log = os.open(f"{run}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    if list(run.glob("checkpoints/[0-9]*")):
        rlkit.resume(run)
    else:
        rlkit.train(resolve("soak", tables(world)), run=run)
    if count is not None:
        count.write_text(str(changes))


def started(*arguments: Any) -> Any:
    process = PROCESSES.Process(target=session, args=arguments)
    process.start()
    return process


def finished(run: Path, process: Any, kill_after: float | None = None) -> bool:
    """Waits for a session; True if it ended by itself, False if it was killed. Raises RuntimeError for a failure."""
    process.join(kill_after)
    if process.exitcode is None:
        process.kill()
        process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(Path(f"{run}.log").read_text()[-3000:])
    return bool(process.exitcode == 0)


@dataclass
class World:
    """A world with its uninterrupted run."""

    name: str
    folder: Path
    kills: int = 6  # at most, of a case of "operation"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        whole, count, duration = (self.folder / name for name in ("whole", "changes", "seconds"))
        if not duration.exists():
            shutil.rmtree(whole, ignore_errors=True)
            begin = time.monotonic()
            assert finished(whole, started(self.name, whole, 0, False, count))
            duration.write_text(str(time.monotonic() - begin))
        self.whole = contents(whole)
        self.changes = int(count.read_text())
        self.seconds = float(duration.read_text())

    def case(self, kind: str, number: int) -> dict[str, Any]:
        """Makes one case: how often its run was killed, and whether it ended as the uninterrupted one."""
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        Path(f"{run}.log").unlink(missing_ok=True)
        rng = np.random.default_rng([number, *kind.encode()])
        kills = (self._at_operations if kind == "operation" else self._at_moments)(run, number, rng)
        now = contents(run)
        different = sorted(name for name in {*now, *self.whole} if now.get(name) != self.whole.get(name))
        if different:
            shutil.copytree(run, self.folder / f"different-{kind}-{number}", dirs_exist_ok=True)
        return {"world": self.name, "kind": kind, "number": number, "kills": kills, "different": different}

    def _at_operations(self, run: Path, number: int, rng: np.random.Generator) -> int:
        one_pid = number % 2 == 0
        kills = int(not finished(run, started(self.name, run, number, one_pid)))
        while kills < self.kills and not (run / "result.json").exists():
            kills += not finished(run, started(self.name, run, int(rng.integers(1, 50)), one_pid))
        if not (run / "result.json").exists():
            assert finished(run, started(self.name, run, 0, one_pid))
        return kills

    def _at_moments(self, run: Path, number: int, rng: np.random.Generator) -> int:
        kills = 0
        while not (run / "result.json").exists():
            longest = self.seconds * (1 + kills / 10)  # so that it ends on a machine that has become slower, too
            kills += not finished(run, started(self.name, run, 0, False), longest * float(rng.uniform(0.05, 1.0)))
        return kills


def cases(worlds: list[str]) -> Iterator[tuple[str, str, int]]:
    """(world, kind, number), the worlds in turn; the first has a case for every change to its files."""
    for number in range(1, 400):
        for world in worlds:
            yield world, "moment", number
            yield world, "operation", 5 * number if world != worlds[0] else number


def soak(folder: Path, worlds: list[str], minutes: float, say: Callable[[str], None]) -> None:
    PROCESSES.set_forkserver_preload(MODULES)
    first = PROCESSES.Process(target=int)  # imports everything, so that no run seems to take as long
    first.start()
    first.join()
    log = folder / "cases.jsonl"
    done = {(row["world"], row["kind"], row["number"]) for row in rows(folder)}
    made: dict[str, World | Seeds] = {}
    deadline = time.monotonic() + 60 * minutes
    for name, kind, number in cases(worlds):
        if time.monotonic() > deadline:
            return
        if name not in made:
            place = (folder / name.replace(" ", "-").replace(",", "")).resolve()
            made[name] = Seeds(place) if name == SEEDS else World(name, place)
        if (name, kind, number) in done or (kind == "operation" and number > made[name].changes):
            continue
        row = made[name].case(kind, number)
        with log.open("a") as file:
            file.write(json.dumps(row) + "\n")
        say(json.dumps(row))


def rows(folder: Path) -> list[dict[str, Any]]:
    log = folder / "cases.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def table(folder: Path) -> str:
    lines = [
        "| world | runs | killed at a file operation | killed at a random moment | different files |",
        "|---|---|---|---|---|",
    ]
    found = rows(folder)
    for world in [*WORLDS, "all"]:
        mine = [row for row in found if world in ("all", row["world"])]
        kills = [sum(row["kills"] for row in mine if row["kind"] == kind) for kind in ("operation", "moment")]
        different = sum(len(row["different"]) for row in mine)
        lines.append(f"| {world} | {len(mine)} | {kills[0]} | {kills[1]} | {different} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", action="append", choices=list(WORLDS), help="default: all")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--folder", type=Path, default=Path("runs/soak"))
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_args()
    if not chosen.table:
        chosen.folder.mkdir(parents=True, exist_ok=True)
        soak(chosen.folder, chosen.world or list(WORLDS), chosen.minutes, print)
    print(table(chosen.folder))
    sys.exit(any(row["different"] for row in rows(chosen.folder)))
