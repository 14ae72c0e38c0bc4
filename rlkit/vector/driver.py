"""N Gymnasium environments behind the engine's protocol, in this process or in worker processes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rlkit.errors import ResetCrash, WorkerError
from rlkit.types import EnvSpec, Observation, RawStep
from rlkit.vector.environment import OBS, EnvMaker, SignalReader, describe
from rlkit.vector.serial import Backend, Serial
from rlkit.vector.sub_env import CRASH, FAILURE, EnvFactory
from rlkit.vector.workers import Workers

__all__ = ["EnvMaker", "SignalReader", "VectorEnvironments", "describe"]


class VectorEnvironments:
    """N Gymnasium environments as `rlkit.environments.Environments`.

    mode: "sync" steps them in this process, in `receive`; "async" starts a worker process for each, which steps after
        `send`. Results are the same.
    spec: as returned by `describe`.
    restarts: how many crashes of environments, in all, are survived: the environment is made anew, and its episode is
        truncated at the observation before the crash, with reward 0; a reset without a seed raises ResetCrash. Each is
        a warning.
    step_timeout: seconds after which a worker process that does not answer has crashed; "sync" cannot notice.

    After a WorkerError other than ResetCrash, only `close` may be called.
    """

    def __init__(
        self,
        make: EnvMaker,
        spec: EnvSpec,
        mode: Literal["sync", "async"] = "sync",
        signals: SignalReader | None = None,
        step_timeout: float | None = None,
        restarts: int = 0,
    ) -> None:
        self._spec = spec
        self._dtype = np.int64 if isinstance(spec.observation_space, spaces.Discrete) else spec.observation_space.dtype
        self._nowhere = np.zeros(spec.num_envs, dtype=np.bool_)
        self._nowhere.flags.writeable = False
        self._started = False
        self._restarts, self._crashes = restarts, 0
        self._latest: Observation | None = None  # the newest one, if it may be needed again
        factories = [
            EnvFactory(index, make, spec, signals, os.getpid(), restarts > 0) for index in range(spec.num_envs)
        ]
        self._vector: Backend = Serial(factories) if mode == "sync" else Workers(factories, step_timeout)

    @property
    def spec(self) -> EnvSpec:
        return self._spec

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> Observation:
        """See `Environments.reset`. Raises ValueError if the first call does not reset all environments."""
        if not self._started and not mask.all():
            raise ValueError("the first reset must include all environments")
        wanted = [seed if seed >= 0 else None for seed in seeds.tolist()]
        options = {"reset_mask": mask.copy()} if self._started else None  # a copy, since Gymnasium keeps it
        self._started = True
        batch, infos = self._vector.reset(wanted, options)
        _raise_failure(infos)
        observation, crashed = self._kept(self._observation(batch, mask.copy())), self._crashed(infos)
        if crashed is not None and (crashed & mask & (seeds < 0)).any():
            lost = crashed & mask & (seeds < 0)
            index = int(np.flatnonzero(lost)[0])
            raise ResetCrash(f"{infos[CRASH][index].rstrip()}\nIt is made anew; its next reset needs a seed", lost)
        return observation

    def send(self, action: NDArray[np.int64]) -> None:
        self._vector.send(action)

    def receive(self) -> RawStep:
        batch, reward, terminated, truncated, infos = self._vector.receive()
        _raise_failure(infos)
        after, crashed = self._observation(batch, self._nowhere), self._crashed(infos)
        if crashed is not None and self._latest is not None:  # nothing was observed after a crash
            before = self._latest
            after.obs[crashed] = before.obs[crashed]
            for name, values in after.signals.items():
                values[crashed] = before.signals[name][crashed]
        return RawStep(
            after=self._kept(after),
            reward=reward.astype(np.float32),
            discount=np.logical_not(terminated).astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            crashed=crashed,
        )

    def _crashed(self, infos: Mapping[str, Any]) -> NDArray[np.bool_] | None:
        """(N,) the environments that crashed; None if none did. Raises WorkerError if there were too many crashes."""
        if CRASH not in infos:
            return None
        crashed: NDArray[np.bool_] = infos["_" + CRASH]
        for index in np.flatnonzero(crashed):
            text = infos[CRASH][index]
            self._crashes += 1
            if self._crashes > self._restarts:
                raise WorkerError(f"{text.rstrip()}\nThe environments crashed {self._crashes} times; env.restarts is "
                                  f"{self._restarts}")  # fmt: skip
            lines = text.strip().splitlines()
            what = text if len(lines) == 1 else f"{lines[0].rstrip(':')}: {lines[-1]}"
            warnings.warn(
                f"{what}; it is made anew (crash {self._crashes} of {self._restarts})",
                stacklevel=4,
            )
        return crashed

    def _kept(self, observation: Observation) -> Observation:
        if self._restarts:
            self._latest = replace(observation, obs=observation.obs.copy())
        return observation

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
