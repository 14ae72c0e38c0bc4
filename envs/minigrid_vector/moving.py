"""The moving balls of Dynamic-Obstacles. They draw from the random generators of their worlds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.minigrid_vector.codes import EMPTY

TRIES = 101  # of the package's place_obj(max_tries=100); after as many, a ball stays where it is


def move_obstacles(cells: NDArray[np.uint8], column: int, agent: int, balls: NDArray[np.int64], rng: Any) -> None:
    """Moves each ball of one world to a random free cell of the 3 x 3 around it, as `DynamicObstaclesEnv.step`.

    cells (columns * rows,) and balls (K,) are changed; balls and the agent are indices into the cells.
    """
    for ball, place in enumerate(balls.tolist()):
        corner = place - column - 1
        for _ in range(TRIES):
            new = corner + rng.integers(0, 3) * column
            new += rng.integers(0, 3)
            if cells[new] == EMPTY and new != agent:
                cells[new], cells[place] = cells[place], EMPTY
                balls[ball] = new
                break
