"""Layouts from the package's own generators, and the package's own pictures of a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  registers the ids
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minigrid.core.grid import Grid
from minigrid.minigrid_env import MiniGridEnv
from numpy.typing import NDArray

from envs.minigrid_vector.codes import WALL, decode, encode, mark
from envs.minigrid_vector.sight import SIZES
from envs.minigrid_vector.tasks import TASKS, Task, position
from rlkit import plugins
from rlkit.errors import ConfigError, SpecError

INSTEAD = 'use name = "gymnasium", which steps the package\'s own environment'
ORIGINAL = ("reset", "gen_obs", "gen_obs_grid", "get_view_exts", "dir_vec", "front_pos", "_reward")
"""Methods that no class may replace."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The start of an episode of one world; places are indices into its flat cells."""

    cells: NDArray[np.uint8]  # (columns, rows) with the border
    agent: int
    direction: int
    places: list[int]  # of the task
    codes: list[int]  # of the task


class Layouts:
    """Makes the layouts of one MiniGrid id. One environment of the package serves all worlds.

    The cells have a border of `margin` walls, so that every view lies inside; they are stored column by column.
    Raises ConfigError for an unknown id and unsuitable arguments, SpecError for an unsupported environment.
    """

    def __init__(self, env_id: str, kwargs: Mapping[str, Any]) -> None:
        self.env_id = env_id
        spec = _spec(env_id)
        self.env = _made(spec, kwargs)
        self.task = _task(self.env, env_id)
        self.limit = min(self.env.max_steps, spec.max_episode_steps or self.env.max_steps)
        self.margin = self.env.agent_view_size - 1
        self.shape = self.env.width + 2 * self.margin, self.env.height + 2 * self.margin
        first = self._try_out()
        self.num_places, self.num_codes = len(first.places), len(first.codes)

    def _try_out(self) -> Layout:
        """A layout. Raises ConfigError if none can be made, for example because a dependency is missing."""
        try:
            return self.generate(np.random.default_rng(0))
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"env: {self.env_id} cannot make a layout: {error}") from error

    @property
    def column(self) -> int:
        """The number of cells in a column."""
        return self.shape[1]

    def place(self, position: Sequence[int]) -> int:
        """The index of (x, y)."""
        x, y = position
        return (int(x) + self.margin) * self.column + int(y) + self.margin

    def inside(self, cells: NDArray[Any]) -> NDArray[Any]:
        """A view of cells (..., columns, rows) without the border: (..., width, height)."""
        return cells[..., self.margin : -self.margin, self.margin : -self.margin]

    def generate(self, rng: Any) -> Layout:
        """The next layout that the package's environment makes with this random generator, or with `draws` of it.

        Raises SpecError for objects that are not supported.
        """
        env: Any = self.env
        env.np_random = rng
        env.agent_pos, env.agent_dir = (-1, -1), -1
        env._gen_grid(env.width, env.height)  # noqa: SLF001  `reset` also draws a view, which costs more than the layout
        try:
            codes = encode(env.grid.grid)
        except SpecError as error:
            raise SpecError(f"env.id: {self.env_id} is not supported: {error}; {INSTEAD}") from error
        if self.task.fetched is not None:
            x, y = position(env, self.task.fetched(env))
            codes[y * env.width + x] = mark(codes[y * env.width + x])
        cells = np.full(self.shape, WALL, np.uint8)
        self.inside(cells)[:] = np.array(codes, np.uint8).reshape(env.height, env.width).T
        places = [self.place(xy) for xy in self.task.places(env)]
        return Layout(cells, self.place(env.agent_pos), int(env.agent_dir), places, self.task.codes(env))

    def picture(self, cells: NDArray[np.uint8], agent: int, direction: int, carried: int) -> NDArray[np.uint8]:
        """(H, W, 3) The package's picture of a state; `cells` (columns, rows), `agent` a place in them."""
        env: Any = self.env
        env.grid = Grid(env.width, env.height)
        env.grid.grid = [decode(code) for code in self.inside(cells).T.ravel().tolist()]
        x, y = divmod(agent, self.column)
        env.agent_pos, env.agent_dir = (x - self.margin, y - self.margin), direction
        env.carrying = decode(carried)
        picture: NDArray[np.uint8] = env.get_frame(env.highlight, env.tile_size, env.agent_pov)
        return picture


def _spec(env_id: str) -> EnvSpec:
    try:
        return gym.spec(env_id)
    except (gym.error.Error, ImportError) as error:
        known = [name for name in gym.registry if name.startswith("MiniGrid-")]
        hint = plugins.nearest(env_id, known) or "; does env.register name the package that adds it?"
        raise ConfigError(f"env.id: no registered environment {env_id!r}{hint}") from error


def _made(spec: EnvSpec, kwargs: Mapping[str, Any]) -> MiniGridEnv:
    """The environment without wrappers."""
    if spec.additional_wrappers:
        raise SpecError(f"env.id: {spec.id} is not supported: it is registered with wrappers; {INSTEAD}")
    try:
        env: gym.Env[Any, Any] = spec.make(disable_env_checker=True, **kwargs).unwrapped
    except Exception as error:
        raise ConfigError(f"env: cannot make {spec.id} with {dict(kwargs)}: {error}") from error
    if not isinstance(env, MiniGridEnv):
        raise SpecError(f'env.id: {spec.id} is not an environment of MiniGrid; use name = "gymnasium"')
    return env


def _task(env: MiniGridEnv, env_id: str) -> Task:
    """Raises SpecError if the package's class has rules of its own that are not reproduced here."""
    owner = _defined_in(env, "step")
    if owner not in TASKS:
        raise SpecError(f"env.id: {env_id} is not supported: the rewards of {owner.__name__} are not known; {INSTEAD}")
    for name in ORIGINAL:
        if (other := _defined_in(env, name)) is not MiniGridEnv:
            raise SpecError(f"env.id: {env_id} is not supported: {other.__name__} has its own {name}; {INSTEAD}")
    if env.agent_view_size not in SIZES:
        raise SpecError(f"env.kwargs: agent_view_size is {env.agent_view_size}; supported are {SIZES}")
    return TASKS[owner]


def _defined_in(env: MiniGridEnv, name: str) -> type:
    return next(owner for owner in type(env).__mro__ if name in vars(owner))
