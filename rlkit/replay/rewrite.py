"""Recomputing stored columns from the observations of their steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlkit.devices import to_device
from rlkit.replay.ring import StepColumns
from rlkit.replay.stacks import FrameStore

Compute: TypeAlias = Callable[
    [NDArray[np.int64], NDArray[Any], NDArray[np.int64], NDArray[Any]], Mapping[str, NDArray[Any]]
]
"""(index, obs, action, next_obs), (K,), (K, *O), (K,) and (K, *O), -> arrays (K, ...) by name."""

_CHUNK = 1024  # steps whose observations are rebuilt at once


def rewrite_columns(
    frames: FrameStore,
    columns: StepColumns,
    index: NDArray[np.int64],
    slots: NDArray[np.int64],
    rows: NDArray[np.int64],
    names: Collection[str],
    compute: Compute,
) -> dict[str, NDArray[Any]]:
    """Recomputes the columns `names` of the steps in `slots` (K,), and returns all that `compute` gives, (K, ...) each.

    index (K,): the names of the steps, for `compute`. rows (K,): of the observations before the steps; those after them
    are N rows further on.
    """
    computed = []
    for part in np.array_split(np.arange(len(slots)), range(_CHUNK, len(slots), _CHUNK)):
        before, after = (
            frames.observations(which).cpu().numpy() for which in (rows[part], rows[part] + frames.num_envs)
        )
        action = columns.action(slots[part], to_device(slots[part], frames.device)).cpu().numpy()
        computed.append(compute(index[part], before, action, after))
        columns.rewrite(slots[part], {name: computed[-1][name] for name in names})
    return {name: np.concatenate([arrays[name] for arrays in computed]) for name in computed[0]}
