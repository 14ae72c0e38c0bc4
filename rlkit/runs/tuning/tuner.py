"""Works on the trials of a study: trains each with several seeds, reports its evaluations, stops the poor ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rlkit.config.tables import Config
from rlkit.errors import ConfigError, RlkitError
from rlkit.files import read_json
from rlkit.runs.directory import RunDirectory
from rlkit.runs.launcher import Job, plan
from rlkit.runs.runner import Ended, Runner
from rlkit.runs.tuning.study import Study, Trial

EVALUATION = "evaluation/return_mean"


class Curve:
    """The evaluations of a run while it goes on, read from its metrics file; each line once."""

    def __init__(self, run: Path) -> None:
        self._path = RunDirectory(run).metrics
        self._read = 0  # bytes
        self.points: dict[int, float] = {}  # env_steps → mean return

    def refresh(self) -> None:
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self._read:  # resumed from an earlier step
                    self._read = 0
                file.seek(self._read)
                *lines, rest = file.read().split(b"\n")
        except OSError:
            return
        self._read = size - len(rest)
        for line in lines:
            if EVALUATION.encode() in line:
                try:
                    row = json.loads(line)
                    self.points[int(row["env_steps"])] = float(row[EVALUATION])
                except (ValueError, LookupError, TypeError):
                    continue


def objective_of(name: str, result: Mapping[str, Any], config: Config) -> float:
    """The value of the objective `name` for one finished run."""
    steps = config.train.steps
    if name == "final":
        return float(np.mean(result["final"]["returns"]))
    if name == "steps_to_solve":
        solved = config.evaluation.stop is not None and config.evaluation.stop.solved(result["curve"])
        return float(result["env_steps"] if solved else steps)
    at = [row["env_steps"] for row in result["curve"]]
    values = [row["return_mean"] for row in result["curve"]]
    # before the first evaluation as at the first, after the last one as at the last
    return float(np.trapezoid([values[0], *values, values[-1]], [0, *at, max(steps, at[-1])]) / max(steps, at[-1]))


@dataclass
class Work:
    """A trial in progress."""

    trial: Trial
    jobs: list[Job]
    waiting: list[Job] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    curves: dict[str, Curve] = field(default_factory=dict)
    reported: int = -1  # env_steps
    pruned: bool = False
    error: str | None = None

    @property
    def over(self) -> bool:
        return not self.waiting and not self.running

    def end(self, ended: Ended) -> None:
        self.running.discard(ended.job.name)
        if ended.error is not None:
            self.error = self.error or f"{ended.job.name}: {ended.error}"

    def poor(self) -> bool:
        """Reports the evaluations that all seeds have reached, as their mean. Whether the trial should be stopped."""
        for curve in self.curves.values():
            curve.refresh()
        points = [curve.points for curve in self.curves.values()]
        shared = set.intersection(*map(set, points)) if points else set()
        for env_steps in sorted(step for step in shared if step > self.reported):
            self.reported = env_steps
            if self.trial.poor(env_steps, float(np.mean([values[env_steps] for values in points]))):
                return True
        return False


class Tuner:
    """Runs trials until the study has as many as wanted, or a signal comes."""

    def __init__(
        self,
        study: Study,
        runner: Runner,
        jobs_of: Callable[[Trial], Sequence[Job]],
        on_ended: Callable[[Trial, float | None, Work], None],
        *,
        keep_checkpoints: bool = False,
    ) -> None:
        """jobs_of: one job for each seed of a trial. on_ended: called with a trial, its value, and how it went."""
        self._study, self._runner, self._jobs_of, self._on_ended = study, runner, jobs_of, on_ended
        self._keep_checkpoints = keep_checkpoints
        self._work: list[Work] = []

    def run(self, on_waiting: Callable[[Mapping[int, str]], None]) -> None:
        """on_waiting: called once if this process has nothing to do but to wait for the trials of others."""
        told = False
        with self._runner.forwarding_signals():
            while True:
                self._begin()
                if not self._work:
                    others = self._study.elsewhere()
                    if self._runner.signal is not None or not others:
                        return
                    if not told:
                        on_waiting(others)
                        told = True
                for ended in self._runner.wait():
                    next(work for work in self._work if ended.job.name in work.running).end(ended)
                for work in self._work:
                    if not work.pruned and work.error is None and work.poor():
                        work.pruned = True
                    if work.pruned or work.error is not None:
                        self._give_up(work)
                self._end()

    def _begin(self) -> None:
        """Starts as many runs as fit, of trials in progress first."""
        while self._runner.signal is None:
            work = next((work for work in self._work if work.waiting), None)
            if work is None:
                if any(work.jobs and not self._runner.fits(work.jobs[0]) for work in self._work):
                    return
                trial = self._study.next()
                if trial is None:
                    return
                self._work.append(work := self._planned(trial))
                if not work.waiting:  # it failed, or another process had finished it
                    return
            elif self._runner.fits(work.waiting[0]):
                job = work.waiting.pop(0)
                self._runner.start(job)
                work.running.add(job.name)
            else:
                return

    def _planned(self, trial: Trial) -> Work:
        """Raises ConfigError if a folder of its name holds runs of other settings: such a trial is not ended."""
        try:
            jobs = list(self._jobs_of(trial))
        except ConfigError as error:  # settings that do not go together
            return Work(trial, [], error=str(error))
        try:
            found = plan(jobs)
        except ConfigError:
            trial.lock.release()
            raise
        curves = {job.name: Curve(job.run) for job in jobs}
        return Work(trial, jobs, [*found.to_resume, *found.to_train], curves=curves, reported=trial.reported)

    def _give_up(self, work: Work) -> None:
        work.waiting.clear()
        for job in work.jobs:
            self._runner.stop(job)

    def _end(self) -> None:
        """Tells the study of the trials that are over; after a signal, others stay as they are, to be resumed."""
        if self._runner.signal is not None:
            for work in self._work:
                work.waiting.clear()
        for work in [work for work in self._work if work.over]:
            self._work.remove(work)
            value = None
            if work.error is None and not work.pruned:
                value = self._value(work)
                if value is None and work.error is None:  # stopped by a signal
                    work.trial.lock.release()
                    continue
            self._study.tell(work.trial, value, pruned=work.pruned, error=work.error)
            if not self._keep_checkpoints:
                for job in work.jobs:
                    RunDirectory(job.run).drop_checkpoints()
            self._on_ended(work.trial, value, work)

    def _value(self, work: Work) -> float | None:
        """The mean of the objective over the seeds; None if a run has no result, or with `error` if it is unusable."""
        try:
            results = [_result(job) for job in work.jobs]
            if any(result is None for result in results):
                return None
            name = self._study.search.objective
            return float(np.mean([objective_of(name, result, job.config)
                                  for result, job in zip(results, work.jobs, strict=True) if result]))  # fmt: skip
        except (RlkitError, LookupError, TypeError, ValueError) as error:
            work.error = str(error)
            return None


def _result(job: Job) -> dict[str, Any] | None:
    path = job.run / "result.json"
    return read_json(path) if path.is_file() else None
