"""N environments, each in a worker process, with Gymnasium's AsyncVectorEnv."""

from __future__ import annotations

import atexit
import signal
import time
import warnings
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


class Workers:
    """AsyncVectorEnv with a process for each environment, and with waiting and closing that survive dead workers."""

    def __init__(self, factories: list[EnvFactory], step_timeout: float | None = None) -> None:
        """step_timeout: seconds that a reset or a step may take; None for no limit."""
        self._step_timeout = step_timeout
        # without shared memory a masked reset loses observations
        self._vector = AsyncVectorEnv(factories, shared_memory=True, copy=False, autoreset_mode=AutoresetMode.DISABLED)
        # at exit, multiprocessing would send SIGTERM, which workers ignore, and wait for them; close before that
        atexit.register(self.close)

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        try:
            self._vector.reset_async(seed=seeds, options=options)
            self._wait()
            return self._vector.reset_wait()
        except (EOFError, OSError) as error:
            raise self._death() from error

    def send(self, action: NDArray[np.int64]) -> None:
        try:
            self._vector.step_async(action)
        except OSError as error:
            raise self._death() from error

    def receive(self) -> StepResult:
        try:
            self._wait()
            return self._vector.step_wait()
        except (EOFError, OSError) as error:
            raise self._death() from error

    def _wait(self) -> None:
        """Waits for every worker. Raises EOFError if one died without closing its pipe, WorkerError after the timeout.

        Warns once if a worker takes long, so that somebody who waits for the run knows which environment to look at.
        """
        start, warned = time.monotonic(), False
        for index, (pipe, process) in enumerate(zip(self._vector.parent_pipes, self._vector.processes, strict=True)):
            while not pipe.poll(LIVENESS_PERIOD if self._step_timeout is None else min(1.0, self._step_timeout / 4)):
                if not process.is_alive() and not pipe.poll(0):
                    raise EOFError
                waited = time.monotonic() - start
                silent = f"environment {index} has not answered for {waited:.3g} seconds (process {process.pid})"
                if self._step_timeout is not None and waited > self._step_timeout:
                    raise WorkerError(f"{silent}; env.step_timeout is {self._step_timeout:g}")
                if waited > SILENCE and not warned:
                    warned = True
                    warnings.warn(f"{silent}; env.step_timeout would end the run", stacklevel=3)

    def _death(self) -> WorkerError:
        """Names the worker that died."""
        deadline = time.monotonic() + CLOSE_TIMEOUT  # a pipe breaks shortly before its process ends
        while time.monotonic() < deadline:
            for index, process in enumerate(self._vector.processes):
                if process.exitcode is not None:
                    code = process.exitcode
                    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                    return WorkerError(f"environment {index}: its worker process died ({how})")
            time.sleep(0.01)
        return WorkerError("an environment's worker process closed its connection")

    def close(self) -> None:
        atexit.unregister(self.close)
        if self._vector.closed:
            return
        for pipe in self._vector.parent_pipes:
            try:
                pipe.send(("close", None))
            except OSError:
                continue  # that worker has ended
        deadline = time.monotonic() + CLOSE_TIMEOUT
        for process in self._vector.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in self._vector.parent_pipes:
            pipe.close()
        self._vector.closed = True
