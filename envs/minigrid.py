"""What a MiniGrid world knows of itself, as signals for bonuses, goals and pictures of visits."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.world_object import Ball, Box, Door, Goal, Key
from numpy.typing import NDArray

from rlkit.errors import SpecError

MAX_DOORS = 12  # the most that a world of the package has (ObstructedMaze-Full: 3 x 3 rooms)
NOTHING = -1
LOOSE = (Key, Ball, Box)


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


class StateObsWrapper(gym.ObservationWrapper[NDArray[np.int64], Any, Any]):
    """The state in place of a picture of it: a short observation for worlds whose layout stays, and a fast one.

    MultiDiscrete (5 + doors + 2 * objects,): the places 0 to 4 of `state`; its first `doors` doors; x and y of each
    key, ball or box that lies about, row by row from the upper left, -1 and -1 for those missing or carried. With one
    layout and at most one such object nothing is hidden. Walls, goals and the kinds of objects are not in it.
    Raises SpecError for a world with more doors or objects.
    """

    def __init__(self, env: gym.Env[Any, Any], doors: int = 1, objects: int = 1) -> None:
        super().__init__(env)
        world: Any = env.unwrapped
        self._doors, self._objects = doors, objects
        sizes = [world.width, world.height, 4, len(OBJECT_TO_IDX) + 1, len(COLOR_TO_IDX) + 1]
        sizes += [len(STATE_TO_IDX) + 1] * doors + [world.width + 1, world.height + 1] * objects
        starts = [0, 0, 0] + [NOTHING] * (len(sizes) - 3)
        self.observation_space = spaces.MultiDiscrete(sizes, start=starts)

    def observation(self, observation: Any) -> NDArray[np.int64]:
        world: Any = self.unwrapped
        known = state(world)["state"]
        doors, more = known[5 : 5 + self._doors], known[5 + self._doors :]
        loose = [(i % world.width, i // world.width) for i, cell in enumerate(world.grid.grid) if type(cell) in LOOSE]
        if len(loose) > self._objects or (more != NOTHING).any():
            raise SpecError(
                f"this world has {int((known[5:] != NOTHING).sum())} doors and {len(loose)} loose objects: give "
                f"StateObsWrapper doors and objects (now {self._doors} and {self._objects}) for all of them"
            )
        missing = [(NOTHING, NOTHING)] * (self._objects - len(loose))
        return np.concatenate((known[:5], doors, *loose, *missing), dtype=np.int64)


def _door_state(door: Door) -> int:
    name = "open" if door.is_open else "locked" if door.is_locked else "closed"
    return STATE_TO_IDX[name]
