"""Visits of positions in a plane: counts over a grid of cells, and their picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.config.tables import VisitsConfig
from rlkit.errors import SpecError
from rlkit.metrics.heatmap import Axes, framed
from rlkit.types import EnvSpec, Image, Observation, StepBatch


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
        across, down = (f"{config.signal}[{column}]" for column in config.columns)
        self._axes = Axes("", (across, down), config.low, config.high)
        self.counts = np.zeros(config.cells[::-1], dtype=np.int64)  # (vertical, horizontal)

    def observe(self, step: StepBatch) -> None:
        """Counts the positions after a step, and those where episodes began."""
        if np.count_nonzero(step.before.first):
            self.add(step.before.signals[self._signal][step.before.first][:, self._columns])
        self.add(step.after.signals[self._signal][:, self._columns])

    def add(self, points: NDArray[Any]) -> None:
        """Counts `points` (N, 2): horizontal, then vertical (downwards)."""
        row, column = self._places(points).T
        np.add.at(self.counts, (row, column), 1)

    def cells(self, observation: Observation) -> NDArray[np.int64]:
        """(N, 2) the cells of the positions in N environments: vertical, then horizontal."""
        return self._places(observation.signals[self._signal][:, self._columns])

    def _places(self, points: NDArray[Any]) -> NDArray[np.int64]:
        """(N, 2) the cells (vertical, horizontal) of points (horizontal, vertical)."""
        # multiply before dividing: exact for integers
        place = np.floor((points - self._low) * self._cells / self._width).astype(np.int64)
        return place.clip(0, self._cells - 1)[:, ::-1]

    def image(self) -> Image:
        """The counts as a picture with axes, the number of visits and a logarithmic scale. Black: never visited."""
        visited = f"{np.count_nonzero(self.counts):,} of {self.counts.size:,} cells"
        return Image(framed(self.counts, replace(self._axes, title=f"visits: {self.counts.sum():,}, {visited}")))
