"""N environments in this process, stepped one after the other."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlkit.errors import WorkerError
from rlkit.vector.sub_env import CRASH, FAILURE, EnvFactory

StepResult: TypeAlias = tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class Backend(Protocol):
    """Steps the environments, in one process or in many. Returned observations are buffers and are overwritten."""

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]: ...
    def send(self, action: NDArray[np.int64]) -> None: ...
    def receive(self) -> StepResult: ...
    def close(self) -> None: ...


class Serial:
    """Steps the environments one after the other; faster than SyncVectorEnv, whose copies cost 6 µs per step."""

    def __init__(self, factories: list[EnvFactory]) -> None:
        self._envs = [factory() for factory in factories]
        self._obs: list[Any] = [None] * len(factories)
        self._action: list[int] = []

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        crashes: dict[int, str] = {}
        for index, env in enumerate(self._envs):
            if options is None or options["reset_mask"][index]:
                self._obs[index], info = env.reset(seed=seeds[index])
                if info:
                    crashes[index] = _crash(info)
        return self._batch(), self._infos(crashes)

    def send(self, action: NDArray[np.int64]) -> None:
        self._action = action.tolist()

    def receive(self) -> StepResult:
        rows, crashes = [], {}
        for index, (env, action) in enumerate(zip(self._envs, self._action, strict=True)):
            self._obs[index], *row, info = env.step(action)
            if info:
                crashes[index] = _crash(info)
            rows.append(row)
        reward, terminated, truncated = zip(*rows, strict=True)
        return self._batch(), np.array(reward), np.array(terminated), np.array(truncated), self._infos(crashes)

    def _infos(self, crashes: dict[int, str]) -> dict[str, Any]:
        """As Gymnasium's vector environments return them."""
        if not crashes:
            return {}
        texts = [crashes.get(index, "") for index in range(len(self._envs))]
        return {CRASH: texts, "_" + CRASH: np.array([bool(text) for text in texts])}

    def _batch(self) -> Any:
        if isinstance(self._obs[0], dict):
            return {name: np.array([obs[name] for obs in self._obs]) for name in self._obs[0]}
        return np.array(self._obs)

    def close(self) -> None:
        for env in self._envs:
            env.close()


def _crash(info: dict[str, Any]) -> str:
    """The text of a crash. Raises WorkerError for other failures."""
    if FAILURE in info:
        raise WorkerError(info[FAILURE])
    return str(info[CRASH])
