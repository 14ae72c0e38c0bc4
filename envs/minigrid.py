"""What a MiniGrid world knows of itself, as signals for bonuses, goals and pictures of visits."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.world_object import Door, Goal

from rlkit.errors import SpecError

MAX_DOORS = 12  # the most that a world of the package has (ObstructedMaze-Full: 3 x 3 rooms)
NOTHING = -1


def state(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Signals: "state" (17,) int16, the same length in every world; "success" bool, the goal square is stood on.

    =====  =============================================================================================
    place  what it holds
    =====  =============================================================================================
    0, 1   the agent's x (rightwards) and y (downwards)
    2      its direction: 0 right, 1 down, 2 left, 3 up
    3, 4   kind and colour of what it carries (minigrid.core.constants); -1 and -1 where nothing
    5-16   the doors, row by row from the upper left: 0 open, 1 closed, 2 locked; -1 where there are fewer
    =====  =============================================================================================

    Where keys, balls and boxes lie is left out: each place of a dropped key would make a state of its own. Where
    layouts differ between episodes, the same state stands for different situations. A world without a goal square,
    like KeyCorridor, has no "success". Raises SpecError for more doors than MAX_DOORS.
    """
    world: Any = env.unwrapped
    held = world.carrying
    carried = (NOTHING, NOTHING) if held is None else (OBJECT_TO_IDX[held.type], COLOR_TO_IDX[held.color])
    cells = world.grid.grid
    doors = [_door_state(cell) for cell in cells if type(cell) is Door]  # up to 625 cells: no isinstance
    if len(doors) > MAX_DOORS:
        raise SpecError(f"envs.minigrid:state holds {MAX_DOORS} doors, and this world has {len(doors)}")
    padding = [NOTHING] * (MAX_DOORS - len(doors))
    x, y = world.agent_pos
    signals: dict[str, Any] = {"state": np.array((x, y, world.agent_dir, *carried, *doors, *padding), dtype=np.int16)}
    if any(type(cell) is Goal for cell in cells):
        signals["success"] = np.bool_(type(world.grid.get(x, y)) is Goal)
    return signals


def situation(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Signals: "state" as above, and "standing" (1,) int16: the kind of object in the agent's cell, -1 where none.

    With it a goal or lava is known to be reached: neither shows in an observation once the agent stands on it.
    """
    world: Any = env.unwrapped
    cell = world.grid.get(*world.agent_pos)
    standing = NOTHING if cell is None else OBJECT_TO_IDX[cell.type]
    return {**state(env), "standing": np.array((standing,), dtype=np.int16)}


def _door_state(door: Door) -> int:
    name = "open" if door.is_open else "locked" if door.is_locked else "closed"
    return STATE_TO_IDX[name]
