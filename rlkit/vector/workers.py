"""N environments in worker processes, one each, over Gymnasium's AsyncVectorEnv."""

from __future__ import annotations

import atexit
import signal
import time
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from numpy.typing import NDArray

from rlkit.errors import WorkerError
from rlkit.vector.environment import EnvFactory
from rlkit.vector.serial import Answer

LIVENESS_PERIOD = 1.0  # seconds between two looks at whether a silent worker still lives
CLOSE_TIMEOUT = 5.0  # seconds that workers get to end on their own


class Workers:
    """AsyncVectorEnv, one process an environment. Its own waiting and closing hang once a worker has died."""

    def __init__(self, seats: list[EnvFactory]) -> None:
        # without shared memory a masked reset loses observations
        self._vector = AsyncVectorEnv(seats, shared_memory=True, copy=False, autoreset_mode=AutoresetMode.DISABLED)
        # multiprocessing ends what is left by SIGTERM, which workers ignore, and then waits: be there before it
        atexit.register(self.close)

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        try:
            self._vector.reset_async(seed=seeds, options=options)
            self._wait()
            return self._vector.reset_wait()
        except (EOFError, OSError) as error:
            raise self._obituary() from error

    def send(self, action: NDArray[np.int64]) -> None:
        try:
            self._vector.step_async(action)
        except OSError as error:
            raise self._obituary() from error

    def receive(self) -> Answer:
        try:
            self._wait()
            return self._vector.step_wait()
        except (EOFError, OSError) as error:
            raise self._obituary() from error

    def _wait(self) -> None:
        """Until every worker has answered. Raises EOFError where one died without closing its pipe."""
        for pipe, process in zip(self._vector.parent_pipes, self._vector.processes, strict=True):
            while not pipe.poll(LIVENESS_PERIOD):
                if not process.is_alive() and not pipe.poll(0):
                    raise EOFError

    def _obituary(self) -> WorkerError:
        deadline = time.monotonic() + CLOSE_TIMEOUT  # a pipe breaks a moment before its process is gone
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
                continue  # that worker is gone already
        deadline = time.monotonic() + CLOSE_TIMEOUT
        for process in self._vector.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in self._vector.parent_pipes:
            pipe.close()
        self._vector.closed = True
