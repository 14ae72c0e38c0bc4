"""The protocols of environments: N of them, stepped together, reset by mask, without autoreset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rlkit.config.model import PluginConfig
from rlkit.errors import ResetCrash
from rlkit.types import EnvSpec, Observation, Purpose, RawStep

C = TypeVar("C", bound=PluginConfig)


class Environments(Protocol):
    """N environments. Reset all with seeds first; then repeat send, receive, and a reset of those that ended.

    Returned arrays are new: a later step does not change them. Arrays that are passed in are not changed.
    """

    @property
    def spec(self) -> EnvSpec: ...

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> Observation:
        """Begins an episode in the environments of `mask` (N,); the others do not change.

        `seeds` (N,): -1 keeps an environment's random generator; any other value erases all its history. Returns the
        observation of all N rows, `first` = mask; rows outside the mask repeat their latest observation. Raises
        WorkerError if an environment failed, and ResetCrash if it was made anew and only needs a seed.
        """

    def send(self, action: NDArray[np.int64]) -> None:
        """Starts one step with `action` (N,); every environment must be in an episode."""

    def receive(self) -> RawStep:
        """Waits for the step that `send` started. Raises WorkerError if an environment failed."""

    def close(self) -> None:
        """Ends worker processes; may be called twice and after a failure."""


def reset(
    environments: Environments,
    mask: NDArray[np.bool_],
    seeds: NDArray[np.int64],
    new_seeds: Callable[[NDArray[np.bool_]], NDArray[np.int64]],
) -> Observation:
    """Resets as `Environments.reset`; environments that crash without a seed are reset with one of `new_seeds`."""
    try:
        return environments.reset(mask, seeds)
    except ResetCrash as crash:
        observation = environments.reset(crash.crashed, new_seeds(crash.crashed))
        return replace(observation, first=mask.copy())


class EnvPlugin(Protocol[C]):
    """Makes environments. It is named in the entry-point group ``rlkit.envs`` or as "package.module:attr"."""

    config: type[C]

    def make(self, config: C, num_envs: int, purpose: Purpose) -> Environments:
        """Raises ConfigError for an unknown environment and SpecError for spaces that are not supported."""

    def protocol(self, config: C) -> Mapping[str, str]:
        """What a score depends on (sticky actions, no-ops, time limit ...), printed with every score."""

    def reference_scores(self, config: C) -> Mapping[str, Any] | None:
        """{"random": .., "human": ..} if they are published, else None."""


@runtime_checkable
class HasLabels(Protocol):
    """The plug-in of environments whose states can be labelled for `rlkit probe`."""

    def labels(self, config: Any) -> tuple[Any, Mapping[str, tuple[str, int]]]:
        """A config with the same observations and the signals needed, and (signal, index in it) by name of label.

        No names: every entry of the signals is a label.
        """
