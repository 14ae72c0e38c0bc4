"""Where the cells of MiniGrid's observations lie on its pictures: the signal "screen_cells"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FORWARD = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])  # (x, y) of the directions right, down, left, up


def grid_cells(width: int, height: int, size: int) -> NDArray[np.int16]:
    """(width, height, 4) the boxes (top, left, bottom, right) of all cells, `size` pixels each."""
    x, y = np.meshgrid(np.arange(width), np.arange(height), indexing="ij")
    return _boxes(x, y, size)


def view_cells(
    position: NDArray[np.int_], direction: int, grid: tuple[int, int], view: int, size: int
) -> NDArray[np.int16]:
    """(view, view, 4) the boxes of the cells that the agent may see; zeros outside the grid (width, height).

    In the view the agent stands in the middle of the last row and looks up, `minigrid_env.get_view_exts`.
    """
    right = FORWARD[(direction + 1) % 4]
    column, row = np.meshgrid(np.arange(view), np.arange(view), indexing="ij")
    place = position + (column - view // 2)[..., None] * right + (view - 1 - row)[..., None] * FORWARD[direction]
    inside = ((place >= 0) & (place < grid)).all(-1)
    return np.where(inside[..., None], _boxes(place[..., 0], place[..., 1], size), 0).astype(np.int16)


def _boxes(x: NDArray[np.int_], y: NDArray[np.int_], size: int) -> NDArray[np.int16]:
    return np.stack([y * size, x * size, (y + 1) * size, (x + 1) * size], -1).astype(np.int16)
