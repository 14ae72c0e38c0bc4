"""What environments are to the engine: N of them, stepped together, reset by mask, never on their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rlkit.config.model import PluginConfig
from rlkit.types import EnvSpec, Observation, Purpose, RawStep

C = TypeVar("C", bound=PluginConfig)


class Environments(Protocol):
    """N environments. The order is: reset all with seeds, then send, receive, reset what ended, and again.

    Arrays that come out are fresh (a later step does not change them); arrays that go in are not changed.
    """

    @property
    def spec(self) -> EnvSpec: ...

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> Observation:
        """Begins an episode where `mask` (N,); the other environments are untouched.

        `seeds` (N,): -1 lets an environment's generator go on; any other value erases all its history. Returns the
        observation of all N rows, `first` = mask; rows outside the mask repeat their latest observation.
        """

    def send(self, action: NDArray[np.int64]) -> None:
        """Starts one step with `action` (N,); every environment must be in an episode."""

    def receive(self) -> RawStep:
        """Waits for the step that `send` started. Raises WorkerError if an environment failed."""

    def close(self) -> None:
        """Ends workers; safe to call twice and after a failure."""


class EnvPlugin(Protocol[C]):
    """How environments plug in: by the entry-point group ``rlkit.envs`` or as "package.module:attr"."""

    config: type[C]

    def make(self, config: C, num_envs: int, purpose: Purpose) -> Environments:
        """Raises ConfigError for what does not exist and SpecError for spaces that are not supported."""

    def protocol(self, config: C) -> Mapping[str, str]:
        """What a score depends on (sticky actions, no-ops, time limit ...): printed with every score."""

    def reference_scores(self, config: C) -> Mapping[str, Any] | None:
        """{"random": .., "human": ..} where they are published, else None."""
