"""DeepSea: a treasure that only one of 2^N action sequences reaches, with the optimum known in closed form.

Osband et al. 2019 (Deep Exploration via Randomized Value Functions, section 4) as bsuite's `deep_sea` has it (Osband
et al. 2020): an N x N grid, entered at the upper left. Each of the N steps of an episode moves a row down and a column
left or right, stopping at the walls. Right costs 0.01 / N, left nothing; going right in the lower right corner pays 1.
Which of the two actions is "right" was drawn for each cell, so there is no "always the same action" to find by chance.

In the stochastic variant a step right fails with probability 1 / N (the column stays, the cost is paid), and a step
taken in the lower left or lower right corner adds N(0, 1) to its reward.

Deviations from bsuite (its value, then ours):
1. Mapping: NumPy's RandomState(mapping_seed) / PCG64(mapping_seed), top bits of its raw words, which no version of
   NumPy changes. bsuite's sweep fixes mapping_seed at 42, which is the default here; None, a mapping that nobody
   could draw again, is not offered.
2. Observation: float32 / int8 (MultiBinary) of the same zeros and ones; a quarter of the memory in a replay.
3. Optimum of the stochastic variant: (1 - 1/N)^(N-1) - 0.01, which is what going always right gets / that of the best
   policy, which stops paying for steps right once one has failed (see `optimal_return`).
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

MOVE_COST = 0.01  # of N steps right
RENDERED = 240  # pixels a side, at least


def treasure_probability(size: int, stochastic: bool = False) -> float:
    """How often the best policy reaches the treasure: each of N - 1 steps right must succeed; the last one need not."""
    return (1 - 1 / size) ** (size - 1) if stochastic else 1.0


def optimal_return(size: int, stochastic: bool = False) -> float:
    """The best policy's expected return of an episode.

    Deterministic: N steps right and the treasure, 1 - 0.01. Stochastic, with p = 1 - 1/N: the treasure with
    probability p^(N-1), less the cost of steps right, which are worth taking until the first failure: step k (from 0)
    is taken with probability p^k, so 0.01/N * (1 - p^N) / (1 - p) = 0.01 * (1 - p^N).
    """
    if not stochastic:
        return 1.0 - MOVE_COST
    success = 1 - 1 / size
    return treasure_probability(size, stochastic) - MOVE_COST * (1 - success**size)


def solved_return(size: int) -> float:
    """Halfway between the least return with the treasure and the greatest without, in the deterministic variant.

    Only N steps right reach the treasure, so that return is 0.99; without it no return exceeds 0. In the stochastic
    variant a return tells nothing, for its noise has a standard deviation of 1: count the signal "success".
    """
    return optimal_return(size) / 2


def action_mapping(size: int, mapping_seed: int) -> NDArray[np.int64]:
    """(N, N): the action, 0 or 1, that means "right" in each cell; fair coins."""
    raw = np.random.PCG64(mapping_seed).random_raw(size * size)
    return (raw >> np.uint64(63)).astype(np.int64).reshape(size, size)


class DeepSea(gym.Env[NDArray[np.int8], Any]):
    """See the module. Observations (N, N) int8: one where the diver is, all zeros after the last step.

    Raises ValueError for a size below 2 and a negative mapping seed.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012  as Gymnasium has it

    def __init__(
        self, size: int = 10, stochastic: bool = False, mapping_seed: int = 42, render_mode: str | None = None
    ) -> None:
        if size < 2:
            raise ValueError(f"size must be at least 2, not {size}")
        if mapping_seed < 0:
            raise ValueError(f"mapping_seed must be 0 or more, not {mapping_seed}")
        self.size = size
        self.stochastic = stochastic
        self.max_steps = size  # its own time limit, found by the plug-in; the last step terminates
        self.render_mode = render_mode
        self.observation_space = spaces.MultiBinary((size, size))
        self.action_space = spaces.Discrete(2)
        self.row = 0
        self.column = 0
        self.treasure = False  # reached in this episode
        self._right: list[list[int]] = action_mapping(size, mapping_seed).tolist()  # lists: ten times as fast to read
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
        """(H, W, 3): the sea, the treasure's corner, the diver."""
        picture = np.full((self.size, self.size, 3), (20, 60, 110), dtype=np.uint8)
        picture[-1, -1] = (230, 190, 50)
        picture[min(self.row, self.size - 1), self.column] = (240, 240, 240)
        cell = -(-RENDERED // self.size)
        return picture.repeat(cell, axis=0).repeat(cell, axis=1)


def state(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Signals: "state" (2,) int16, row (N after the last step) and column; "success" bool, the treasure was reached."""
    sea = env.unwrapped
    assert isinstance(sea, DeepSea)
    return {"state": np.array((sea.row, sea.column), dtype=np.int16), "success": np.bool_(sea.treasure)}
