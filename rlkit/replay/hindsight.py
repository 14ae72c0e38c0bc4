"""What happened later in an episode, written down for all its steps when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlkit.errors import ConfigError
from rlkit.replay.ring import Column, checked
from rlkit.types import State


@dataclass(frozen=True, slots=True)
class Hindsight:
    """Which column's bits are asked for, and of when (Andrychowicz et al. 2017, section 4.5).

    "future": set in this step or a later one of the episode; "final": set in the episode's last step. Where a value
    ends within an episode, with a lost life, nothing that comes after it counts.
    """

    column: str
    which: Literal["future", "final"]


class Later:
    """The bits of later steps, (G,) for each row of a replay; none while its episode goes on.

    An episode of T steps costs T rows once, when it ends: nothing is searched for when steps are sampled.
    """

    def __init__(self, hindsight: Hindsight, extras: Mapping[str, Column], capacity: int, num_envs: int) -> None:
        extra = extras.get(hindsight.column)
        if extra is None or len(extra.shape) != 1 or np.dtype(extra.dtype) != np.bool_:
            raise ConfigError(f"replay: hindsight needs a column {hindsight.column!r} of bits, bool (G,)")
        self._column = hindsight.column
        self._whole = hindsight.which == "future"
        self._num_envs = num_envs
        self._bits = np.zeros((capacity, *extra.shape), np.bool_)  # of the step itself
        self._later = np.zeros_like(self._bits)
        self._begin = np.zeros(num_envs, np.int64)  # (N,) the write number of each episode's, or life's, first step

    def __call__(self, index: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self._later[index % len(self._later)]

    def add(
        self,
        head: NDArray[np.int64],
        begins: NDArray[np.bool_],
        over: NDArray[np.bool_],
        extras: Mapping[str, NDArray[Any]],
    ) -> None:
        """A step was written to the rows `head` (N,); it ended the episode, or its value, where `over` (N,)."""
        self._begin = np.where(begins, head, self._begin)
        slots = head % len(self._bits)
        self._bits[slots] = extras[self._column]
        self._later[slots] = False
        for env in np.flatnonzero(over):
            self._finish(int(self._begin[env]), int(head[env]))
            self._begin[env] = head[env] + self._num_envs

    def _finish(self, first: int, last: int) -> None:
        oldest = max(first, last - len(self._bits) + self._num_envs)  # what a long episode has overwritten is gone
        slots = np.arange(last, oldest - 1, -self._num_envs) % len(self._bits)  # the last step first
        bits = self._bits[slots]
        self._later[slots] = np.logical_or.accumulate(bits) if self._whole else bits[0]

    def state(self, rows: int) -> State:
        return {"bits": self._bits[:rows], "later": self._later[:rows], "begin": self._begin}

    def load(self, state: State, rows: int) -> None:
        self._bits[:rows] = checked("bits", state["bits"], (rows, *self._bits.shape[1:]), np.bool_)
        self._later[:rows] = checked("later", state["later"], (rows, *self._bits.shape[1:]), np.bool_)
        self._begin = checked("begin", state["begin"], self._begin.shape, np.int64).copy()
