"""MiniGrid's cells as one-byte codes, and the rules of its actions as tables over codes.

A code stands for everything about the content of a cell that an action or a view can depend on: kind, colour, state of
a door, key in a box, and whether it is the object that the agent has to fetch (`marked`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from minigrid.core.actions import Actions
from minigrid.core.constants import COLOR_TO_IDX, IDX_TO_COLOR, IDX_TO_OBJECT, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall, WorldObj
from numpy.typing import NDArray

from rlkit.errors import SpecError


class Thing(NamedTuple):
    """The content of a cell, in words."""

    kind: str
    colour: str = "red"  # as the package encodes "no colour"
    state: str = "open"  # of a door; the package encodes the state of all other objects like that of an open door
    key: str | None = None  # the colour of the key in a box
    marked: bool = False  # the object that the task asks for; looks like any other


def _things() -> list[Thing]:
    colours = list(COLOR_TO_IDX)
    things = [Thing("unseen"), Thing("empty"), Thing("lava")]
    things += [Thing(kind, colour) for kind, colour in product(("wall", "floor", "goal"), colours)]
    things += [Thing("door", colour, state) for colour, state in product(colours, STATE_TO_IDX)]
    things += [Thing(kind, colour) for kind, colour in product(("key", "ball", "box"), colours)]
    things += [Thing("box", colour, key=key) for colour, key in product(colours, colours)]
    things += [thing._replace(marked=True) for thing in things if thing.kind in ("key", "ball", "box")]
    return sorted(things, key=_opaque)


def _opaque(thing: Thing) -> bool:
    """Whether it hides what is behind it."""
    return thing.kind == "wall" or (thing.kind == "door" and thing.state != "open")


THINGS = _things()
CODES = {thing: code for code, thing in enumerate(THINGS)}
EMPTY = CODES[Thing("empty")]
WALL = CODES[Thing("wall", "grey")]
NUM_CODES = len(THINGS)
FIRST_OPAQUE = sum(not _opaque(thing) for thing in THINGS)
"""All codes from here on hide what is behind them."""

LOOKS = np.array(
    [(OBJECT_TO_IDX[thing.kind], COLOR_TO_IDX[thing.colour], STATE_TO_IDX[thing.state]) for thing in THINGS], np.uint8
)  # (codes, 3), as WorldObj.encode


def _where(*kinds: str, **details: object) -> NDArray[np.bool_]:
    """(codes,) The things of these kinds for which all details hold."""
    held = [all(getattr(thing, name) == value for name, value in details.items()) for thing in THINGS]
    return np.array([thing.kind in kinds and fits for thing, fits in zip(THINGS, held, strict=True)])


LOOSE = _where("key", "ball", "box")  # can be picked up
MARKED = _where("key", "ball", "box", marked=True)
DOOR = _where("door")
OPEN_DOOR = _where("door", state="open")
GOAL = _where("goal")
ENTERABLE = _where("empty", "floor", "goal", "lava") | OPEN_DOOR

NOTHING, AT_GOAL, IN_LAVA = range(3)
"""Events of one step."""


def _outcomes() -> NDArray[np.uint8]:
    """(actions, carried, ahead, 4): the new content of the cell ahead, what is carried, whether the agent moves, event.

    As MiniGridEnv.step and the methods `toggle` of the objects. Without effect: both contents stay.
    """
    codes = np.arange(NUM_CODES)
    table = np.zeros((len(Actions), NUM_CODES, NUM_CODES, 4), np.uint8)
    table[..., 0] = codes
    table[..., 1] = codes[:, None]
    table[Actions.forward, :, ENTERABLE, 2] = True
    table[Actions.forward, :, GOAL, 3] = AT_GOAL
    table[Actions.forward, :, _where("lava"), 3] = IN_LAVA
    loose = codes[LOOSE]
    table[Actions.pickup, EMPTY, loose, 0] = EMPTY
    table[Actions.pickup, EMPTY, loose, 1] = loose
    table[Actions.drop, loose, EMPTY, 0] = loose
    table[Actions.drop, loose, EMPTY, 1] = EMPTY
    for code, thing in enumerate(THINGS):
        if thing.kind == "box":
            table[Actions.toggle, :, code, 0] = EMPTY if thing.key is None else CODES[Thing("key", thing.key)]
        elif thing.kind == "door" and thing.state == "locked":
            keys = _where("key", colour=thing.colour)
            table[Actions.toggle, keys, code, 0] = CODES[thing._replace(state="open")]
        elif thing.kind == "door":
            other = "closed" if thing.state == "open" else "open"
            table[Actions.toggle, :, code, 0] = CODES[thing._replace(state=other)]
    return table


OUTCOMES = _outcomes().view(np.uint32).ravel()
"""Indexed by (action * NUM_CODES + carried) * NUM_CODES + ahead; view a selection as bytes (..., 4)."""

_PLAIN = {Wall, Floor, Goal, Lava, Key, Ball}
_BY_CLASS: dict[tuple[type[WorldObj] | None, str | None], int] = {
    (kind, colour): CODES[thing]
    for kind in _PLAIN
    for colour in COLOR_TO_IDX
    if (thing := Thing(kind.__name__.lower(), colour)) in CODES
}


def encode(cells: Sequence[WorldObj | None]) -> list[int]:
    """The codes of the package's objects. Raises SpecError for unknown ones."""
    known = _BY_CLASS
    return [EMPTY if cell is None else known.get((type(cell), cell.color)) or _special(cell) for cell in cells]


def _special(cell: WorldObj) -> int:
    if type(cell) is Door:
        state = "open" if cell.is_open else "locked" if cell.is_locked else "closed"
        return CODES[Thing("door", cell.color, state)]
    if type(cell) is Box and (cell.contains is None or type(cell.contains) is Key):
        return CODES[Thing("box", cell.color, key=None if cell.contains is None else cell.contains.color)]
    inside = f" with a {type(cell.contains).__name__} inside" if cell.contains is not None else ""
    raise SpecError(f"it contains a {type(cell).__name__}{inside}, which is not supported")


def mark(code: int) -> int:
    """The code of the same thing as the one to fetch."""
    return CODES[THINGS[code]._replace(marked=True)]


def decode(code: int) -> WorldObj | None:
    """A new object of the package that looks like the code."""
    kind, colour, state = LOOKS[code].tolist()
    assert IDX_TO_OBJECT[kind] == THINGS[code].kind
    found = WorldObj.decode(kind, colour, state)
    if found is not None:
        found.color = IDX_TO_COLOR[colour]  # `decode` ignores the colour of goals
    return found
