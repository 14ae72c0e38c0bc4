"""N worlds of MiniGrid as `rlkit.environments.Environments`."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from minigrid.core.actions import Actions
from numpy.typing import NDArray

from envs.minigrid_vector import signals
from envs.minigrid_vector.worlds import Worlds
from envs.screens import grid_cells, view_cells
from rlkit.errors import SpecError, WorkerError
from rlkit.types import SCREEN, SCREEN_CELLS, ArraySpec, EnvSpec, Observation, RawStep


def image_space(worlds: Worlds, full: bool) -> spaces.Box:
    """Of one observation: the view of the agent, or the whole grid."""
    env = worlds.layouts.env
    size = (env.width, env.height) if full else (env.agent_view_size, env.agent_view_size)
    return spaces.Box(0, 255, (*size, 3), np.uint8)


class MiniGridEnvironments:
    """full: observations are the whole grids. render: adds the signal "screen", the package's picture of each world."""

    def __init__(
        self, worlds: Worlds, names: tuple[str, ...] = (), *, full: bool = False, render: bool = False
    ) -> None:
        self._worlds = worlds
        self._names = names
        self._full = full
        self._render = render
        self._action: NDArray[np.int64] | None = None
        self._started = False
        self._nowhere = np.zeros(worlds.num_envs, np.bool_)
        self._nowhere.flags.writeable = False
        specs = signals.specs(worlds, names)
        if render:
            env = worlds.layouts.env
            cells = (env.agent_view_size, env.agent_view_size) if env.agent_pov else (env.height, env.width)
            specs[SCREEN] = ArraySpec((cells[0] * env.tile_size, cells[1] * env.tile_size, 3), np.uint8)
            if not env.agent_pov:
                specs[SCREEN_CELLS] = ArraySpec((*image_space(worlds, full).shape[:2], 4), np.int16)
        self._spec = EnvSpec(
            observation_space=image_space(worlds, full),
            num_actions=worlds.num_actions,
            num_envs=worlds.num_envs,
            signals=specs,
            action_names=tuple(action.name for action in Actions)[: worlds.num_actions],
        )

    @property
    def spec(self) -> EnvSpec:
        return self._spec

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> Observation:
        """See `Environments.reset`. Raises ValueError if the first call does not reset all environments."""
        if not self._started and not mask.all():
            raise ValueError("the first reset must include all environments")
        self._started = True
        which = np.flatnonzero(mask).tolist()
        wanted = [None if seed < 0 else seed for seed in seeds[mask].tolist()]
        try:
            self._worlds.reset(which, wanted)
        except SpecError:
            raise
        except Exception as error:  # the package's generators may fail by chance
            raise WorkerError(f"{self._worlds.layouts.env_id}: no layout in a reset: {error}") from error
        return self._observation(mask.copy())

    def send(self, action: NDArray[np.int64]) -> None:
        """See `Environments.send`. Raises ValueError for actions out of range."""
        if action.min() < 0 or action.max() >= self._worlds.num_actions:
            raise ValueError(f"actions {action}; expected 0..{self._worlds.num_actions - 1}")
        self._action = action.astype(np.int64)

    def receive(self) -> RawStep:
        assert self._action is not None, "receive before send"
        reward, terminated, truncated = self._worlds.step(self._action)
        self._action = None
        return RawStep(
            after=self._observation(self._nowhere),
            reward=reward.astype(np.float32),
            discount=np.logical_not(terminated).astype(np.float32),
            terminated=terminated,
            truncated=truncated,
        )

    def close(self) -> None:
        """Nothing to release."""

    def _observation(self, first: NDArray[np.bool_]) -> Observation:
        worlds = self._worlds
        obs = worlds.full_image() if self._full else worlds.image()
        values: dict[str, NDArray[Any]] = signals.read(worlds, self._names)
        if self._render:
            values[SCREEN] = np.stack([worlds.picture(index) for index in range(worlds.num_envs)])
            if SCREEN_CELLS in self._spec.signals:
                values[SCREEN_CELLS] = np.stack([self._cells(index) for index in range(worlds.num_envs)])
        return Observation(obs, values, first)

    def _cells(self, index: int) -> NDArray[np.int16]:
        """(h, w, 4) where the cells of one world's observation lie on its picture."""
        worlds, env = self._worlds, self._worlds.layouts.env
        if self._full:
            return grid_cells(env.width, env.height, env.tile_size)
        grid, direction = (env.width, env.height), int(worlds.direction[index])
        return view_cells(worlds.position[index], direction, grid, env.agent_view_size, env.tile_size)
