"""The driver over Gymnasium's vector environments: in this process or in workers, reset by mask, failures named."""

from __future__ import annotations

import atexit
import os
import signal
import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from numpy.typing import NDArray

from rlkit.errors import WorkerError
from rlkit.types import EnvSpec, Observation, RawStep
from rlkit.vector.environment import FAILURE, OBS, EnvMaker, Seat, SignalReader, describe

__all__ = ["EnvMaker", "SignalReader", "VectorEnvironments", "describe"]

LIVENESS_PERIOD = 1.0  # seconds between two looks at whether a silent worker still lives
CLOSE_TIMEOUT = 5.0  # seconds that workers get to end on their own

Answer: TypeAlias = tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class _Vector(Protocol):
    """What differs between one process and many. Observations that come out are buffers, overwritten later."""

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]: ...
    def send(self, action: NDArray[np.int64]) -> None: ...
    def receive(self) -> Answer: ...
    def close(self) -> None: ...


class _OneProcess:
    """The environments one after the other. SyncVectorEnv's copies would cost 6 µs a step even with one."""

    def __init__(self, seats: list[Seat]) -> None:
        self._members = [seat() for seat in seats]
        self._obs: list[Any] = [None] * len(seats)
        self._action: list[int] = []

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        for index, member in enumerate(self._members):
            if options is None or options["reset_mask"][index]:
                self._obs[index], info = member.reset(seed=seeds[index])
                if info:
                    raise WorkerError(info[FAILURE])
        return self._batch(), {}

    def send(self, action: NDArray[np.int64]) -> None:
        self._action = action.tolist()

    def receive(self) -> Answer:
        rows = []
        for index, (member, action) in enumerate(zip(self._members, self._action, strict=True)):
            self._obs[index], *row, info = member.step(action)
            if info:
                raise WorkerError(info[FAILURE])
            rows.append(row)
        reward, terminated, truncated = zip(*rows, strict=True)
        return self._batch(), np.array(reward), np.array(terminated), np.array(truncated), {}

    def _batch(self) -> Any:
        if isinstance(self._obs[0], dict):
            return {name: np.array([obs[name] for obs in self._obs]) for name in self._obs[0]}
        return np.array(self._obs)

    def close(self) -> None:
        for member in self._members:
            member.close()


class _Workers:
    """AsyncVectorEnv, one process an environment. Its own waiting and closing hang once a worker has died."""

    def __init__(self, seats: list[Seat]) -> None:
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


class VectorEnvironments:
    """N Gymnasium environments as `rlkit.environments.Environments`.

    "sync" steps them in this process, in `receive`. "async" gives each a worker process, started here, and steps from
    `send` on; the two give the same numbers. `spec` is what `describe` found. After a WorkerError only `close` works.
    """

    def __init__(
        self,
        make: EnvMaker,
        spec: EnvSpec,
        mode: Literal["sync", "async"] = "sync",
        signals: SignalReader | None = None,
    ) -> None:
        self._spec = spec
        self._dtype = np.int64 if isinstance(spec.observation_space, spaces.Discrete) else spec.observation_space.dtype
        self._nowhere = np.zeros(spec.num_envs, dtype=np.bool_)
        self._nowhere.flags.writeable = False
        self._started = False
        seats = [Seat(index, make, spec, signals, os.getpid()) for index in range(spec.num_envs)]
        self._vector: _Vector = _OneProcess(seats) if mode == "sync" else _Workers(seats)

    @property
    def spec(self) -> EnvSpec:
        return self._spec

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> Observation:
        """See `Environments.reset`. The first one must be of all environments, else ValueError."""
        if not self._started and not mask.all():
            raise ValueError("the first reset must be of all environments")
        wanted = [seed if seed >= 0 else None for seed in seeds.tolist()]
        options = {"reset_mask": mask.copy()} if self._started else None  # Gymnasium keeps the mask: give it a copy
        self._started = True
        batch, infos = self._vector.reset(wanted, options)
        _raise_failure(infos)
        return self._observation(batch, mask.copy())

    def send(self, action: NDArray[np.int64]) -> None:
        self._vector.send(action)

    def receive(self) -> RawStep:
        batch, reward, terminated, truncated, infos = self._vector.receive()
        _raise_failure(infos)
        return RawStep(
            after=self._observation(batch, self._nowhere),
            reward=reward.astype(np.float32),
            discount=np.logical_not(terminated).astype(np.float32),
            terminated=terminated,
            truncated=truncated,
        )

    def close(self) -> None:
        self._vector.close()

    def _observation(self, batch: Any, first: NDArray[np.bool_]) -> Observation:
        if not isinstance(batch, dict):
            return Observation(np.array(batch, dtype=self._dtype), {}, first)
        signals = {name: batch[name].copy() for name in self._spec.signals}
        return Observation(np.array(batch[OBS], dtype=self._dtype), signals, first)


def _raise_failure(infos: Mapping[str, Any]) -> None:
    if FAILURE in infos:
        index = int(np.flatnonzero(infos["_" + FAILURE])[0])
        raise WorkerError(infos[FAILURE][index])
