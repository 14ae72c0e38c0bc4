"""Where an agent has been, in a plane: counts over a grid of cells, and their picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.types import Image, State

SIDE = 256  # pixels of the picture's longer side, at least
UNVISITED = (0, 0, 0)
# seldom → often, evenly spaced: viridis (Smith and van der Walt), readable in grey and by the colour-blind
COLOURS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float64)


class Visits:
    """Counts points of a rectangle, cut into `cells` (across, down) of equal size; the far edges belong to the last.

    For whole numbers 0 to n - 1 take low 0, high n and n cells. Points outside count in the nearest cell.
    """

    def __init__(self, low: tuple[float, float], high: tuple[float, float], cells: tuple[int, int]) -> None:
        if min(cells) < 1 or not all(a < b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"visits need low < high and at least one cell, got {low}, {high}, {cells}")
        self._low = np.array(low, dtype=np.float64)
        self._width = np.array(high, dtype=np.float64) - self._low
        self._cells = np.array(cells, dtype=np.int64)
        self.counts = np.zeros((cells[1], cells[0]), dtype=np.int64)  # rows downwards, columns rightwards

    def add(self, points: NDArray[Any]) -> None:
        """Counts `points` (N, 2): across (rightwards), then down."""
        # multiplied before it is divided: exact for whole numbers
        place = np.floor((points - self._low) * self._cells / self._width).astype(np.int64)
        column, row = place.clip(0, self._cells - 1).T
        np.add.at(self.counts, (row, column), 1)

    def image(self) -> Image:
        """The counts on a logarithmic scale, at least SIDE pixels along the longer side; black: never visited."""
        shade = np.log1p(self.counts) / max(float(np.log1p(self.counts.max())), 1e-9)  # 0..1
        anchors = np.linspace(0, 1, len(COLOURS))
        colours = np.stack([np.interp(shade, anchors, COLOURS[:, channel]) for channel in range(3)], axis=-1)
        colours[self.counts == 0] = UNVISITED
        scale = -(-SIDE // max(self.counts.shape))
        return Image(np.rint(colours).astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1))

    def state_dict(self) -> State:
        return {"counts": self.counts.copy()}

    def load_state_dict(self, state: State) -> None:
        self.counts[...] = state["counts"]
