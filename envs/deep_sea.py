"""DeepSea: a grid in which only one of 2^N action sequences reaches the treasure.

The environment follows bsuite's `deep_sea` (Osband et al. 2020; Osband et al. 2019, Deep Exploration via Randomized
Value Functions, section 4). An episode starts in the upper left cell of an N x N grid and takes N steps. Each step
moves the agent one row down, and one column to the left or to the right unless a wall is there. A step to the right
costs 0.01 / N, and a step to the left costs nothing. A step to the right in the lower right corner pays 1. For each
cell a random mapping decides which of the two actions means "right", so repeating one action does not reach the
treasure.

In the stochastic variant a step to the right fails with probability 1 / N: the column stays the same, and the cost is
paid. A step taken in the lower left or lower right corner adds N(0, 1) to its reward.

Differences from bsuite:
1. Mapping. bsuite uses RandomState(mapping_seed). This module uses the top bits of the raw words of
   PCG64(mapping_seed), which are the same in every version of NumPy. The default of 42 is the seed of bsuite's
   deep_sea; its deep_sea_stochastic has 0.
   A seed of None is not supported, because its mapping could not be reproduced.
2. Observation. bsuite returns float32. This module returns the same zeros and ones as int8 (MultiBinary), which takes a
   quarter of the memory in a replay.
3. Optimal return of the stochastic variant. bsuite states (1 - 1/N)^(N-1) - 0.01, the return of always going right. The
   best policy stops going right after the first failed step (see `optimal_return`).
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

MOVE_COST = 0.01  # of N steps to the right
RENDERED = 240  # pixels per side, at least


def treasure_probability(size: int, stochastic: bool = False) -> float:
    """Probability that the best policy reaches the treasure: the first N - 1 steps to the right must succeed."""
    return (1 - 1 / size) ** (size - 1) if stochastic else 1.0


def optimal_return(size: int, stochastic: bool = False) -> float:
    """Expected return of the best policy.

    In the deterministic variant the best policy takes N steps to the right and finds the treasure: 1 - 0.01. In the
    stochastic variant, with p = 1 - 1/N, it finds the treasure with probability p^(N-1). It goes right until the first
    failure, so it takes step k (from 0) with probability p^k. The expected cost of these steps is
    0.01/N * (1 - p^N) / (1 - p) = 0.01 * (1 - p^N).
    """
    if not stochastic:
        return 1.0 - MOVE_COST
    success = 1 - 1 / size
    return treasure_probability(size, stochastic) - MOVE_COST * (1 - success**size)


def solved_return(size: int) -> float:
    """Threshold on the return that separates episodes with and without the treasure, in the deterministic variant.

    The return is 0.99 with the treasure, because this takes N steps to the right, and at most 0 without it. The
    threshold lies halfway between. In the stochastic variant returns have noise with a standard deviation of 1; use the
    signal "success" instead.
    """
    return optimal_return(size) / 2


def action_mapping(size: int, mapping_seed: int) -> NDArray[np.int64]:
    """(N, N): the action, 0 or 1, that means "right" in each cell, drawn with equal probability."""
    raw = np.random.PCG64(mapping_seed).random_raw(size * size)
    return (raw >> np.uint64(63)).astype(np.int64).reshape(size, size)


class DeepSea(gym.Env[NDArray[np.int8], Any]):
    """The environment described in the module's docstring.

    Observations are (N, N) int8: 1 in the agent's cell, and all zeros after the last step. Raises ValueError if `size`
    is below 2 or `mapping_seed` is negative.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012  as in Gymnasium

    def __init__(
        self, size: int = 10, stochastic: bool = False, mapping_seed: int = 42, render_mode: str | None = None
    ) -> None:
        if size < 2:
            raise ValueError(f"size must be at least 2, not {size}")
        if mapping_seed < 0:
            raise ValueError(f"mapping_seed must be 0 or more, not {mapping_seed}")
        self.size = size
        self.stochastic = stochastic
        self.longest_episode = size  # the plug-in reads it as the time limit; the last step terminates the episode
        self.render_mode = render_mode
        self.observation_space = spaces.MultiBinary((size, size))
        self.action_space = spaces.Discrete(2)
        self.row = 0
        self.column = 0
        self.treasure = False  # reached in this episode
        self._right: list[list[int]] = action_mapping(size, mapping_seed).tolist()  # a list: ten times faster
        self._cost = MOVE_COST / size

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int8], dict[str, Any]]:
        super().reset(seed=seed)
        self.row, self.column, self.treasure = 0, 0, False
        return self._observation(), {}

    def step(self, action: int) -> tuple[NDArray[np.int8], float, bool, bool, dict[str, Any]]:
        row, column, last = self.row, self.column, self.size - 1
        reward = 0.0
        if self.stochastic and row == last and column in (0, last):
            reward += float(self.np_random.standard_normal())
        if action == self._right[row][column]:
            reward -= self._cost
            if column == last:
                reward += 1.0
                self.treasure = True
            if column < last and not (self.stochastic and self.np_random.random() < 1 / self.size):
                self.column = column + 1
        elif column > 0:
            self.column = column - 1
        self.row = row + 1
        return self._observation(), reward, row == last, False, {}

    def _observation(self) -> NDArray[np.int8]:
        obs = np.zeros((self.size, self.size), dtype=np.int8)
        if self.row < self.size:
            obs[self.row, self.column] = 1
        return obs

    def render(self) -> NDArray[np.uint8]:
        """(H, W, 3): the grid, the treasure's corner and the agent."""
        picture = np.full((self.size, self.size, 3), (20, 60, 110), dtype=np.uint8)
        picture[-1, -1] = (230, 190, 50)
        picture[min(self.row, self.size - 1), self.column] = (240, 240, 240)
        cell = -(-RENDERED // self.size)
        return picture.repeat(cell, axis=0).repeat(cell, axis=1)


def state(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Signals: "state" (2,) int16, row (N after the last step) and column; "success" bool, treasure reached."""
    sea = env.unwrapped
    assert isinstance(sea, DeepSea)
    return {"state": np.array((sea.row, sea.column), dtype=np.int16), "success": np.bool_(sea.treasure)}
