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
    before: NDArray[np.int64],
    steps: NDArray[np.int64],
    first: NDArray[np.bool_],
    lead: int,
    length: int,
) -> Sequences:
    """The sequences of T = lead + length steps in which `index` (B,) is step number `lead`.

    before (B,) and steps (B,): the valid steps before `index`, and from there on. first (B,): an episode begins with
    the first valid one. The first and the last valid step, and the successor of the last, are repeated around them.
    """
    place = np.arange(lead + length + 1) - lead
    held_by = place.clip(-before[:, None], steps[:, None])  # (B, T + 1) rows of observations, from `index`
    made_by = place[:-1].clip(-before[:, None], steps[:, None] - 1)  # (B, T) rows of steps
    rows = index[:, None] + frames.num_envs * made_by
    slots, held = rows % frames.capacity, frames.slots((index[:, None] + frames.num_envs * held_by).reshape(-1))
    parts = [slots.reshape(-1), before, steps, first, held.reshape(-1)]  # one array, for one transfer to the device
    moved = torch.split(to_device(np.concatenate(parts), frames.device), [part.size for part in parts])
    obs = frames.join(held, moved[4])
    places = torch.arange(-lead, length, device=frames.device)
    return Sequences(
        obs=obs.view(*held_by.shape, *obs.shape[1:]),
        mask=(places >= -moved[1][:, None]) & (places < moved[2][:, None]),
        first=moved[3].bool(),
        before=before,
        steps=steps,
        **columns.gather(slots, moved[0]),
    )
