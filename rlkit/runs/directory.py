"""The run directory: its files, its lock, and the information about the run."""

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
    """The processor, number of cores, memory and system."""
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
        """Creates a run directory. Raises RunError if the path exists and is not empty."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"{path} exists; resume it with 'rlkit resume {path}', or choose another directory with --run"
            )
        try:
            (path / "tapes").mkdir(parents=True)
            write_text(path / "config.toml", config.to_toml())
            write_text(path / "run.json", json.dumps(info, indent=1) + "\n")
        except OSError as error:
            raise RunError(f"cannot write to {path}: {error.strerror}") from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Opens an existing run directory. Raises RunError if there is none."""
        if not (path / "config.toml").is_file():
            raise RunError(f"{path} is not a run directory: it has no config.toml")
        return cls(path)

    def config(self, overrides: dict[str, Any] | None = None) -> Config:
        return load(self.path / "config.toml", overrides)

    def info(self) -> dict[str, Any]:
        """The content of run.json."""
        try:
            found: dict[str, Any] = json.loads((self.path / "run.json").read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / 'run.json'} cannot be read: {error}") from error
        return found

    def amend(self, **changes: Any) -> None:
        """Sets entries of run.json."""
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
        """The content of result.json; None if there is none yet."""
        path = self.path / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def finished_result(self, config: Config) -> dict[str, Any] | None:
        """The result if the run is finished under `config`: not that of a shorter run that was extended since."""
        result, stop = self.result(), config.evaluation.stop
        if result is None:
            return None
        solved = stop is not None and stop.solved(result["curve"])
        return result if solved or result["env_steps"] >= config.train.steps else None

    def save_policy(self, name: str, state: State, env_steps: int) -> None:
        """Saves the state of a policy as policies/NAME ("best" or "final")."""
        policies = self.path / "policies"
        save_state(policies / name, {"env_steps": env_steps, "policy": state}, policies / "objects")
        collect_garbage(policies / "objects", (policies / each for each in ("best", "final")))

    def load_policy(self, which: str) -> tuple[State, int]:
        """(state of the policy, its env_steps). which: "last", "best", or the step of a checkpoint."""
        policies = self.path / "policies"
        names = {"last": "final", "best": "best"}
        steps = self.checkpoints.steps()
        if which in names and (policies / names[which]).exists():
            content = load_state(policies / names[which], policies / "objects")
            if which == "best" or not steps or content["env_steps"] >= steps[-1]:  # else the run was extended after it
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
        """Lets one process at a time write to the run. Raises RunError if another process has the lock."""
        import fcntl  # not on Windows, where policies can act and be evaluated, but not trained

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
    """The first of `path`, path-2, path-3, ... that does not exist."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
