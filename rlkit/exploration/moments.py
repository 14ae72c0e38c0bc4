"""Running mean and deviation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.types import State


class RunningMoments:
    """Mean and deviation of all rows so far, for each entry (Chan et al. 1979: moments of batches are combined)."""

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.count = 0
        self.mean: NDArray[np.float64] = np.zeros(shape)
        self._squares: NDArray[np.float64] = np.zeros(shape)  # sum of squared differences from the mean

    def update(self, rows: NDArray[Any]) -> None:
        """Takes in rows (K, *shape)."""
        count, mean = len(rows), rows.mean(0, dtype=np.float64)
        squares = np.square(rows - mean, dtype=np.float64).sum(0)
        total, shift = self.count + count, mean - self.mean
        self._squares = self._squares + squares + shift**2 * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    @property
    def deviation(self) -> NDArray[np.float64]:
        """(*shape,) The standard deviation; 1 where nothing varied."""
        variance = self._squares / max(self.count, 1)
        return np.sqrt(np.where(variance > 0, variance, 1.0))

    def state_dict(self) -> State:
        return {"count": self.count, "mean": np.asarray(self.mean), "squares": np.asarray(self._squares)}

    def load_state_dict(self, state: State) -> None:
        self.count = int(state["count"])
        self.mean, self._squares = np.array(state["mean"]), np.array(state["squares"])
