"""The moving balls of Dynamic-Obstacles. They draw from the random generators of their worlds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.minigrid_vector.codes import EMPTY
from envs.minigrid_vector.layouts import Layouts

TRIES = 100  # of the package; after as many, a ball stays where it is


def move_obstacles(
    layouts: Layouts, grid: NDArray[np.uint8], agent: int, balls: NDArray[np.int64], rng: np.random.Generator
) -> None:
    """Moves each ball of one world to a random free cell of the 3 x 3 around it, as `DynamicObstaclesEnv.step`.

    grid (columns, rows) and balls (K,) are changed; balls and the agent are indices into the flat grid.
    """
    width, height = layouts.env.width, layouts.env.height
    cells = grid.reshape(-1)
    for ball, place in enumerate(balls.tolist()):
        x, y = place // layouts.column - layouts.margin, place % layouts.column - layouts.margin
        left, top = max(x - 1, 0), max(y - 1, 0)
        for _ in range(TRIES):
            u = rng.integers(left, min(left + 3, width))
            v = rng.integers(top, min(top + 3, height))
            new = layouts.place((u, v))
            if cells[new] == EMPTY and new != agent:
                cells[new], cells[place] = cells[place], EMPTY
                balls[ball] = new
                break
