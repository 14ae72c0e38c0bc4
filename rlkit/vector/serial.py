"""N environments in this process, one after the other."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlkit.errors import WorkerError
from rlkit.vector.environment import FAILURE, EnvFactory

Answer: TypeAlias = tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class Backend(Protocol):
    """What differs between one process and many. Observations that come out are buffers, overwritten later."""

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]: ...
    def send(self, action: NDArray[np.int64]) -> None: ...
    def receive(self) -> Answer: ...
    def close(self) -> None: ...


class Serial:
    """The environments one after the other. SyncVectorEnv's copies would cost 6 µs a step even with one."""

    def __init__(self, seats: list[EnvFactory]) -> None:
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
