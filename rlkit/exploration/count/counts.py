"""Visit counts by digest: exact, or in a fixed amount of memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.memory import require_memory
from rlkit.types import State

PRIMES = (999931, 999953, 999959, 999961, 999979, 999983)
"""The sizes of the six tables of Tang et al. 2017 ("6M"): 24 MB of counts."""


class Counts(Protocol):
    """Counts of (digest, column). C, the number of columns, is 1 for states and the number of actions for pairs."""

    def add(self, digest: NDArray[np.int64], column: NDArray[np.int64]) -> None:
        """Adds one to each (digest, column), (K,) each; repeated entries count repeatedly."""

    def look_up(self, digest: NDArray[np.int64]) -> NDArray[np.int64]:
        """The counts, (*digest.shape, C)."""

    def values(self) -> NDArray[np.int64]:
        """The non-zero counts, in no order; for a sketch, those of its first table."""

    @property
    def distinct(self) -> int:
        """Number of distinct digests; a lower estimate if cells are shared."""

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


CODE_BYTES = 150  # of bookkeeping for each distinct digest of an exact table


class ExactCounts:
    """A growing table: for each distinct digest 8 bytes per column and about 150 bytes of bookkeeping.

    Raises CapacityError when it would grow beyond the memory that is available.
    """

    def __init__(self, columns: int = 1) -> None:
        self._row: dict[int, int] = {}  # digest → row
        self._counts = np.zeros((64, columns), np.int64)  # row 0: digests that were never counted

    @property
    def distinct(self) -> int:
        return len(self._row)

    def values(self) -> NDArray[np.int64]:
        return self._counts[self._counts > 0]

    def add(self, digest: NDArray[np.int64], column: NDArray[np.int64]) -> None:
        cells = np.array(self._rows_of(digest)) * self._width + column  # may move the table
        np.add.at(self._counts.reshape(-1), cells, 1)

    def _rows_of(self, digest: NDArray[np.int64]) -> list[int]:
        """The rows of digests (K,), new ones for new digests."""
        rows = [self._row.setdefault(code, len(self._row) + 1) for code in digest.tolist()]
        if len(self._row) >= len(self._counts):
            size = 2 * (len(self._row) + 1)
            what = f'counting {size:,} codes exactly (bonus.counts; type = "sketch" takes a fixed amount)'
            require_memory(size * (CODE_BYTES + 8 * self._width), what, torch.device("cpu"))
            self._counts = np.concatenate((self._counts, np.zeros((size - len(self._counts), self._width), np.int64)))
        return rows

    @property
    def _width(self) -> int:
        return self._counts.shape[1]

    def look_up(self, digest: NDArray[np.int64]) -> NDArray[np.int64]:
        known = self._row
        rows = [known.get(code, 0) for code in digest.reshape(-1).tolist()]
        return self._counts[rows].reshape(*digest.shape, self._width)

    def _counts_of(self, digests: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        rows = self._rows_of(digests)  # may move the table
        self._counts[rows] += counts

    def entries(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The digests (K,) and their counts (K, C)."""
        size = len(self._row)
        return np.fromiter(self._row, np.int64, size), self._counts[1 : size + 1]

    def state_dict(self) -> State:
        digest, count = self.entries()
        return {"digest": digest, "count": count}

    def load_state_dict(self, state: State) -> None:
        self._row = {}
        self._counts = np.zeros((64, self._width), np.int64)
        self._counts_of(state["digest"], state["count"])


class SketchCounts:
    """A count-min sketch (Cormode and Muthukrishnan 2005): tables of prime sizes; the estimate is their minimum.

    Never underestimates a count. With `conservative` only the cells that hold the smallest count are raised (Estan and
    Varghese 2002), which overestimates less. Raises CapacityError if the tables do not fit into memory.
    """

    def __init__(self, columns: int = 1, primes: Sequence[int] = PRIMES, *, conservative: bool = False) -> None:
        require_memory(4 * sum(primes), "a sketch of counts (bonus.counts.primes)", torch.device("cpu"))
        self._columns = columns
        self._primes = np.array(primes, np.uint64)
        self._cells = np.zeros(int(sum(primes)), np.int32)  # the tables one after the other
        self._starts = np.concatenate(([0], np.cumsum(primes)[:-1])).astype(np.int64)
        self._conservative = conservative
        self._distinct = 0

    @property
    def distinct(self) -> int:
        """Number of distinct pairs of digest and column; a lower estimate if cells are shared."""
        return self._distinct

    def load(self) -> float:
        """The fraction of cells in use."""
        return float(np.count_nonzero(self._cells)) / len(self._cells)

    def values(self) -> NDArray[np.int64]:
        first = self._cells[: int(self._primes[0])]
        return first[first > 0].astype(np.int64)

    def _where(self, code: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(*code.shape, tables) cells."""
        where: NDArray[np.int64] = (code[..., None] % self._primes).astype(np.int64) + self._starts
        return where

    def add(self, digest: NDArray[np.int64], column: NDArray[np.int64]) -> None:
        codes, times = _code(digest, column), np.ones(len(digest), np.int64)
        if len(codes) > 1:
            codes, times = np.unique_counts(codes)
        self._increment(codes, times)

    def add_table(self, table: ExactCounts) -> None:
        """Adds the counts of an exact table."""
        digest, count = table.entries()
        for column in range(self._columns):
            known = count[:, column] > 0
            codes = _code(digest[known], np.full(int(known.sum()), column))
            self._increment(codes, count[known, column])

    def _increment(self, codes: NDArray[np.uint64], times: NDArray[np.int64]) -> None:
        """Counts distinct codes (K,), each `times` (K,) times."""
        where = self._where(codes)  # (K, tables)
        before = self._cells[where].min(1)  # (K,)
        self._distinct += int(np.count_nonzero(before == 0))
        if self._conservative:
            np.maximum.at(self._cells, where, (before + times).astype(np.int32)[:, None])
        else:
            np.add.at(self._cells, where, times.astype(np.int32)[:, None])

    def look_up(self, digest: NDArray[np.int64]) -> NDArray[np.int64]:
        where = self._where(_code(digest[..., None], np.arange(self._columns)))  # (*shape, C, tables)
        counts: NDArray[np.int64] = self._cells[where].min(-1).astype(np.int64)
        return counts

    def state_dict(self) -> State:
        return {"cells": self._cells, "distinct": self._distinct}

    def load_state_dict(self, state: State) -> None:
        self._cells[:] = state["cells"]
        self._distinct = int(state["distinct"])


class LimitedCounts:
    """An exact table that becomes a sketch, with a warning, once it holds more than `limit` distinct digests."""

    def __init__(self, limit: int, columns: int, sketch: Callable[[], SketchCounts]) -> None:
        """sketch: makes an empty one."""
        self._limit = limit
        self._columns = columns
        self._sketch = sketch
        self._table: ExactCounts | SketchCounts = ExactCounts(columns)

    @property
    def distinct(self) -> int:
        return self._table.distinct

    def load(self) -> float | None:
        """The fraction of the sketch's cells in use; None before there is one."""
        return self._table.load() if isinstance(self._table, SketchCounts) else None

    def values(self) -> NDArray[np.int64]:
        return self._table.values()

    def add(self, digest: NDArray[np.int64], column: NDArray[np.int64]) -> None:
        table = self._table
        table.add(digest, column)
        if isinstance(table, ExactCounts) and table.distinct > self._limit:
            warnings.warn(
                f"more than {self._limit:,} distinct codes (bonus.counts.limit): from here on a sketch keeps the "
                "counts, which may be too high for codes that share all their cells with others",
                stacklevel=2,
            )
            sketch = self._sketch()
            sketch.add_table(table)
            self._table = sketch

    def look_up(self, digest: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._table.look_up(digest)

    def state_dict(self) -> State:
        return {"sketch": isinstance(self._table, SketchCounts), "table": self._table.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self._table = self._sketch() if state["sketch"] else ExactCounts(self._columns)
        self._table.load_state_dict(state["table"])


def _code(digest: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One number for a digest and a column; a large factor, modulo 2^64, spreads the columns over the tables."""
    code: NDArray[np.uint64] = digest.view(np.uint64) + column.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return code
