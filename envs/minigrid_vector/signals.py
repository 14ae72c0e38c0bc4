"""Signals of N worlds, for bonuses, goals, visit maps and success rates; named as in `envs.minigrid`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from envs.minigrid import MAX_DOORS, NOTHING
from envs.minigrid_vector.codes import DOOR, EMPTY, LOOKS
from envs.minigrid_vector.worlds import Worlds
from rlkit.errors import SpecError
from rlkit.types import ArraySpec

SignalName: TypeAlias = Literal["success", "state", "standing", "position", "direction", "carried", "full"]


def _carried(worlds: Worlds) -> NDArray[np.int16]:
    kinds: NDArray[np.int16] = LOOKS[worlds.carried, :2].astype(np.int16)
    return np.where((worlds.carried == EMPTY)[:, None], np.int16(NOTHING), kinds)


def _state(worlds: Worlds) -> NDArray[np.int16]:
    """See `envs.minigrid.state`."""
    values = np.full((worlds.num_envs, 5 + MAX_DOORS), NOTHING, np.int16)
    values[:, :2] = worlds.position
    values[:, 2] = worlds.direction
    values[:, 3:5] = _carried(worlds)
    rows = worlds.cells.transpose(0, 2, 1).reshape(worlds.num_envs, -1)
    world, place = np.nonzero(DOOR.take(rows))  # row by row from the upper left
    number = np.arange(len(world)) - np.searchsorted(world, world)  # of the door in its world
    if len(number) and number.max() >= MAX_DOORS:
        raise SpecError(f"env.signals: state holds {MAX_DOORS} doors, and a layout has {number.max() + 1}")
    values[world, 5 + number] = LOOKS[rows[world, place], 2]
    return values


def _standing(worlds: Worlds) -> NDArray[np.int16]:
    here = worlds.underfoot
    kinds: NDArray[np.int16] = LOOKS[here, :1].astype(np.int16)
    return np.where((here == EMPTY)[:, None], np.int16(NOTHING), kinds)


READERS: dict[str, Callable[[Worlds], NDArray[Any]]] = {
    "success": lambda worlds: worlds.won.copy(),
    "state": _state,
    "standing": _standing,
    "position": lambda worlds: worlds.position.astype(np.int16),
    "direction": lambda worlds: worlds.direction[:, None].astype(np.int16),
    "carried": _carried,
    "full": Worlds.full_image,
}


def read(worlds: Worlds, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Name → (N, ...), new arrays."""
    return {name: READERS[name](worlds) for name in names}


def specs(worlds: Worlds, names: tuple[str, ...]) -> dict[str, ArraySpec]:
    env = worlds.layouts.env
    known = {
        "success": ArraySpec((), np.bool_),
        "state": ArraySpec((5 + MAX_DOORS,), np.int16),
        "standing": ArraySpec((1,), np.int16),
        "position": ArraySpec((2,), np.int16),
        "direction": ArraySpec((1,), np.int16),
        "carried": ArraySpec((2,), np.int16),
        "full": ArraySpec((env.width, env.height, 3), np.uint8),
    }
    return {name: known[name] for name in names}
