"""Random integers of a NumPy generator, one by one. NumPy takes several times as long, most of the time of a layout."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

HALF = 2**32  # a raw number of PCG64 has 64 bits, and a small integer takes half of it, the lower half first
SMALLEST, LARGEST = 16, 2048  # raw numbers drawn at once


class Draws:
    """`integers(low, high)` as of a generator on PCG64, number by number; everything else is the generator's own.

    The numbers are drawn in blocks, and the generator is set back to where it would be before anything else uses it.
    So reach the generator through this object only.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._bits: Any = rng.bit_generator
        self._halves: list[int] = []  # drawn and not used yet, the next one last
        self._block = SMALLEST
        self._lent = True  # whether the generator may have been used by others since the last block

    def integers(self, low: int, high: int | None = None, *others: Any, **options: Any) -> Any:
        """Lemire's method ("Fast random integer generation in an interval", 2019), as in NumPy."""
        span = 0 if high is None or others or options else int(high - low)
        if span == 1:
            return low  # takes no number
        if not 1 < span < HALF:
            return self._generator().integers(low, high, *others, **options)
        product = (self._halves or self._drawn()).pop() * span
        if product % HALF < span:
            threshold = HALF % span
            while product % HALF < threshold:
                product = (self._halves or self._drawn()).pop() * span
        return low + product // HALF

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator(), name)

    def _drawn(self) -> list[int]:
        """New halves, to be used up in place."""
        raw = self._bits.random_raw(self._block)
        self._block = min(2 * self._block, LARGEST)
        self._halves = raw.astype("<u8").view("<u4")[::-1].tolist()
        if self._lent:
            self._lent = False
            if (state := self._bits.state)["has_uint32"]:
                self._halves.append(state["uinteger"])
                self._bits.state = {**state, "has_uint32": 0, "uinteger": 0}
        return self._halves

    def _generator(self) -> np.random.Generator:
        """The generator, where it would be without blocks."""
        if self._halves:
            self._bits.advance(-(len(self._halves) // 2))
            if len(self._halves) % 2:
                self._bits.state = {**self._bits.state, "has_uint32": 1, "uinteger": self._halves[-1]}
            self._halves = []
        self._lent = True
        return self._rng


@cache
def _as_numpy() -> bool:
    """Whether this version of NumPy still draws as `Draws` does; its generators may change."""
    ours, theirs = Draws(np.random.default_rng(0)), np.random.default_rng(0)
    return all(ours.integers(-1, span) == theirs.integers(-1, span) for span in (2, 3, 7, 2**31) for _ in range(50))


def draws(rng: np.random.Generator) -> Any:
    """Something with the methods and the numbers of `rng`, a generator on PCG64."""
    return Draws(rng) if _as_numpy() else rng
