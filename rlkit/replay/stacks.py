"""Storage of observations: each frame once; stacks are rebuilt when they are read."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.devices import to_device
from rlkit.replay.frames import FrameLayout, stack_index
from rlkit.replay.ring import DeviceColumn, StagedColumn, checked
from rlkit.types import State


class FrameStore:
    """One frame per row in N rings with `capacity` rows in total, and the number of earlier frames in each stack.

    device: where observations are returned. home: where frames are stored, `device` or the host.
    """

    def __init__(
        self, layout: FrameLayout, capacity: int, num_envs: int, device: torch.device, home: torch.device
    ) -> None:
        self._layout = layout
        self.capacity = capacity
        self.num_envs = num_envs
        self.device = device
        kind = DeviceColumn if home == device else StagedColumn
        if kind is StagedColumn:
            warnings.warn(
                f"the replay does not fit on {device}: its frames stay on the host, and batches are copied to {device}",
                stacklevel=3,
            )
        # the last row stays zero, to pad stacks with
        self._frames = kind("observation", capacity + 1, layout.frame, device)
        self._depth = np.zeros(capacity if layout.size > 1 else 0, np.uint8)  # see stack_index
        self._ages = np.arange(layout.size - 1, -1, -1)

    def write(self, index: NDArray[np.int64], obs: NDArray[Any], *, begins: bool) -> NDArray[np.int64]:
        """Writes the newest frames of `obs` (K, *O) to the rows `index` (K,).

        Returns the slots whose stacks are no longer complete: those overwritten, and those of later steps whose stacks
        contain an overwritten frame.
        """
        slots = index % self.capacity
        size, broken = self._layout.size, slots
        if size > 1:
            needing = (slots[:, None] + self.num_envs * self._ages) % self.capacity
            broken = needing[self._depth[needing] >= self._ages]
            self._depth[slots] = 0 if begins else np.minimum(self._depth[slots - self.num_envs], size - 2) + 1
        self._frames.write(slots, self._layout.newest(obs))
        return broken

    def begins(self, index: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """(K,) whether an episode begins at the rows `index` (K,); None if observations are not stacks."""
        if self._layout.size == 1:
            return None
        first: NDArray[np.bool_] = self._depth[index % self.capacity] == 0
        return first

    def slots(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """(K, size) slots of the frames of the observations at `index` (K,)."""
        if self._layout.size == 1:
            return (index % self.capacity)[:, None]
        depth = self._depth[index % self.capacity][:, None]  # (K, 1)
        slots = stack_index(index, depth, self._ages, self.num_envs) % self.capacity  # (K, size)
        if self._layout.zero_padding:
            np.putmask(slots, self._ages > depth, self.capacity)
        return slots

    def join(self, slots: NDArray[np.int64], moved: Tensor) -> Tensor:
        """(K, *O) from the frames in `slots` (K, size); `moved` (K * size,) is a copy of `slots` on the device."""
        if isinstance(self._frames, StagedColumn):
            return self._layout.join(self._frames.fetch(slots))
        return self._layout.join(self._frames.gather(moved, slots.shape))

    def observations(self, index: NDArray[np.int64]) -> Tensor:
        """(K, *O) at the rows `index` (K,), on the device."""
        slots = self.slots(index)
        return self.join(slots, to_device(slots.reshape(-1), self.device))

    def clear(self, rows: int) -> None:
        """Zeroes the first `rows` rows."""
        self._frames.data[:rows] = 0
        self._depth[:rows] = 0

    def restart(self, index: NDArray[np.int64]) -> None:
        """Moves the stacks at the newest rows `index` (N,) to the first `size` rows of their rings; zeroes the rest."""
        slots = self.slots(index)  # (N, size)
        frames = self._frames.gather(to_device(slots.reshape(-1), self.device), (slots.size,))
        depth = self._depth[index] if self._layout.size > 1 else self._depth
        self.clear(int(index.max()) + 1)
        rows = self.num_envs * np.arange(self._layout.size) + np.arange(self.num_envs)[:, None]  # (N, size)
        self._frames.data.index_copy_(0, to_device(rows.reshape(-1), self.device), frames)
        if self._layout.size > 1:
            self._depth[rows[:, -1]] = depth

    def state(self, rows: int) -> dict[str, Any]:
        """The first `rows` rows; shares memory."""
        return {"depth": self._depth[:rows], "frames": self._frames.state(rows)}

    def load(self, state: State, rows: int) -> None:
        """Loads `rows` rows. Raises ConfigError if shape or dtype differ."""
        self._depth[:rows] = checked("depth", state["depth"], (min(rows, len(self._depth)),), np.uint8)
        self._frames.load(state["frames"], rows)
