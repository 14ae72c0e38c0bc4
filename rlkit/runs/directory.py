"""The run directory: its files, its lock, and the information about the run."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import rlkit
from rlkit.config.load import load, read
from rlkit.config.tables import Config, StopConfig
from rlkit.errors import RlkitError, RunError, WorkerError
from rlkit.files import FileLock, Taken, read_json, refuse_links, remove_temporaries, write_text
from rlkit.runs.checkpoint import CheckpointStore, collect_garbage, load_state, present, save_state
from rlkit.runs.contents import clear, others
from rlkit.types import State

INFO = {"experiment": str, "seed": int, "device": str, "threads": int, "versions": dict, "approximate": list}
RESULT = {"env_steps": int, "curve": list, "final": dict, "protocol": dict, "seed": int, "experiment": str}
"""The entries of run.json and of result.json that are read again, and their types."""

BEST = "best"  # the policy with the highest mean return in an evaluation during training
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
        """Like `created`, without holding the lock."""
        with cls.created(path, config, info) as run:
            return run

    @classmethod
    @contextmanager
    def created(cls, path: Path, config: Config, info: dict[str, Any]) -> Iterator[RunDirectory]:
        """Creates a run directory and holds its lock. A run without a checkpoint begins anew.

        Raises RunError if the path is a file, or a directory that holds anything else.
        """
        run = cls(path)
        run._refuse_if_taken(config)  # before anything is written
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot write to {path}: {error.strerror}") from error
        with run.lock():
            run._refuse_if_taken(config)  # again: another process may have trained it since
            try:
                clear(path)
                run.tapes.mkdir()
                write_text(path / "config.toml", config.to_toml())
                write_text(path / "run.json", json.dumps(info, indent=1) + "\n")
            except OSError as error:
                raise RunError(f"cannot write to {path}: {error.strerror}") from error
            yield run

    def _refuse_if_taken(self, config: Config) -> None:
        """Raises RunError if the directory holds what a new run must not replace."""
        path = self.path
        if not path.exists() and not path.is_symlink():
            return
        another = "choose another directory with --run"
        if not path.is_dir():
            raise RunError(f"{path} exists and is no directory; {another}")
        refuse_links(path)
        if self.checkpoints.steps() or (path / "result.json").exists():
            raise RunError(f"{path} exists; resume it with 'rlkit resume {path}', or {another}")
        if strange := others(path):
            raise RunError(f"{path} exists and holds {', '.join(strange[:3])}, which is not of a run; {another}")
        policy = next(path.glob("policies/[bf]*"), None)
        same = (path / "config.toml").is_file() and (path / "config.toml").read_bytes() == config.to_toml().encode()
        if policy is not None and not same:
            raise RunError(f"{path} exists and has the policy {policy.name} of another config; {another}")

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Opens an existing run directory. Raises RunError if there is none, or if it holds links."""
        if not (path / "config.toml").is_file():
            raise RunError(f"{path} is not a run directory: it has no config.toml{_runs_below(path)}")
        refuse_links(path)
        return cls(path)

    def config(self, overrides: dict[str, Any] | None = None) -> Config:
        return load(self.path / "config.toml", overrides)

    def tables(self) -> dict[str, Any]:
        """The tables of config.toml as they are written; imports none of the modules that they name."""
        return read(self.path / "config.toml")[1]

    def info(self) -> dict[str, Any]:
        """The content of run.json. Raises RunError if it is damaged."""
        return _checked(self.path / "run.json", INFO)

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
        """The content of result.json; None if there is none yet. Raises RunError if it is damaged."""
        path = self.path / "result.json"
        return _checked(path, RESULT) if path.is_file() else None

    @property
    def score(self) -> float | None:
        """The mean of the final evaluation's returns; None while unfinished."""
        result = self.result()
        if result is None:
            return None
        returns = result["final"]["returns"]
        return float(sum(returns) / len(returns))

    def finished_result(self, steps: int, stop: StopConfig | None) -> dict[str, Any] | None:
        """The result if the run reached `steps` or `stop`: not that of a shorter run that was extended since."""
        result = self.result()
        if result is None:
            return None
        try:
            solved = stop is not None and stop.solved(result["curve"])
            return result if solved or result["env_steps"] >= steps else None
        except (LookupError, TypeError) as error:  # rows of another kind
            raise RunError(f"{self.path / 'result.json'}: curve: {error!r}; move the file away") from error

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
        if which in names and present(policies / names[which]).exists():
            content = load_state(policies / names[which], policies / "objects")
            if which == "best" or not steps or content["env_steps"] >= steps[-1]:  # else the run was extended after it
                return content["policy"], content["env_steps"]
        if which == "last" and steps:
            return self.checkpoints.load(steps[-1], "agent/policy"), steps[-1]
        if which.isdecimal() and len(which) <= 18 and int(which) in steps:
            return self.checkpoints.load(int(which), "agent/policy"), int(which)
        there = [
            name for name in ("last", "best") if (name == "last" and steps) or present(policies / names[name]).exists()
        ]
        known = ", ".join([*there, *map(str, steps)]) or "none yet"
        raise RunError(f"{self.path} has no checkpoint {which!r}; there are: {known}")

    def drop_checkpoints(self) -> None:
        """Removes all checkpoints. Does nothing if the directory is a link, or holds any."""
        with suppress(RunError):
            if not self.path.is_symlink():
                refuse_links(self.path)
                self.checkpoints.clear()

    @contextmanager
    def naming_versions(self, what: str) -> Iterator[None]:
        """Turns any error of a saved state that does not fit into a RunError that names the versions."""
        try:
            yield
        except (RunError, WorkerError):  # a damaged file, or a failed environment
            raise
        except Exception as error:  # whatever an agent does with a state that it does not expect
            reason = error if isinstance(error, RlkitError) else f"{type(error).__name__}: {error}"
            version = self.info().get("versions", {}).get("rlkit", "unknown")
            now = f"; the run was made by rlkit {version}, and this is {rlkit.__version__}"
            changed = now if version != rlkit.__version__ else "; the code of its agent or bonus has changed since"
            raise RunError(f"{self.path}: {what} does not fit: {reason}{changed}") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lets one process at a time write to the run. Raises RunError if another process has the lock."""
        try:
            held = FileLock(self.path / "lock")
        except Taken as error:
            raise RunError(f"{self.path} is being written to by another process ({error})") from error
        with held:
            for folder in (self.path, self.tapes, self.path / "images"):
                remove_temporaries(folder)
            yield

    @property
    def is_locked(self) -> bool:
        """Whether a process is writing to the run."""
        try:
            if (self.path / "lock").is_file():
                FileLock(self.path / "lock").release()
        except Taken:
            return True
        return False


def _checked(path: Path, expected: Mapping[str, type]) -> dict[str, Any]:
    """The content of a JSON file of format 1. Raises RunError if an entry is missing or of another kind."""
    content = read_json(path)
    if content.get("format", 1) != 1:
        made = content.get("versions", "")
        raise RunError(f"{path} has format {content['format']}, written by {made}; this is rlkit {rlkit.__version__}")
    for key, kind in expected.items():
        if not isinstance(content.get(key), kind):
            raise RunError(f"{path} is damaged: {key}: expected {kind.__name__}, got {content.get(key)!r:.60}")
    return content


def _runs_below(path: Path) -> str:
    """ "; name one of ..." for a folder of runs, or ""."""
    found = sorted(str(file.parent) for file in path.glob("*/config.toml")) if path.is_dir() else []
    if not found:
        return "" if path.exists() else "; it does not exist"
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"; it is a folder of runs, name one of them: {', '.join(found[:5])}{more}"


def free_name(path: Path) -> Path:
    """The first of `path`, path-2, path-3, ... that does not exist."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
