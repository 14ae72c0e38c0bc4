"""The study of a search: its trials in an Optuna storage, which any number of processes work on."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rlkit.config.tables import Config
from rlkit.errors import ConfigError, RlkitError
from rlkit.extras import needed
from rlkit.files import FileLock, Taken
from rlkit.runs.directory import RunDirectory
from rlkit.runs.identity import differences
from rlkit.runs.sweep import SearchConfig
from rlkit.runs.tuning.space import Point, Space
from rlkit.seeding import Streams

SWEEP = "sweep"  # the study's attribute that tells what is searched
ERROR = "error"  # the attribute of a failed trial
STARTUP = 10  # trials of random settings before TPE proposes any


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that this process works on; its lock tells others so."""

    number: int
    point: Point  # its settings, by dotted key
    optuna: Any
    lock: FileLock
    minimise: bool

    @property
    def reported(self) -> int:
        """The step of the newest report; -1 before the first."""
        known = self.optuna.study.get_trials(deepcopy=False)[self.number].intermediate_values
        return max(known, default=-1)

    def poor(self, env_steps: int, score: float) -> bool:
        """Reports an evaluation, the higher the better. Whether the trial should be stopped."""
        self.optuna.report(-score if self.minimise else score, env_steps)
        return bool(self.optuna.should_prune())


@dataclass(frozen=True, slots=True)
class Done:
    """A trial that has ended."""

    number: int
    state: str  # "complete", "pruned" or "fail"
    value: float | None  # of the objective
    parameters: Mapping[str, Any]  # by their names in the study
    error: str | None = None


class Study:
    """A search over `space`, with a lock of each running trial in `folder`."""

    def __init__(self, study: Any, search: SearchConfig, space: Space, folder: Path) -> None:
        self.study, self.search, self.space, self.folder = study, search, space, folder
        self.wanted: int = search.trials or len(study.get_trials(deepcopy=False))

    @classmethod
    def opened(cls, storage: str | None, config: Config, search: SearchConfig, space: Space, folder: Path,
               fingerprint: Mapping[str, Any]) -> Study:  # fmt: skip
        """Makes the study named by `folder`, or joins it.

        storage: a file, an Optuna URL, or None for `folder`/study.journal.

        Raises ConfigError if the storage cannot be used, or if it holds a study of another search under this name.
        """
        optuna = needed("optuna", "rlkit tune", "tune")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        grid = space.grid() if search.sampler == "grid" else None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder} cannot be written: {error.strerror}") from error
        place = storage or str(folder / "study.journal")
        with _naming(place), FileLock(folder / "study.lock", wait=True):
            study = optuna.create_study(
                storage=_storage(optuna, place), study_name=folder.name, load_if_exists=True,
                direction="minimize" if search.objective == "steps_to_solve" else "maximize",
                pruner=_pruner(optuna, config, search),
            )  # fmt: skip
            known = study.user_attrs.get(SWEEP)
            if known is None:
                study.set_user_attr(SWEEP, json.dumps(fingerprint, sort_keys=True))
                for values in product(*grid.values()) if grid else []:
                    study.enqueue_trial(dict(zip(grid or {}, values, strict=True)))
            elif changed := differences(json.loads(known), json.loads(json.dumps(fingerprint))):
                raise ConfigError(
                    f"the study {folder.name!r} in {place.rpartition('@')[2]} is of another search: "
                    f"{'; '.join(changed)}; give another name, or move it away"
                )
        return cls(study, search, space, folder)

    def next(self) -> Trial | None:
        """A trial whose process has died, else a new one; None if as many as wanted are finished or running."""
        with self._naming(), FileLock(self.folder / "study.lock", wait=True):
            trials = self.study.get_trials(deepcopy=False)
            for found in trials:
                if found.state.name == "RUNNING" and (lock := self._orphan(found.number)) is not None:
                    return self._trial(_again(self.study, found), lock)
            number = sum(found.state.name != "WAITING" for found in trials)
            if number >= self.wanted:
                return None
            self.study.sampler = self._sampler(number)
            trial = self.study.ask()
            return self._trial(trial, FileLock(self._lock_path(trial.number)))

    def _trial(self, trial: Any, lock: FileLock) -> Trial:
        trial.set_user_attr("process", f"pid {os.getpid()} on {socket.gethostname()}")
        minimise = self.search.objective == "steps_to_solve"
        return Trial(trial.number, self.space.suggest(trial), trial, lock, minimise)

    def _sampler(self, number: int) -> Any:
        """The sampler of one trial: its seed differs between trials, on whatever machine they are made."""
        samplers = needed("optuna.samplers", "rlkit tune", "tune")
        seed = Streams(self.search.seed).seed("trial", number)
        if self.search.sampler == "tpe":
            return samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, group=self.space.conditional)
        return samplers.RandomSampler(seed=seed)

    def _lock_path(self, number: int) -> Path:
        return self.folder / f"{trial_name(number)}.lock"

    def _orphan(self, number: int) -> FileLock | None:
        """The lock of a trial that no process works on, and whose runs have ended; else None."""
        path = self._lock_path(number)
        if not path.is_file():  # of a machine with another folder, or not yet there
            return None
        try:
            lock = FileLock(path)
        except Taken:
            return None
        if any(RunDirectory(run).is_locked for run in self.folder.glob(f"{trial_name(number)}-seed*") if run.is_dir()):
            lock.release()
            return None
        return lock

    def tell(self, trial: Trial, value: float | None, *, pruned: bool = False, error: str | None = None) -> None:
        """Ends a trial: with its value, pruned, or failed."""
        states = needed("optuna.trial", "rlkit tune", "tune").TrialState
        with self._naming():
            if error is not None:
                trial.optuna.set_user_attr(ERROR, error)
                self.study.tell(trial.optuna, state=states.FAIL)
            elif pruned:
                self.study.tell(trial.optuna, state=states.PRUNED)
            else:
                self.study.tell(trial.optuna, value)
        trial.lock.release()
        self._lock_path(trial.number).unlink(missing_ok=True)

    def done(self) -> list[Done]:
        """The ended trials, in their order."""
        with self._naming():
            return [
                Done(each.number, each.state.name.lower(), each.value, each.params, each.user_attrs.get(ERROR))
                for each in self.study.get_trials(deepcopy=False)
                if each.state.is_finished()
            ]

    def elsewhere(self) -> dict[int, str]:
        """The running trials, each with the process that works on it."""
        with self._naming():
            trials = self.study.get_trials(deepcopy=False)
            return {
                each.number: each.user_attrs.get("process", "unknown")
                for each in trials
                if each.state.name == "RUNNING"
            }

    def best(self) -> Done | None:
        complete = [each for each in self.done() if each.state == "complete"]
        sign = -1 if self.search.objective == "steps_to_solve" else 1
        return max(complete, key=lambda each: sign * (each.value or 0.0), default=None)

    def point_of(self, number: int) -> Point:
        """The settings of an ended trial, by dotted key."""
        trial = self.study.get_trials(deepcopy=False)[number]
        return self.space.suggest(needed("optuna.trial", "rlkit tune", "tune").FixedTrial(trial.params))

    def importance(self) -> dict[str, float]:
        """The share of each parameter that all complete trials have (PED-ANOVA); {} where it is not defined."""
        try:
            found = needed("optuna.importance", "rlkit tune", "tune").get_param_importances(self.study)
        except (ValueError, RuntimeError):  # one trial, equal values, or nothing in common
            return {}
        return {name: float(share) for name, share in found.items()}

    @contextmanager
    def _naming(self) -> Iterator[None]:
        with _naming("the study's storage"):
            yield


def trial_name(number: int) -> str:
    return f"trial{number:04d}"


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Turns what a storage raises into one line, without the password of a URL."""
    shown = place.rpartition("@")[2]
    try:
        yield
    except (RlkitError, Taken):
        raise
    except OSError as error:
        raise ConfigError(f"--storage: {shown} cannot be used: {error.strerror or error}") from error
    except Exception as error:  # SQLAlchemy's errors, and a file that is no journal
        first = str(error).strip().splitlines() or [""]
        raise ConfigError(f"--storage: {shown} cannot be used: {type(error).__name__}: {first[0]:.200}") from error


def _storage(optuna: Any, place: str) -> Any:
    if "://" in place:
        return optuna.storages.RDBStorage(place)
    path = Path(place)
    if not path.parent.is_dir():
        raise ConfigError(f"--storage: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"--storage: {path} cannot be written")
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(place))


def _pruner(optuna: Any, config: Config, search: SearchConfig) -> Any:
    steps, every = config.train.steps, config.evaluation.every
    first = steps // 4 if search.prune_from is None else search.prune_from
    if search.pruner == "none":
        return optuna.pruners.NopPruner()
    if search.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=first)
    return optuna.pruners.HyperbandPruner(min_resource=max(first, every), max_resource=steps, reduction_factor=3)


def _again(study: Any, found: Any) -> Any:
    """The trial that another process began: what it has proposed is kept."""
    return needed("optuna.trial", "rlkit tune", "tune").Trial(study, found._trial_id)  # noqa: SLF001
