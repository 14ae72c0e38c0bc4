"""Sequences of stored steps, for recurrent learners."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.devices import to_device
from rlkit.replay.ring import StepColumns
from rlkit.replay.stacks import FrameStore
from rlkit.types import Sequences


def gather_sequences(
    frames: FrameStore,
    columns: StepColumns,
    index: NDArray[np.int64],
    steps: NDArray[np.int64],
    first: NDArray[np.bool_],
    length: int,
) -> Sequences:
    """The sequences of `length` that begin at `index` (B,), of which the first `steps` (B,) steps are valid.

    The last valid step and its successor are repeated beyond. first (B,): an episode begins at `index`.
    """
    place = np.arange(length + 1)
    before = index[:, None] + frames.num_envs * np.minimum(place, steps[:, None])  # (B, T + 1) rows of observations
    rows = index[:, None] + frames.num_envs * np.minimum(place[:-1], steps[:, None] - 1)  # (B, T) rows of steps
    slots, held = rows % frames.capacity, frames.slots(before.reshape(-1))
    parts = [slots.reshape(-1), steps, first, held.reshape(-1)]  # one array, for one transfer to the device
    moved = torch.split(to_device(np.concatenate(parts), frames.device), [part.size for part in parts])
    obs = frames.join(held, moved[3])
    return Sequences(
        obs=obs.view(*before.shape, *obs.shape[1:]),
        mask=torch.arange(length, device=frames.device) < moved[1][:, None],
        first=moved[2].bool(),
        **columns.gather(slots, moved[0]),
    )
