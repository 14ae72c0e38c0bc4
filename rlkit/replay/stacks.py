"""The observations of a replay, kept as frames: each frame once, and stacks made of them when they are asked for."""

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
    """One frame a row in N rings of `capacity` rows together, and for each row how far its episode reaches back.

    device: where observations are handed out. home: where the frames lie, `device` or the host.
    """

    def __init__(
        self, layout: FrameLayout, capacity: int, num_envs: int, device: torch.device, home: torch.device
    ) -> None:
        self._layout = layout
        self._capacity = capacity
        self._num_envs = num_envs
        self._device = device
        kind = DeviceColumn if home == device else StagedColumn
        if kind is StagedColumn:
            warnings.warn(
                f"the replay does not fit on {device}: its frames stay on the host, and batches are moved there",
                stacklevel=3,
            )
        # One row more, always zero, is what stacks are padded with.
        self._frames = kind("observation", capacity + 1, layout.frame, device)
        self._depth = np.zeros(capacity if layout.size > 1 else 0, np.uint8)  # see stack_index
        self._ages = np.arange(layout.size - 1, -1, -1)

    def write(self, index: NDArray[np.int64], obs: NDArray[Any], *, begins: bool) -> NDArray[np.int64]:
        """Writes the newest frames of `obs` (K, *O) to the rows `index` (K,).

        Gives the slots whose observations are whole no more: those overwritten, and the later ones of their episodes
        whose stacks reach back to them.
        """
        slots = index % self._capacity
        size, broken = self._layout.size, slots
        if size > 1:
            needing = (slots[:, None] + self._num_envs * self._ages) % self._capacity
            broken = needing[self._depth[needing] >= self._ages]
            self._depth[slots] = 0 if begins else np.minimum(self._depth[slots - self._num_envs], size - 2) + 1
        self._frames.write(slots, self._layout.newest(obs))
        return broken

    def begins(self, index: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """(K,) where the rows `index` (K,) begin an episode; None where only single frames are stored."""
        if self._layout.size == 1:
            return None
        first: NDArray[np.bool_] = self._depth[index % self._capacity] == 0
        return first

    def slots(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """(K, size) where the frames lie that make up the observations at `index` (K,)."""
        if self._layout.size == 1:
            return (index % self._capacity)[:, None]
        depth = self._depth[index % self._capacity][:, None]  # (K, 1)
        slots = stack_index(index, depth, self._ages, self._num_envs) % self._capacity  # (K, size)
        if self._layout.zero_padding:
            np.putmask(slots, self._ages > depth, self._capacity)
        return slots

    def join(self, slots: NDArray[np.int64], moved: Tensor) -> Tensor:
        """(K, *O) on the device, of the frames in `slots` (K, size), which are `moved` (K * size,) there."""
        if isinstance(self._frames, StagedColumn):
            return self._layout.join(self._frames.fetch(slots))
        return self._layout.join(self._frames.gather(moved, slots.shape))

    def observations(self, index: NDArray[np.int64]) -> Tensor:
        """(K, *O) at the rows `index` (K,), on the device."""
        slots = self.slots(index)
        return self.join(slots, to_device(slots.reshape(-1), self._device))

    def clear(self, rows: int) -> None:
        """Zeroes the first `rows` rows."""
        self._frames.data[:rows] = 0
        self._depth[:rows] = 0

    def restart(self, index: NDArray[np.int64]) -> None:
        """Moves the observations at the rows `index` (N,), the newest, to the first `size` rows; zeroes all others."""
        slots = self.slots(index)  # (N, size)
        frames = self._frames.gather(to_device(slots.reshape(-1), self._device), (slots.size,))
        depth = self._depth[index] if self._layout.size > 1 else self._depth
        self.clear(int(index.max()) + 1)
        rows = self._num_envs * np.arange(self._layout.size) + np.arange(self._num_envs)[:, None]  # (N, size)
        self._frames.data.index_copy_(0, to_device(rows.reshape(-1), self._device), frames)
        if self._layout.size > 1:
            self._depth[rows[:, -1]] = depth

    def state(self, rows: int) -> dict[str, Any]:
        """The first `rows` rows; shares memory."""
        return {"depth": self._depth[:rows], "frames": self._frames.state(rows)}

    def load(self, state: State, rows: int) -> None:
        """Takes over `rows` rows. Raises ConfigError where shape or dtype differ."""
        self._depth[:rows] = checked("depth", state["depth"], (min(rows, len(self._depth)),), np.uint8)
        self._frames.load(state["frames"], rows)
