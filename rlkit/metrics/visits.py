"""Visits of positions in a plane: counts over a grid of cells, and their picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.config.tables import VisitsConfig
from rlkit.errors import SpecError
from rlkit.types import EnvSpec, Image, StepBatch

SIDE = 256  # minimum pixels of the picture's longer side
UNVISITED = (0, 0, 0)
# from few to many visits, evenly spaced: viridis (Smith and van der Walt), readable in grey and if colour-blind
COLOURS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float64)


class Visits:
    """Counts points of a rectangle in `cells` (horizontal, vertical); upper edges belong to the last cell.

    For integers from 0 to n - 1 use low 0, high n and n cells. Points outside count in the nearest cell.
    """

    def __init__(self, config: VisitsConfig, spec: EnvSpec) -> None:
        """Raises SpecError if the environment lacks the signal or its columns."""
        signal = spec.signals.get(config.signal)
        if (
            signal is None
            or len(signal.shape) != 1
            or not 0 <= min(config.columns) <= max(config.columns) < signal.shape[0]
        ):
            known = ", ".join(f"{name} {spec.signals[name].shape}" for name in spec.signals) or "none"
            raise SpecError(
                f'train.visits: columns {config.columns} of the signal "{config.signal}" are not there; '
                f"this environment's signals: {known}"
            )
        self._signal, self._columns = config.signal, list(config.columns)
        self._low = np.array(config.low, dtype=np.float64)
        self._width = np.array(config.high, dtype=np.float64) - self._low
        self._cells = np.array(config.cells, dtype=np.int64)
        self.counts = np.zeros(config.cells[::-1], dtype=np.int64)  # (vertical, horizontal)

    def observe(self, step: StepBatch) -> None:
        """Counts the positions after a step, and those where episodes began."""
        if np.count_nonzero(step.before.first):
            self.add(step.before.signals[self._signal][step.before.first][:, self._columns])
        self.add(step.after.signals[self._signal][:, self._columns])

    def add(self, points: NDArray[Any]) -> None:
        """Counts `points` (N, 2): horizontal, then vertical (downwards)."""
        # multiply before dividing: exact for integers
        place = np.floor((points - self._low) * self._cells / self._width).astype(np.int64)
        column, row = place.clip(0, self._cells - 1).T
        np.add.at(self.counts, (row, column), 1)

    def image(self) -> Image:
        """The counts on a logarithmic scale, at least SIDE pixels along the longer side. Black: never visited."""
        shade = np.log1p(self.counts) / max(float(np.log1p(self.counts.max())), 1e-9)  # 0..1
        anchors = np.linspace(0, 1, len(COLOURS))
        colours = np.stack([np.interp(shade, anchors, COLOURS[:, channel]) for channel in range(3)], axis=-1)
        colours[self.counts == 0] = UNVISITED
        scale = -(-SIDE // max(self.counts.shape))
        return Image(np.rint(colours).astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1))
