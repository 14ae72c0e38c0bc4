"""MiniGrid environments for tests: a given room, and random clutter. Importing this module registers their ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from minigrid.core.constants import COLOR_NAMES
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall, WorldObj
from minigrid.envs.dynamicobstacles import DynamicObstaclesEnv
from minigrid.minigrid_env import MiniGridEnv

Things: TypeAlias = Mapping[tuple[int, int], Callable[[], WorldObj]]


class Room(MiniGridEnv):
    """A room of 5 x 5 cells with the given things; the agent starts at (3, 3), in the middle, and looks right."""

    def __init__(self, things: Things, **kwargs: Any) -> None:
        self._things = things
        super().__init__(MissionSpace(lambda: ""), grid_size=7, max_steps=100, **kwargs)

    def _gen_grid(self, width: int, height: int) -> None:
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        for position, thing in self._things.items():
            self.grid.set(*position, thing())
        self.agent_pos, self.agent_dir, self.mission = (3, 3), 0, ""


class Clutter(MiniGridEnv):
    """Four of ten cells contain something: any kind of thing in any colour and state."""

    def __init__(self, width: int = 9, height: int = 7, **kwargs: Any) -> None:
        super().__init__(MissionSpace(lambda: ""), width=width, height=height, max_steps=30, **kwargs)

    def _gen_grid(self, width: int, height: int) -> None:
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        for x in range(1, width - 1):
            for y in range(1, height - 1):
                if self.np_random.random() < 0.4:
                    self.grid.set(x, y, self._thing(self.np_random))
        self.place_agent()
        self.mission = ""

    def _thing(self, rng: np.random.Generator) -> WorldObj:
        colour, other = rng.choice(COLOR_NAMES[:3], 2).tolist()
        kinds: list[Callable[[], WorldObj]] = [
            lambda: Door(colour, is_open=True),
            lambda: Door(colour),
            lambda: Door(colour, is_locked=True),
            lambda: Key(colour),
            lambda: Key(other),
            lambda: Ball(colour),
            lambda: Box(colour),
            lambda: Box(colour, Key(other)),
            lambda: Floor(colour),
            lambda: Wall(colour),
            lambda: Goal(colour) if rng.random() < 0.5 else Lava(),
        ]
        return kinds[rng.integers(len(kinds))]()


class Boxed(DynamicObstaclesEnv):
    """The first of two obstacles is in a corner behind walls."""

    def _gen_grid(self, width: int, height: int) -> None:
        super()._gen_grid(width, height)
        for ball in self.obstacles:
            self.grid.set(*ball.cur_pos, None)
        self.put_obj(self.obstacles[0], 1, height - 2)
        for x, y in ((1, height - 3), (2, height - 3), (2, height - 2)):
            self.grid.set(x, y, Wall())
        self.place_obj(self.obstacles[1])


gym.register("test/Boxed-v0", entry_point=Boxed, kwargs={"size": 8, "n_obstacles": 2})
gym.register("test/Room-v0", entry_point=Room)
gym.register("test/Clutter-v0", entry_point=Clutter)
