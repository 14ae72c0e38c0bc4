"""The run directory: what lies where, who may write to it, and what is said about the run."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import rlkit
from rlkit.config.load import load
from rlkit.config.tables import Config
from rlkit.errors import RlkitError, RunError
from rlkit.runs.checkpoint import CheckpointStore, collect_garbage, load_state, save_state, write_text
from rlkit.types import State

PACKAGES = ("torch", "numpy", "gymnasium", "ale-py", "minatar", "minigrid")


def versions(*others: str) -> dict[str, str]:
    """The versions that numbers depend on, and those of `others`; packages that are not installed are left out."""
    found = {"python": platform.python_version(), "rlkit": rlkit.__version__}
    for package in (*PACKAGES, *others):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """The processor and its size, for the note beside a number."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (match := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        model = match.group(1)
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"


def today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """RUN/: config.toml, run.json, checkpoints/, policies/, tapes/, metrics.jsonl, tensorboard/, result.json."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: Config, info: dict[str, Any]) -> RunDirectory:
        """A new one. Raises RunError where something lies there already."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(f"{path} exists; go on with it by 'rlkit resume {path}', or choose another with --run")
        try:
            (path / "tapes").mkdir(parents=True)
            write_text(path / "config.toml", config.to_toml())
            write_text(path / "run.json", json.dumps(info, indent=1) + "\n")
        except OSError as error:
            raise RunError(f"cannot write to {path}: {error.strerror}") from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing one. Raises RunError where there is none."""
        if not (path / "config.toml").is_file():
            raise RunError(f"{path} is no run directory: it has no config.toml")
        return cls(path)

    def config(self, overrides: dict[str, Any] | None = None) -> Config:
        return load(self.path / "config.toml", overrides)

    def info(self) -> dict[str, Any]:
        """What run.json says."""
        try:
            found: dict[str, Any] = json.loads((self.path / "run.json").read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / 'run.json'} cannot be read: {error}") from error
        return found

    def amend(self, **changes: Any) -> None:
        """Changes entries of run.json."""
        write_text(self.path / "run.json", json.dumps({**self.info(), **changes}, indent=1) + "\n")

    @property
    def checkpoints(self) -> CheckpointStore:
        return CheckpointStore(self.path / "checkpoints")

    @property
    def tapes(self) -> Path:
        return self.path / "tapes"

    @property
    def metrics(self) -> Path:
        """The line log."""
        return self.path / "metrics.jsonl"

    def result(self) -> dict[str, Any] | None:
        """What result.json says; None while there is none."""
        path = self.path / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def finished_result(self, config: Config) -> dict[str, Any] | None:
        """The result if it is the end of what `config` asks for, and not of a shorter run that was extended since."""
        result, stop = self.result(), config.evaluation.stop
        if result is None:
            return None
        solved = stop is not None and stop.solved(result["curve"])
        return result if solved or result["env_steps"] >= config.train.steps else None

    def save_policy(self, name: str, state: State, env_steps: int) -> None:
        """Keeps parameters alone, as policies/NAME ("best", "final")."""
        policies = self.path / "policies"
        save_state(policies / name, {"env_steps": env_steps, "policy": state}, policies / "objects")
        collect_garbage(policies / "objects", (policies / each for each in ("best", "final")))

    def load_policy(self, which: str) -> tuple[State, int]:
        """(the policy's state, its env_steps). `which`: "last", "best", or the step of a checkpoint."""
        policies = self.path / "policies"
        names = {"last": "final", "best": "best"}
        steps = self.checkpoints.steps()
        if which in names and (policies / names[which]).exists():
            content = load_state(policies / names[which], policies / "objects")
            if which == "best" or not steps or content["env_steps"] >= steps[-1]:  # else the run was extended since
                return content["policy"], content["env_steps"]
        if which == "last" and steps:
            return self.checkpoints.load(steps[-1], "agent/policy"), steps[-1]
        if which.isdigit() and int(which) in steps:
            return self.checkpoints.load(int(which), "agent/policy"), int(which)
        there = [name for name in ("last", "best") if (name == "last" and steps) or (policies / names[name]).exists()]
        known = ", ".join([*there, *map(str, steps)]) or "none yet"
        raise RunError(f"{self.path} has no checkpoint {which!r}; there are: {known}")

    @contextmanager
    def naming_versions(self, what: str) -> Iterator[None]:
        """Turns any error of a saved state that does not fit into a RunError that names the versions."""
        try:
            yield
        except RunError:  # a damaged file, not one of another version
            raise
        except Exception as error:  # whatever an agent does with a state that it does not expect
            reason = error if isinstance(error, RlkitError) else f"{type(error).__name__}: {error}"
            version = self.info().get("versions", {}).get("rlkit", "unknown")
            raise RunError(
                f"{self.path}: {what} does not fit: {reason}; the run was made by rlkit {version}, "
                f"and this is {rlkit.__version__}"
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Only one process at a time may write to a run. Raises RunError where another one does."""
        import fcntl  # not on Windows: training needs Linux or macOS, acting and evaluating do not

        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise RunError(f"{self.path} is being written to by another process (pid {owner})") from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


def free_name(path: Path) -> Path:
    """`path`, or path-2, path-3, ... whichever does not exist yet."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
