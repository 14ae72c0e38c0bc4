"""N environments, each in a worker process, with Gymnasium's AsyncVectorEnv."""

from __future__ import annotations

import atexit
import signal
import sys
import time
import warnings
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from numpy.typing import NDArray

from rlkit.errors import WorkerError
from rlkit.vector.serial import StepResult
from rlkit.vector.sub_env import EnvFactory

LIVENESS_PERIOD = 1.0  # seconds between checks whether a silent worker is still alive
SILENCE = 10.0  # seconds after which a silent worker is named
CLOSE_TIMEOUT = 5.0  # seconds that workers have to end before they are killed


class Line:
    """The connection to a worker. Answers are fetched before Gymnasium reads them, so that a death is seen in between.

    observations: where the observations of answers go, for a worker without shared memory.
    """

    def __init__(self, connection: Connection, index: int, observations: Any = None) -> None:
        self._connection, self._index, self._observations = connection, index, observations
        self._answers: list[Any] = []
        self.command: tuple[str, Any] = ("", None)  # the newest one

    def send(self, command: tuple[str, Any]) -> None:
        """Does nothing if the worker has ended: `fetch` notices it."""
        self.command = command
        try:
            self._connection.send(command)
        except OSError:
            return

    def fetch(self, timeout: float) -> bool:
        """Whether there is an answer within `timeout` seconds. Raises EOFError or OSError if the worker has ended."""
        if not self._answers and self._connection.poll(timeout):
            answer = self._connection.recv()
            obs = answer[0][0]  # None: of a worker without an environment yet
            if self._observations is not None and obs is not None:
                self._write(obs)
            self._answers.append(answer)
        return bool(self._answers)

    def _write(self, obs: Any) -> None:
        if isinstance(obs, dict):
            for name, value in obs.items():
                self._observations[name][self._index] = value
        else:
            self._observations[self._index] = obs

    def recv(self) -> Any:
        return self._answers.pop()

    def close(self) -> None:
        self._connection.close()


def _started(factories: list[EnvFactory], shared_memory: bool) -> AsyncVectorEnv:
    # without shared memory a masked reset loses observations; a process that uses CUDA must not fork
    torch = sys.modules.get("torch")
    return AsyncVectorEnv(
        factories,
        shared_memory=shared_memory,
        copy=False,
        context="spawn" if torch is not None and torch.cuda.is_initialized() else None,
        autoreset_mode=AutoresetMode.DISABLED,
    )


def _silent(index: int, process: Any, waited: float) -> str:
    return f"environment {index} has not answered for {waited:.3g} seconds (process {process.pid})"


class Workers:
    """AsyncVectorEnv with a process for each environment, and with waiting and closing that survive dead workers.

    If the factories remake environments that crash, a worker that dies or exceeds `step_timeout` is replaced by a new
    process, and its environment has crashed.
    """

    def __init__(self, factories: list[EnvFactory], step_timeout: float | None = None) -> None:
        """step_timeout: seconds that a reset or a step may take; None for no limit."""
        self._factories, self._step_timeout = factories, step_timeout
        self._vector = _started(factories, shared_memory=True)
        self._lines = [Line(pipe, index) for index, pipe in enumerate(self._vector.parent_pipes)]
        self._vector.parent_pipes = self._lines  # type: ignore[assignment]  # it sends and receives, no more
        # at exit, multiprocessing would send SIGTERM, which workers ignore, and wait for them; close before that
        atexit.register(self.close)

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        self._vector.reset_async(seed=seeds, options=options)
        self._wait()
        return self._vector.reset_wait()

    def send(self, action: NDArray[np.int64]) -> None:
        self._vector.step_async(action)

    def receive(self) -> StepResult:
        self._wait()
        return self._vector.step_wait()

    def _wait(self) -> None:
        """Waits for every worker, and replaces those that are lost. Raises WorkerError if that must not be.

        Warns once if a worker takes long, so that somebody who waits for the run knows which environment to look at.
        """
        start, warned, replaced = time.monotonic(), False, set()
        for index, process in enumerate(list(self._vector.processes)):
            period = LIVENESS_PERIOD if self._step_timeout is None else min(1.0, self._step_timeout / 4)
            since = start
            while (lost := self._lost(index, period, since)) is not None:
                waited = time.monotonic() - start
                if lost:
                    if index in replaced or not self._factories[index].remake:
                        raise WorkerError(lost)
                    replaced.add(index)
                    self._replace(index, lost)
                    since = time.monotonic()
                elif waited > SILENCE and not warned:
                    warned = True
                    end = "would make it a crash" if self._factories[index].remake else "would end the run"
                    warnings.warn(f"{_silent(index, process, waited)}; env.step_timeout {end}", stacklevel=3)

    def _lost(self, index: int, period: float, since: float) -> str | None:
        """None if the worker answers within `period` seconds; else why it is lost, or "" if it may still answer."""
        process = self._vector.processes[index]
        try:
            if self._lines[index].fetch(period):
                return None
            if not process.is_alive() and not self._lines[index].fetch(0):
                raise EOFError
        except (EOFError, OSError):
            return self._death(index)
        waited = time.monotonic() - since
        if self._step_timeout is None or waited <= self._step_timeout:
            return ""
        return f"{_silent(index, process, waited)}; env.step_timeout is {self._step_timeout:g}"

    def _replace(self, index: int, why: str) -> None:
        """Starts another worker, which answers the newest command with a crash."""
        process, line = self._vector.processes[index], self._lines[index]
        process.kill()
        process.join()
        line.close()
        vector = _started([replace(self._factories[index], lost=why)], shared_memory=False)
        vector.closed = True  # its process and connection are now those of this one
        self._vector.processes[index], vector.processes[0].name = vector.processes[0], process.name
        self._lines[index] = Line(vector.parent_pipes[0], index, self._vector.observations)
        self._lines[index].send(line.command)

    def _death(self, index: int) -> str:
        """How the worker ended, or that it seems so: a pipe breaks shortly before its process ends."""
        process = self._vector.processes[index]
        process.join(CLOSE_TIMEOUT)
        code = process.exitcode
        if code is None:
            return f"environment {index}: its worker process closed its connection"
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"environment {index}: its worker process died ({how})"

    def close(self) -> None:
        atexit.unregister(self.close)
        if self._vector.closed:
            return
        for line in self._lines:
            line.send(("close", None))
        deadline = time.monotonic() + CLOSE_TIMEOUT
        for process in self._vector.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        for line in self._lines:
            line.close()
        self._vector.closed = True
