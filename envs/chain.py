"""The stochastic chain of the h-DQN paper, of any length, with the optimal return in closed form at any epsilon.

Kulkarni et al. 2016, section 4.1: states s1 .. sL in a row (L = 6), an episode starts in s2 and ends in s1. "Left"
always moves left; "right" moves right half the time and left otherwise. Reaching s1 pays 1 if sL was visited in the
episode, else 1/100. The observation is the current state alone, so the reward depends on a past that is not shown.

What the paper leaves open (then its authors' code, then ours):
1. "Right" in sL, when it succeeds: not stated / stays in sL / stays in sL.
2. Time limit: none / 100 steps / 1000 steps (Gymnasium's `max_episode_steps` changes it), which pays nothing.
3. The small reward: 1/100 / 0, by the integer division of Python 2 / 1/100.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

LEFT, RIGHT = 0, 1
START = 1  # s2; states count from 0 here
SMALL_REWARD = 0.01  # at the left end, where the right end was not visited
CELL = 48  # pixels of a state in a picture


def end_probability(length: int = 6, epsilon: float = 0.0) -> float:
    """How often "right until sL" visits sL when each action is uniformly random with probability `epsilon`.

    A step goes right with p = 1/2 - epsilon/4, left with q = 1 - p: a gambler who starts one step above ruin and wants
    L - 1 reaches it with probability (1 - q/p) / (1 - (q/p)^(L-1)), which is 1 / (L-1) for p = 1/2.
    """
    odds = (0.5 + epsilon / 4) / (0.5 - epsilon / 4)
    return 1 / (length - 1) if odds == 1 else (1 - odds) / (1 - odds ** (length - 1))


def optimal_return(length: int = 6, epsilon: float = 0.0) -> float:
    """The best expected return without a time limit where each action is uniformly random with probability `epsilon`.

    Before sL only going right raises the chance to visit it, and afterwards every way ends in s1, so "right until sL,
    then anything" is best: P + (1 - P) / 100 with P = `end_probability`. For L = 6: 0.2080, and 0.1705 at epsilon 0.1.
    """
    probability = end_probability(length, epsilon)
    return probability + (1 - probability) * SMALL_REWARD


class Chain(gym.Env[np.int64, Any]):
    """See the module. Observations Discrete(length): 0 for s1; actions 0 left, 1 right.

    Raises ValueError for a length below 3, where start and right end would be one.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012  as Gymnasium has it

    def __init__(self, length: int = 6, render_mode: str | None = None) -> None:
        if length < 3:
            raise ValueError(f"length must be at least 3, not {length}")
        self.length = length
        self.render_mode = render_mode
        self.observation_space = spaces.Discrete(length)
        self.action_space = spaces.Discrete(2)
        self.place = START
        self.visited_end = False  # in this episode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.visited_end = START, False
        return np.int64(self.place), {}

    def step(self, action: int) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        succeeds = action == RIGHT and self.np_random.random() < 0.5
        self.place = min(self.place + 1, self.length - 1) if succeeds else self.place - 1
        self.visited_end |= self.place == self.length - 1
        terminated = self.place == 0
        reward = (1.0 if self.visited_end else SMALL_REWARD) if terminated else 0.0
        return np.int64(self.place), reward, terminated, False, {}

    def render(self) -> NDArray[np.uint8]:
        """(H, W, 3): the states in a row, s1 at the left, the right end bright once visited, the agent white."""
        picture = np.full((1, self.length, 3), (40, 40, 48), dtype=np.uint8)
        picture[0, 0] = (120, 60, 60)
        picture[0, -1] = (230, 190, 50) if self.visited_end else (110, 95, 40)
        picture[0, self.place] = (240, 240, 240)
        return picture.repeat(CELL, axis=0).repeat(CELL, axis=1)


def state(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Signals: "state" (2,) int16, the state (0: s1) and whether sL was visited; "success" bool, the latter alone."""
    chain = env.unwrapped
    assert isinstance(chain, Chain)
    return {
        "state": np.array((chain.place, chain.visited_end), dtype=np.int16),
        "success": np.bool_(chain.visited_end),
    }
