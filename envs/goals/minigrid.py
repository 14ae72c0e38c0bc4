"""Goal spaces for MiniGrid: interactions with objects, or cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from minigrid.core.constants import OBJECT_TO_IDX, STATE_TO_IDX
from numpy.typing import NDArray

from rlkit.errors import SpecError
from rlkit.goals import one_hot, require_signal
from rlkit.types import EnvSpec, Observation

CARRIED, STOOD_ON = ("key", "ball", "box"), ("goal", "lava")
STATE = 'give env.signals = "envs.minigrid:state", or ["state"] with env.name = "minigrid"'
SITUATION = 'give env.signals = "envs.minigrid:situation", or ["state", "standing"] with env.name = "minigrid"'


class Objects:
    """One goal per kind of object.

    A key, ball or box is achieved while the agent carries one, a door while any door is open, and the goal square or
    lava while the agent stands on it.
    """

    def __init__(self, spec: EnvSpec, objects: Sequence[str] = ("key", "door", "goal")) -> None:
        require_signal(spec, "state", 17, "goals minigrid-objects", SITUATION)
        require_signal(spec, "standing", 1, "goals minigrid-objects", SITUATION)
        known = (*CARRIED, "door", *STOOD_ON)
        if unknown := [name for name in objects if name not in known]:
            raise SpecError(f"goals minigrid-objects: {unknown} not known; there are {', '.join(known)}")
        self.names = list(objects)

    def achieved(self, observation: Observation) -> NDArray[np.bool_]:
        state, standing = observation.signals["state"], observation.signals["standing"][:, 0]  # (N, 17), (N,)
        columns = []
        for name in self.names:
            if name == "door":
                columns.append((state[:, 5:] == STATE_TO_IDX["open"]).any(1))
            else:
                columns.append((state[:, 3] if name in CARRIED else standing) == OBJECT_TO_IDX[name])
        return np.stack(columns, axis=1)

    def encode(self, goal: NDArray[np.int64]) -> NDArray[np.float32]:
        return one_hot(goal, len(self.names))


class Cells:
    """One goal per cell (x, y). A goal is achieved while the agent is in its cell.

    encoding: "one-hot" or "mask". A mask is a channel over the observation that is 1 in the cell. It requires an
    observation of the whole grid, whose axes are x and y (minigrid.wrappers:FullyObsWrapper).
    """

    def __init__(
        self, spec: EnvSpec, cells: Sequence[Sequence[int]], encoding: Literal["one-hot", "mask"] = "one-hot"
    ) -> None:
        require_signal(spec, "state", 2, "goals minigrid-cells", STATE)
        whole = all(isinstance(number, int) and number >= 0 for cell in cells for number in cell)
        if encoding not in ("one-hot", "mask") or not whole or any(len(cell) != 2 for cell in cells):
            raise SpecError(
                f"goals minigrid-cells: cells {list(cells)} must be pairs [x, y] of non-negative integers, "
                'encoding "one-hot" or "mask"'
            )
        self.names = [f"{x}-{y}" for x, y in cells]
        self._cells = np.array(cells, np.int64).reshape(-1, 2)  # (G, 2)
        self._codes = np.eye(len(cells), dtype=np.float32)  # (G, G) or (G, W, H)
        if encoding == "mask":
            shape = spec.observation_space.shape
            if shape is None or len(shape) != 3 or (self._cells >= shape[:2]).any():
                raise SpecError(f"goals minigrid-cells: masks need images that contain all cells, not {shape}")
            self._codes = np.zeros((len(cells), *shape[:2]), np.float32)
            self._codes[np.arange(len(cells)), self._cells[:, 0], self._cells[:, 1]] = 1.0

    def achieved(self, observation: Observation) -> NDArray[np.bool_]:
        here: NDArray[np.bool_] = (observation.signals["state"][:, None, :2] == self._cells).all(2)
        return here

    def encode(self, goal: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._codes[goal]
