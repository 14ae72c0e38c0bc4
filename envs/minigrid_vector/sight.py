"""The agent's view: which cells it consists of, and which of them walls and closed doors hide."""

from __future__ import annotations

import numpy as np
from minigrid.core.constants import DIR_TO_VEC
from numpy.typing import NDArray

from envs.minigrid_vector.codes import FIRST_OPAQUE, LOOKS

SIZES = (3, 5, 7)
"""Supported sides of the view, in cells: a row takes at most BYTES."""
BYTES = 8
ROW = np.dtype("<u8")  # a row of cells, one byte each; little-endian, so that the first cell is the lowest byte
GATHER = np.uint64(sum(1 << 56 - 7 * x for x in range(BYTES)))
"""A row whose bytes are 0 or 1, times this: the highest byte has the bit of byte x at position x."""


def offsets(size: int, column: int) -> NDArray[np.int64]:
    """(directions, size, size): flat index of cell [x, y] of a view, relative to that of the agent.

    `column` is the number of cells in a column of the grid, which is stored column by column. The agent is at
    [size // 2, size - 1] of its view and looks towards y = 0 (`MiniGridEnv.get_view_coords`).
    """
    right, forward = np.meshgrid(np.arange(size) - size // 2, size - 1 - np.arange(size), indexing="ij")
    views = [(forward * x - right * y) * column + forward * y + right * x for x, y in DIR_TO_VEC]
    return np.array(views, np.int64)


def _row_tables(size: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """What `Grid.process_vis` does to one row, for all pairs of masks (visible so far, transparent).

    The index is visible << size | transparent, where bit x of a mask is column x. The first table has the visible part
    of the next row, shifted by `size`; the second one has a row with 255 in visible cells and 0 in hidden ones.
    """
    masks = np.arange(2**size)[:, None] >> np.arange(size) & 1 == 1  # (masks, size)
    visible = np.repeat(masks[:, None], 2**size, axis=1)  # (masks, masks, size)
    above = np.zeros_like(visible)
    for x, step in [(x, 1) for x in range(size - 1)] + [(x, -1) for x in reversed(range(1, size))]:
        passed = visible[..., x] & masks[:, x]
        visible[..., x + step] |= passed
        above[..., x + step] |= passed
        above[..., x] |= passed
    next_row = (above << np.arange(size)).sum(-1) << size
    shown = np.zeros((*visible.shape[:2], BYTES), np.uint8)
    shown[..., :size] = 255 * visible
    return next_row.ravel(), shown.view(ROW).ravel()


class Sight:
    """Draws the views of N agents. `column` is as in `offsets`."""

    def __init__(self, size: int, column: int, through_walls: bool) -> None:
        self._size = size
        rows = offsets(size, column).transpose(0, 2, 1)  # (directions, y, x)
        self._offsets = np.pad(rows, ((0, 0), (0, 0), (0, BYTES - size)), mode="edge").reshape(4, -1)
        self._through_walls = through_walls
        self._next_row, self._shown = _row_tables(size)

    def image(
        self,
        cells: NDArray[np.uint8],
        agent: NDArray[np.int64],
        direction: NDArray[np.int64],
        carried: NDArray[np.int64],
    ) -> NDArray[np.uint8]:
        """(N, size, size, 3), as `MiniGridEnv.gen_obs`. `cells` is flat; `agent` (N,) holds indices into it."""
        size = self._size
        indices = self._offsets.take(direction, axis=0)
        indices += agent[:, None]
        seen = cells.take(indices)  # (N, y * x)
        if not self._through_walls:
            seen = self._hidden(seen)
        seen = seen.reshape(-1, size, BYTES)
        seen[:, size - 1, size // 2] = carried  # in place of a door or goal, and "empty" if the agent carries nothing
        image: NDArray[np.uint8] = LOOKS.take(seen[..., :size].transpose(0, 2, 1), axis=0)
        return image

    def _hidden(self, seen: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`seen` (N, y * x) with 0 ("unseen") for hidden cells."""
        size = self._size
        transparent = (seen < FIRST_OPAQUE).view(ROW)  # (N, y)
        index = ((transparent * GATHER) >> np.uint64(56)).astype(np.int64) & (2**size - 1)
        visible: int | NDArray[np.int64] = 1 << size // 2 << size  # the agent's own cell
        for y in reversed(range(size)):
            index[:, y] |= visible
            visible = self._next_row.take(index[:, y])
        shown: NDArray[np.uint64] = seen.view(ROW) & self._shown.take(index)
        return shown.view(np.uint8)
