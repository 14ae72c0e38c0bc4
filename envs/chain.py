"""The stochastic chain of the h-DQN paper (Kulkarni et al. 2016, section 4.1), of any length.

The states s1 .. sL form a row, with L = 6 in the paper. An episode starts in s2 and ends in s1. The action "left" moves
left. The action "right" moves right with probability 1/2, and left otherwise. Reaching s1 pays 1 if sL was visited in
the episode, and 1/100 otherwise. The observation is the current state only, so the environment is partially observable.

Details in the paper, in the authors' code, and in this module:
1. "Right" in sL, when it succeeds. The paper does not define it. The authors' code stays in sL, and so does this
   module.
2. Time limit. The paper states none, and the authors' code uses 100 steps. This module uses 1000 steps, which
   Gymnasium's `max_episode_steps` can change. Reaching the limit pays nothing.
3. Small reward. The paper states 1/100. The authors' code pays 0 because of integer division in Python 2. This module
   pays 1/100.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

LEFT, RIGHT = 0, 1
START = 1  # s2; states are numbered from 0 here
SMALL_REWARD = 0.01  # at the left end if the right end was not visited
CELL = 48  # pixels per state in a picture


def end_probability(length: int = 6, epsilon: float = 0.0) -> float:
    """Probability that the policy "right until sL" visits sL if each action is random with probability `epsilon`.

    A step goes right with probability p = 1/2 - epsilon/4 and left with q = 1 - p. This is the gambler's ruin problem:
    the probability of reaching L - 1 from 1 before 0 is (1 - q/p) / (1 - (q/p)^(L-1)), which is 1 / (L-1) for p = 1/2.
    """
    odds = (0.5 + epsilon / 4) / (0.5 - epsilon / 4)
    return 1 / (length - 1) if odds == 1 else (1 - odds) / (1 - odds ** (length - 1))


def optimal_return(length: int = 6, epsilon: float = 0.0) -> float:
    """Optimal expected return without a time limit if each action is uniformly random with probability `epsilon`.

    Before sL is visited, only going right makes a visit more likely. Afterwards every policy ends in s1. So the policy
    "right until sL, then anything" is optimal, and its return is P + (1 - P) / 100 with P = `end_probability`. For L =
    6 this is 0.2080, and 0.1705 with epsilon = 0.1.
    """
    probability = end_probability(length, epsilon)
    return probability + (1 - probability) * SMALL_REWARD


class Chain(gym.Env[np.int64, Any]):
    """The environment described in the module's docstring.

    Observations are Discrete(length), with 0 for s1. The actions are 0 (left) and 1 (right). Raises ValueError if
    `length` is below 3, because the start would then be the right end.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012  as in Gymnasium

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
        """(H, W, 3): the states in a row with s1 on the left. The agent is white, a visited right end bright."""
        picture = np.full((1, self.length, 3), (40, 40, 48), dtype=np.uint8)
        picture[0, 0] = (120, 60, 60)
        picture[0, -1] = (230, 190, 50) if self.visited_end else (110, 95, 40)
        picture[0, self.place] = (240, 240, 240)
        return picture.repeat(CELL, axis=0).repeat(CELL, axis=1)


def state(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Signals: "state" (2,) int16, the state (0: s1) and whether sL was visited; "success" bool, sL was visited."""
    chain = env.unwrapped
    assert isinstance(chain, Chain)
    return {
        "state": np.array((chain.place, chain.visited_end), dtype=np.int16),
        "success": np.bool_(chain.visited_end),
    }
