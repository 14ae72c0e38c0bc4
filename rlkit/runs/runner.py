"""Runs jobs: each in a process of its own, on this machine or where another executor starts it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rlkit.errors import RlkitError
from rlkit.runs.directory import RunDirectory
from rlkit.runs.launcher import Job, Plan, collect, finished_content

LOSSES = 5  # times that a run is started again because its machine was lost


class Lost(RlkitError):
    """The machine or the worker process that a run was on has gone; the run itself may be sound."""


class Process(Protocol):
    """A started run, such as a `subprocess.Popen`."""

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs. Raises Lost."""

    def send_signal(self, number: int) -> None: ...


class Executor(Protocol):
    """Starts runs on some machines, all of which see the folder of the runs under the same path."""

    def limit(self, job: Job) -> int:
        """How many runs like `job` fit at a time."""

    def start(self, job: Job, *, resume: bool) -> Process: ...

    def close(self) -> None:
        """Ends what is left, at once."""


class LocalExecutor:
    """Runs on this machine."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._configs = tempfile.TemporaryDirectory()
        self._started: list[subprocess.Popen[bytes]] = []

    def limit(self, job: Job) -> int:
        return self._limit

    def start(self, job: Job, *, resume: bool) -> Process:
        config, threads = job.config.to_toml(), job.config.train.threads
        process = start_process(config, job.run, threads, Path(self._configs.name), resume=resume)
        self._started = [each for each in self._started if each.poll() is None] + [process]
        return process

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:  # only after an error in this process
                process.terminate()
        self._configs.cleanup()


def start_process(
    config: str, run: Path, threads: int, folder: Path, *, resume: bool, dies_with_parent: bool = False
) -> subprocess.Popen[bytes]:
    """Starts the process of one run, with its output in `log_of(run)`.

    config: the text of its config, which is written into `folder`. threads: of numerical libraries. dies_with_parent:
    the system sends it SIGTERM when the calling thread's process dies, however it dies (Linux only).
    """
    run.parent.mkdir(parents=True, exist_ok=True)
    file = folder / f"{run.name}.toml"
    file.write_text(config, encoding="utf-8")
    command = ["resume", str(run), "--trust"] if resume else ["train", str(file), "--run", str(run)]
    with log_of(run).open("wb") as log:
        # a session of its own: Ctrl-C reaches the children only through the handler below
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "rlkit.cli", *command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)} if dies_with_parent else
            {"OMP_NUM_THREADS": str(threads), **os.environ},
            start_new_session=True, preexec_fn=_dying_with_parent() if dies_with_parent else None,
        )  # fmt: skip


def _dying_with_parent() -> Callable[[], None]:
    """What the child does before it begins: it also takes signals that its parent blocks, as Ray workers do SIGINT."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # loaded before the fork

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if prctl is not None:
            prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    return prepare


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended: finished, failed with an error, or stopped as it was asked to."""

    job: Job
    finished: bool
    error: str | None = None  # why it failed


@dataclass
class Outcome:
    """The outcome of a list of jobs."""

    finished: list[Job] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # name → why
    stopped_by: int | None = None  # a signal


class Runner:
    """Runs jobs in processes that an executor starts, as many at a time as fit.

    A first signal (SIGINT, SIGTERM) lets all runs write a checkpoint and end; a second one ends them at once.
    """

    def __init__(
        self, executor: Executor, on_change: Callable[[Mapping[str, Job]], None] = lambda running: None,
        every: float = 0.5,
    ) -> None:  # fmt: skip
        """on_change: called with the running jobs, every `every` seconds."""
        self._executor, self._on_change, self._every = executor, on_change, every
        self._running: dict[str, tuple[Job, Process]] = {}
        self._losses: dict[str, int] = {}
        self._lost_jobs: list[Job] = []  # to be started again, when their old processes have let go of them
        self._given_up: list[Ended] = []  # lost jobs that were stopped
        self._stopping: set[str] = set()  # jobs that were asked to end, other than by a signal
        self._told: set[str] = set()  # jobs whose processes got the signal
        self.signal: int | None = None  # received

    @property
    def running(self) -> dict[str, Job]:
        return {name: job for name, (job, _) in self._running.items()} | {job.name: job for job in self._lost_jobs}

    def run(self, found: Plan) -> Outcome:
        """Runs all jobs of the plan. One failure does not stop the rest."""
        outcome = Outcome(list(found.finished))
        for job in found.finished:
            collect(job)
            log_of(job.run).unlink(missing_ok=True)  # left if this command was killed while the run went on
        waiting = [*found.to_resume, *found.to_train]
        with self.forwarding_signals():
            while self.running or (waiting and self.signal is None):
                while waiting and self.fits(waiting[0]):
                    self.start(waiting.pop(0))
                for ended in self.wait():
                    if ended.finished:
                        outcome.finished.append(ended.job)
                    elif ended.error is not None:
                        outcome.failed[ended.job.name] = ended.error
        outcome.stopped_by = self.signal
        return outcome

    def fits(self, job: Job) -> bool:
        """Whether another run like `job` may be started now."""
        return self.signal is None and len(self.running) < self._executor.limit(job)

    def start(self, job: Job) -> None:
        """Starts a run, or resumes it if it has a checkpoint."""
        process = self._executor.start(job, resume=bool(RunDirectory(job.run).checkpoints.steps()))
        self._running[job.name] = job, process
        if self.signal is not None and job.name not in self._told:  # it came while the process was being started
            process.send_signal(self.signal)

    def stop(self, job: Job) -> None:
        """Lets a running job write a checkpoint and end."""
        if job in self._lost_jobs:
            self._lost_jobs.remove(job)
            self._given_up.append(Ended(job, finished=False))
        if job.name in self._running and job.name not in self._stopping:
            self._stopping.add(job.name)
            self._running[job.name][1].send_signal(signal.SIGTERM)

    def wait(self) -> list[Ended]:
        """Waits for a moment. Returns the runs that have ended since the last call."""
        time.sleep(self._every)
        ended = self._start_lost() + [found for name in list(self._running) if (found := self._poll(name)) is not None]
        self._on_change(self.running)
        return ended

    def _poll(self, name: str) -> Ended | None:
        job, process = self._running[name]
        try:
            code = process.poll()
        except Lost as error:
            return self._lost(job, str(error))
        if code is None:
            return None
        del self._running[name]
        asked, given_up = self.signal is not None or name in self._stopping, name in self._stopping
        self._stopping.discard(name)
        # a signal may reach a run that is finished but whose process is not
        finished = code == 0 or (asked and finished_content(job) is not None)
        if finished or given_up:
            log_of(job.run).unlink(missing_ok=True)
        if finished:
            collect(job)
            return Ended(job, finished=True)
        return Ended(job, finished=False, error=None if asked else _why(job, code))

    def _lost(self, job: Job, why: str) -> Ended | None:
        """Starts the run again elsewhere, from its newest checkpoint."""
        del self._running[job.name]
        asked = self.signal is not None or job.name in self._stopping
        self._stopping.discard(job.name)
        if asked:
            return Ended(job, finished=False)
        self._losses[job.name] = self._losses.get(job.name, 0) + 1
        if self._losses[job.name] > LOSSES:
            return Ended(job, finished=False, error=f"its machine was lost {LOSSES + 1} times, lastly: {why}")
        self._lost_jobs.append(job)
        return None

    def _start_lost(self) -> list[Ended]:
        """Starts lost jobs whose runs nothing writes to any more. Returns those that were given up meanwhile."""
        if self.signal is not None:
            self._given_up += [Ended(job, finished=False) for job in self._lost_jobs]
            self._lost_jobs = []
        for job in list(self._lost_jobs):
            if not job.run.is_dir() or not RunDirectory(job.run).is_locked:
                self._lost_jobs.remove(job)
                self.start(job)
        given_up, self._given_up = self._given_up, []
        return given_up

    @contextmanager
    def forwarding_signals(self) -> Iterator[None]:
        def forward(number: int, frame: Any) -> None:
            if self.signal is None:
                os.write(2, b"\nstopping: each run writes a checkpoint; a second signal stops at once, without one\n")
            self.signal = number
            for name, (_, process) in self._running.items():
                self._told.add(name)
                process.send_signal(number)  # the second signal ends a child at once

        before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._executor.close()


def log_of(run: Path) -> Path:
    """The output of a run's process; removed when it succeeds."""
    return run.with_name(f"{run.name}.log")


def _why(job: Job, code: int) -> str:
    """The error line of a failed run, and the path of its full output."""
    log = log_of(job.run)
    text = log.read_text(errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error:")] or lines[-1:] or [f"exit code {code}"]
    killed = f"killed by signal {-code}; " if code < 0 else ""
    return f"{killed}{errors[-1].removeprefix('Error: ')} (full output: {log})"
