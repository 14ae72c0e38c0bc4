"""Goals for goal-conditioned agents: their names, when they are achieved, how they enter a network.

A goal space plugs in by the entry-point group ``rlkit.goals`` or as "package.module:attr": a callable

    (spec: EnvSpec, **kwargs) -> GoalSpace

which raises SpecError if the environment lacks something, such as a signal. docs/hdqn.md shows one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rlkit import plugins
from rlkit.config.model import PluginConfig
from rlkit.errors import RlkitError, SpecError
from rlkit.types import EnvSpec, Observation


class GoalSpace(Protocol):
    """G goals of one environment family. All methods are pure functions."""

    @property
    def names(self) -> Sequence[str]:
        """G different names, for display and metrics."""

    def achieved(self, observation: Observation) -> NDArray[np.bool_]:
        """(N, G): whether each goal is achieved in each environment's observation."""

    def encode(self, goal: NDArray[np.int64]) -> NDArray[np.float32]:
        """Goals (N,) as network inputs: vectors (N, K), such as one-hot, or masks (N, H, W) over an image."""


class GoalsConfig(PluginConfig):
    """The table `goals`: the goal space."""

    kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of the goal space.")


def one_hot(goal: NDArray[np.int64], goals: int) -> NDArray[np.float32]:
    """(N, G) from (N,): the usual encoding."""
    return np.eye(goals, dtype=np.float32)[goal]


def require_signal(spec: EnvSpec, name: str, length: int, goals: str, hint: str) -> None:
    """Raises SpecError unless the environment has the signal `name`, a vector of at least `length` numbers."""
    signal = spec.signals.get(name)
    if signal is None or len(signal.shape) != 1 or signal.shape[0] < length:
        known = ", ".join(f"{key} {found.shape}" for key, found in spec.signals.items()) or "none"
        raise SpecError(
            f'{goals} needs the signal "{name}" of at least {length} numbers, and this environment has {known}; {hint}'
        )


def build_goals(config: GoalsConfig, spec: EnvSpec) -> GoalSpace:
    """The goal space of a config, tested on a blank observation. Raises SpecError if it does not fit."""
    factory = plugins.load(plugins.GOALS, config.name)
    what = f'goals "{config.name}"'
    if not callable(factory):
        raise SpecError(f"{what}: expected a callable (spec, **kwargs) -> GoalSpace, not {type(factory).__name__}")
    try:
        goals: GoalSpace = factory(spec, **config.kwargs)
        names = list(goals.names)
        count = len(names)
        blank = _blank(spec)
        achieved = goals.achieved(blank) if count else np.zeros(0)
        codes = goals.encode(np.arange(count)) if count else np.zeros(0)
    except RlkitError:
        raise
    except Exception as error:  # a user's goal space may raise anything
        raise SpecError(f"{what} with {config.kwargs} does not fit: {type(error).__name__}: {error}") from error
    if not count:
        raise SpecError(f"{what} has no goals; at least one is needed")
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) != count:
        raise SpecError(f"{what}: names must be different strings, not {names}")
    if getattr(achieved, "shape", None) != (2, count) or achieved.dtype != np.bool_:
        raise SpecError(f"{what}: achieved must return bool of shape (N, {count}), {_got(achieved)} for N = 2")
    if getattr(codes, "ndim", 0) not in (2, 3) or len(codes) != count or codes.dtype != np.float32:
        raise SpecError(f"{what}: encode must return float32 (N, K) or (N, H, W), {_got(codes)} for N = {count}")
    return goals


def _got(value: Any) -> str:
    return f"got {value.dtype} {value.shape}" if isinstance(value, np.ndarray) else f"got {type(value).__name__}"


def _blank(spec: EnvSpec) -> Observation:
    """The observation of two environments, all zeros."""
    space = spec.observation_space
    signals = {name: np.zeros((2, *signal.shape), signal.dtype) for name, signal in spec.signals.items()}
    return Observation(np.zeros((2, *(space.shape or ())), space.dtype), signals, np.zeros(2, np.bool_))
