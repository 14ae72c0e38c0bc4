"""Hindsight: what happened later in an episode, stored for each of its steps when the episode ends."""

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
    """A column of bits, and the steps they are collected from (Andrychowicz et al. 2017, section 4.5).

    "future": bits set in this step or a later one of the episode; "final": bits set in the last step of the episode.
    A discount of 0 within an episode (a lost life) ends it here: bits set after it do not count.
    """

    column: str
    which: Literal["future", "final"]


class Later:
    """The bits of later steps, (G,) for each row of a replay; all False until the episode ends.

    Written once, when an episode ends; sampling only looks them up.
    """

    def __init__(self, hindsight: Hindsight, extras: Mapping[str, Column], capacity: int, num_envs: int) -> None:
        column = extras.get(hindsight.column)
        if column is None or len(column.shape) != 1 or np.dtype(column.dtype) != np.bool_:
            raise ConfigError(f"replay: hindsight needs a column {hindsight.column!r} of bits, bool (G,)")
        self._column = hindsight.column
        self._accumulate = hindsight.which == "future"
        self._num_envs = num_envs
        self._bits = np.zeros((capacity, *column.shape), np.bool_)  # of the step itself
        self._later = np.zeros_like(self._bits)
        self._begin = np.zeros(num_envs, np.int64)  # (N,) write number of the first step of each episode or life

    def __call__(self, index: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self._later[index % len(self._later)]

    def add(
        self,
        head: NDArray[np.int64],
        begins: NDArray[np.bool_],
        over: NDArray[np.bool_],
        extras: Mapping[str, NDArray[Any]],
    ) -> None:
        """Records a step that was written to the rows `head` (N,).

        begins (N,): it is the first of an episode. over (N,): it ended the episode, or has a discount of 0.
        """
        self._begin = np.where(begins, head, self._begin)
        slots = head % len(self._bits)
        self._bits[slots] = extras[self._column]
        self._later[slots] = False
        for env in np.flatnonzero(over):
            self._finish(int(self._begin[env]), int(head[env]))
            self._begin[env] = head[env] + self._num_envs

    def _finish(self, first: int, last: int) -> None:
        oldest = max(first, last - len(self._bits) + self._num_envs)  # skips rows that a long episode has overwritten
        slots = np.arange(last, oldest - 1, -self._num_envs) % len(self._bits)  # the last step first
        bits = self._bits[slots]
        self._later[slots] = np.logical_or.accumulate(bits) if self._accumulate else bits[0]

    def state(self, rows: int) -> State:
        return {"bits": self._bits[:rows], "later": self._later[:rows], "begin": self._begin}

    def load(self, state: State, rows: int) -> None:
        self._bits[:rows] = checked("bits", state["bits"], (rows, *self._bits.shape[1:]), np.bool_)
        self._later[:rows] = checked("later", state["later"], (rows, *self._bits.shape[1:]), np.bool_)
        self._begin = checked("begin", state["begin"], self._begin.shape, np.int64).copy()
