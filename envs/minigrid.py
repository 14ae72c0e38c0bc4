"""Signals of MiniGrid environments, for bonuses, goals and visit maps, and an observation made from them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.world_object import Ball, Box, Door, Goal, Key
from numpy.typing import NDArray

from rlkit.errors import SpecError

MAX_DOORS = 12  # the largest number in an environment of the package (ObstructedMaze-Full: 3 x 3 rooms)
NOTHING = -1
LOOSE = (Key, Ball, Box)

STATE_LABELS = {
    name: ("state", index)
    for index, name in enumerate(("x", "y", "direction", "carried kind", "carried colour", "door 0", "door 1"))
}


def state(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Signals: "state" (17,) int16 in every environment; "success" bool, the agent stands on the goal square.

    =====  =============================================================================================
    entry  meaning
    =====  =============================================================================================
    0, 1   the agent's x (rightwards) and y (downwards)
    2      its direction: 0 right, 1 down, 2 left, 3 up
    3, 4   kind and colour of the carried object (minigrid.core.constants); -1 and -1 if there is none
    5-16   the doors, row by row from the upper left: 0 open, 1 closed, 2 locked; -1 for missing doors
    =====  =============================================================================================

    The state does not contain the positions of keys, balls and boxes on the floor, because each position of a dropped
    key would then be a new state. If layouts differ between episodes, the same state can mean different situations. An
    environment without a goal square, like KeyCorridor, has no signal "success". Raises SpecError if there are more
    than MAX_DOORS doors.
    """
    world: Any = env.unwrapped
    held = world.carrying
    carried = (NOTHING, NOTHING) if held is None else (OBJECT_TO_IDX[held.type], COLOR_TO_IDX[held.color])
    cells = world.grid.grid
    doors = [_door_state(cell) for cell in cells if type(cell) is Door]  # up to 625 cells; isinstance would be slower
    if len(doors) > MAX_DOORS:
        raise SpecError(f"envs.minigrid:state holds {MAX_DOORS} doors, and this environment has {len(doors)}")
    padding = [NOTHING] * (MAX_DOORS - len(doors))
    x, y = world.agent_pos
    signals: dict[str, Any] = {"state": np.array((x, y, world.agent_dir, *carried, *doors, *padding), dtype=np.int16)}
    if any(type(cell) is Goal for cell in cells):
        signals["success"] = np.bool_(type(world.grid.get(x, y)) is Goal)
    return signals


def situation(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Signals: "state" as in `state`; "standing" (1,) int16, the kind of object in the agent's cell, or -1.

    "standing" tells when the agent reaches the goal square or lava. Observations do not show the object on which the
    agent stands.
    """
    world: Any = env.unwrapped
    cell = world.grid.get(*world.agent_pos)
    standing = NOTHING if cell is None else OBJECT_TO_IDX[cell.type]
    return {**state(env), "standing": np.array((standing,), dtype=np.int16)}


class StateObsWrapper(gym.ObservationWrapper[NDArray[np.int64], Any, Any]):
    """Replaces the picture by the state: a short observation, fast to compute, for environments with a fixed layout.

    The observation space is MultiDiscrete (5 + doors + 2 * objects,). It contains the entries 0 to 4 of `state`, then
    its first `doors` doors, and then x and y of each key, ball or box on the floor, row by row from the upper left,
    with -1 and -1 for missing or carried objects. It does not contain walls, goals and the kinds of objects. With a
    fixed layout and at most one object the environment is fully observable. Raises SpecError if there are more doors or
    objects.
    """

    def __init__(self, env: gym.Env[Any, Any], doors: int = 1, objects: int = 1) -> None:
        super().__init__(env)
        world: Any = env.unwrapped
        self._doors, self._objects = doors, objects
        sizes = [world.width, world.height, 4, len(OBJECT_TO_IDX) + 1, len(COLOR_TO_IDX) + 1]
        sizes += [len(STATE_TO_IDX) + 1] * doors + [world.width + 1, world.height + 1] * objects
        starts = [0, 0, 0] + [NOTHING] * (len(sizes) - 3)
        self.observation_space = spaces.MultiDiscrete(sizes, start=starts)
        names = [
            "x",
            "y",
            "direction",
            "carried kind",
            "carried colour",
            *(f"door {number}" for number in range(doors)),
        ]
        places = [f"object {number} {axis}" for number in range(objects) for axis in "xy"]
        self.metadata = {**env.metadata, "observation_names": (*names, *places)}

    def observation(self, observation: Any) -> NDArray[np.int64]:
        world: Any = self.unwrapped
        known = state(world)["state"]
        doors, more = known[5 : 5 + self._doors], known[5 + self._doors :]
        loose = [(i % world.width, i // world.width) for i, cell in enumerate(world.grid.grid) if type(cell) in LOOSE]
        if len(loose) > self._objects or (more != NOTHING).any():
            raise SpecError(
                f"this environment has {int((known[5:] != NOTHING).sum())} doors and {len(loose)} loose objects: give "
                f"StateObsWrapper doors and objects (now {self._doors} and {self._objects}) for all of them"
            )
        missing = [(NOTHING, NOTHING)] * (self._objects - len(loose))
        return np.concatenate((known[:5], doors, *loose, *missing), dtype=np.int64)


def _door_state(door: Door) -> int:
    name = "open" if door.is_open else "locked" if door.is_locked else "closed"
    return STATE_TO_IDX[name]
