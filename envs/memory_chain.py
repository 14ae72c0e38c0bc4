"""A chain in which only memory pays: the first observation says which action is right at the end.

As `memory_len` of bsuite (Osband et al. 2020, section 4.2): an episode has `length` steps. The first observation shows
one of two contexts, the others show only how much time has passed. The last action pays 1 if it is the context's
number and -1 otherwise; the other actions do nothing. A policy without memory cannot do better than 0 in the mean.

Details in bsuite, and in this module:
1. Observations. bsuite gives (time left, query, context), with the share of the steps that are left, the number of the
   asked bit at the end (0 for one bit), and the context as -1 or 1 at the beginning and 0 later. This module gives
   (time left, context), both float32: there is one bit, so the query says nothing.
2. Steps. bsuite's episode has `length + 1` steps, of which the last one is paid; here the `length`-th action is paid.
3. Rewards. bsuite pays 1 and -1, as here.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class MemoryChain(gym.Env[NDArray[np.float32], Any]):
    """The environment described in the module's docstring.

    Observations are (2,) float32: the share of steps that are left, 1 at first, and the context, -1 or 1 at first and 0
    later. Actions are 0 and 1. Raises ValueError if `length` is below 2: the context would still be visible.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  as in Gymnasium

    def __init__(self, length: int = 100, render_mode: str | None = None) -> None:
        if length < 2:
            raise ValueError(f"length must be at least 2, not {length}")
        self.length = length
        self.render_mode = render_mode
        self.observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.context = 0  # the right last action
        self.steps = 0

    @property
    def longest_episode(self) -> int:
        """Steps of every episode; not a time limit, since the last one terminates."""
        return self.length

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.context, self.steps = int(self.np_random.integers(2)), 0
        return self._observation(), {}

    def _observation(self) -> NDArray[np.float32]:
        context = 2 * self.context - 1 if self.steps == 0 else 0
        return np.array((1.0 - self.steps / self.length, context), np.float32)

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.steps += 1
        terminated = self.steps == self.length
        reward = (1.0 if action == self.context else -1.0) if terminated else 0.0
        return self._observation(), reward, terminated, False, {}
