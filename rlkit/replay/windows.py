"""The rows of a window: arithmetic on write numbers, on the host.

The c-th row of environment e has the write number c * N + e and lies in slot (write number) modulo capacity; the
capacity is a multiple of N. So the next row of the same environment is N further on, and different environments never
share a slot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def occupants(slots: NDArray[np.int64], newest: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    """(K,) write numbers of the rows that are in `slots` (K,) now; `newest` (N,): each environment's newest row."""
    last = newest if len(newest) == 1 else newest[slots % len(newest)]
    return last - (last - slots) % capacity


def window_rows(
    index: NDArray[np.int64], n: int, stop: NDArray[np.bool_], num_envs: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Slots (B, n) of the windows that begin at `index` (B,), and the number of valid steps of each, (B,) in 1..n.

    `stop` (capacity,) marks the last step of a window: an episode's end, a cut, or the newest step.
    """
    slots = (index[:, None] + num_envs * np.arange(n)) % len(stop)
    if n == 1:
        return slots, np.ones(len(index), np.int64)
    stops = stop[slots]
    stops[:, -1] = True
    return slots, stops.argmax(axis=1) + 1


def draw_uniform(
    sampleable: NDArray[np.bool_], filled: int, count: int, batch_size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(batch_size,) slots drawn uniformly and independently from the `count` sampleable ones, all below `filled`.

    Draws slots and rejects those that are not sampleable, which are few. Accepted ones are uniform, so after a few
    rounds, or if few slots are sampleable, the rest can be drawn from a list without changing the distribution.
    """
    spare = batch_size * filled // count + 16
    if spare > 4 * batch_size + 16:
        return _draw_listed(sampleable, batch_size, rng)
    drawn = rng.integers(0, filled, spare)
    kept = drawn[sampleable[drawn]]
    for _ in range(4):
        if len(kept) >= batch_size:
            return kept[:batch_size]
        drawn = rng.integers(0, filled, spare)
        kept = np.concatenate((kept, drawn[sampleable[drawn]]))[:batch_size]
    return np.concatenate((kept, _draw_listed(sampleable, batch_size - len(kept), rng)))


def _draw_listed(sampleable: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    listed = np.flatnonzero(sampleable)
    return listed[rng.integers(0, len(listed), count)]
