"""Steps as features, which a visit counter keeps until its hash is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.types import State


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of N environments, as features."""

    first: NDArray[np.bool_]  # (N,) an episode began with this step
    begun: NDArray[Any] | None  # (F, d) of the observations before the step, where `first`; None if F = 0
    after: NDArray[Any]  # (N, d) of the observations after it
    action: NDArray[np.int64]  # (N,)
    ended: NDArray[np.bool_]  # (N,)


def pack(moments: Sequence[Moment]) -> State:
    """Moments as a state; {} for an empty list."""
    if not moments:
        return {}
    return {
        "first": np.stack([moment.first for moment in moments]),
        "begun": np.concatenate([moment.begun for moment in moments if moment.begun is not None]),
        "after": np.stack([moment.after for moment in moments]),
        "action": np.stack([moment.action for moment in moments]),
        "ended": np.stack([moment.ended for moment in moments]),
    }


def unpack(state: State) -> list[Moment]:
    """The moments of a state."""
    if not state:
        return []
    ends = np.cumsum(np.count_nonzero(state["first"], axis=1))
    begun = [rows if len(rows) else None for rows in np.split(state["begun"], ends[:-1])]
    rows = zip(state["first"], begun, state["after"], state["action"], state["ended"], strict=True)
    return [Moment(*row) for row in rows]
