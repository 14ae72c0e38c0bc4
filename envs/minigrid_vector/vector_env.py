"""N worlds of MiniGrid as a vector environment of Gymnasium, for use without rlkit's agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.minigrid_vector.environments import image_space
from envs.minigrid_vector.layouts import Layouts
from envs.minigrid_vector.signals import READERS, read
from envs.minigrid_vector.worlds import Worlds

Info = dict[str, Any]


class MiniGridVectorEnv(VectorEnv[NDArray[np.uint8], NDArray[np.int64], NDArray[Any]]):
    """Steps all environments at once; otherwise as SyncVectorEnv of the package's environments in ImgObsWrapper.

    env_id, kwargs: a MiniGrid id and its keyword arguments.
    observation: "view", what the agent sees, or "full", the whole grid.
    signals: names of `envs.minigrid_vector.signals`; they are entries of `info`, (N, ...) each.
    autoreset_mode: as of SyncVectorEnv. With DISABLED, reset ended environments with
        `reset(options={"reset_mask": ended})`.
    render_mode: "rgb_array", or None.

    Raises ConfigError for what the package cannot make, SpecError for what is not supported, and ValueError for other
    arguments that are not known.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int = 1,
        *,
        kwargs: Mapping[str, Any] | None = None,
        observation: str = "view",
        signals: Sequence[str] = (),
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        for name, given, known in (
            ("observation", {observation}, {"view", "full"}),
            ("signals", set(signals), set(READERS)),
        ):
            if unknown := given - known:
                raise ValueError(f"{name}: {', '.join(sorted(unknown))} not known; expected {', '.join(sorted(known))}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode: {render_mode!r} is not supported; expected "rgb_array" or None')
        self._worlds = Worlds(Layouts(env_id, kwargs or {}), num_envs)
        self._full = observation == "full"
        self._signals = tuple(signals)
        self._mode = AutoresetMode(autoreset_mode)
        self._ended = np.zeros(num_envs, np.bool_)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 10, "autoreset_mode": self._mode}
        self.single_observation_space = image_space(self._worlds, self._full)
        self.single_action_space = spaces.Discrete(self._worlds.num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Info | None = None
    ) -> tuple[NDArray[np.uint8], Info]:
        """An int seed means seed, seed + 1 and so on. `options["reset_mask"]` (N,) bool: resets these only."""
        seeds = [None] * self.num_envs if seed is None else seed
        seeds = [seeds + index for index in range(self.num_envs)] if isinstance(seeds, int) else list(seeds)
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_))
        if len(seeds) != self.num_envs or np.shape(mask) != (self.num_envs,):
            raise ValueError(f"got {len(seeds)} seeds and a mask of shape {np.shape(mask)} for {self.num_envs} worlds")
        self._begin(mask, seeds)
        self._ended = self._ended & ~mask
        return self._obs(), self._info()

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        actions = np.asarray(actions, np.int64)
        if actions.shape != (self.num_envs,) or actions.min() < 0 or actions.max() >= self._worlds.num_actions:
            raise ValueError(f"actions {actions}; expected {self.num_envs} of 0..{self._worlds.num_actions - 1}")
        waiting = self._ended  # episodes that ended in the previous step
        if self._mode is AutoresetMode.DISABLED and waiting.any():
            raise ValueError(f"reset the environments {np.flatnonzero(waiting).tolist()} first: their episodes ended")
        reward, terminated, truncated = self._worlds.step(actions, waiting)
        if self._mode is AutoresetMode.NEXT_STEP and waiting.any():
            self._begin(waiting)
            reward[waiting] = 0
            terminated, truncated = terminated & ~waiting, truncated & ~waiting
        ended = terminated | truncated
        final: Info = {}
        if self._mode is AutoresetMode.SAME_STEP and ended.any():
            final = {"final_obs": self._obs(), "_final_obs": ended, "final_info": self._info(), "_final_info": ended}
            self._begin(ended)
        self._ended = ended if self._mode is not AutoresetMode.SAME_STEP else np.zeros_like(ended)
        return self._obs(), reward, terminated, truncated, {**self._info(), **final}

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """One picture (H, W, 3) per environment, drawn by the package."""
        if self.render_mode is None:
            gym.logger.warn("render needs render_mode='rgb_array'")
            return None
        return tuple(self._worlds.picture(index) for index in range(self.num_envs))

    def _begin(self, mask: NDArray[np.bool_], seeds: Sequence[int | None] | None = None) -> None:
        which = np.flatnonzero(mask).tolist()
        self._worlds.reset(which, [None if seeds is None else seeds[index] for index in which])

    def _obs(self) -> NDArray[np.uint8]:
        return self._worlds.full_image() if self._full else self._worlds.image()

    def _info(self) -> Info:
        return dict(read(self._worlds, self._signals))
