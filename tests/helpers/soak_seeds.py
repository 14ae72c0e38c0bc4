"""Kills `rlkit train CONFIG --seeds` at random moments, for `make soak`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from helpers.soak_files import contents
from helpers.soak_worlds import SEEDS, tables
from rlkit.config.load import resolve

COMMAND = [sys.executable, "-P", "-m", "rlkit.cli", "train", "small.toml", "--seeds", "0-1", "--jobs", "2"]


@dataclass
class Seeds:
    """Two runs of one command; the command or one of its runs is killed, or all, and the command is given again."""

    folder: Path
    name: str = SEEDS
    changes: int = 0  # no case kills before a change to a file

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        whole, duration = self.folder / "whole", self.folder / "seconds"
        if not duration.exists():
            begin = time.monotonic()
            assert self._finished(self._started(self._empty(whole)))
            duration.write_text(str(time.monotonic() - begin))
        self.whole = contents(whole)
        self.seconds = float(duration.read_text())

    def case(self, kind: str, number: int) -> dict[str, Any]:
        """Makes one case: how often a process was killed, and whether the runs ended as the uninterrupted ones."""
        run = self._empty(self.folder / "run")
        rng = np.random.default_rng([number, *kind.encode()])
        kills, done = 0, False
        while not done:
            process = self._started(run)
            try:
                process.wait(self.seconds * (1 + kills / 10) * float(rng.uniform(0.05, 1.0)))
            except subprocess.TimeoutExpired:
                kills += self._kill(process, str(rng.choice(["command", "run", "all"])))
            done = self._finished(process)
        now = contents(run)
        different = sorted(name for name in {*now, *self.whole} if now.get(name) != self.whole.get(name))
        if different:
            shutil.copytree(run, self.folder / f"different-{kind}-{number}", dirs_exist_ok=True)
        return {"world": self.name, "kind": kind, "number": number, "kills": kills, "different": different}

    def _empty(self, place: Path) -> Path:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / "small.toml").write_text(resolve("small", tables(SEEDS)).to_toml())
        return place

    def _started(self, place: Path) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen([*COMMAND, "--data", "data"], cwd=place, stdout=log, stderr=log)

    def _kill(self, process: subprocess.Popen[bytes], what: str) -> int:
        """Kills the command, one of its runs, or all of them; waits for runs that go on. Returns how many it killed."""
        runs = psutil.Process(process.pid).children()
        chosen = {"command": [], "run": runs[:1], "all": runs}[what]
        if what != "run":
            process.kill()
        for each in chosen:
            each.kill()
        psutil.wait_procs(runs)
        return len(chosen) + (what != "run")

    def _finished(self, process: subprocess.Popen[bytes]) -> bool:
        """Waits for the command; whether both runs are finished. Raises RuntimeError for a failure of the command."""
        code = process.wait()
        if code not in (0, 1, -9):  # 1: a run was killed
            raise RuntimeError((self.folder / "log").read_text(errors="replace")[-3000:])
        return code == 0
