"""Goal space for the first room of Montezuma's Revenge: its entities (Kulkarni et al. 2016, section 4.2).

The paper detects entities in the picture. This module reads the man's position from the console's memory. ROOM, X and Y
are taken from Anand et al. 2019 (AtariARI); SITUATION and THINGS were determined with the emulator.
tests/envs/test_montezuma_goals.py reaches every goal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlkit.errors import SpecError
from rlkit.goals import require_signal
from rlkit.types import EnvSpec, Observation

WORLD = "ALE/montezuma_revenge"
SITUATION, ROOM, X, Y, THINGS = 2, 3, 42, 43, 66  # indices of bytes in the memory
FIRST_ROOM = 1
# SITUATION while the man is alive: object just taken, normal, falling. The other values are 6 (dying or paused), 2
# (changing rooms), 0 and 5 (game over).
PLAYING = (3, 4, 7)
KEY_IN_PLACE = 1  # bit of THINGS; in the first room bits 2 and 3 mean that the right and the left door are shut
SCREEN = (160, 210)  # pixels (x, y); y points down, but up in the memory
MAN = (3, 318)  # the centre of the man on the screen is (X + 3, 318 - Y)
NEAR = 9  # maximum distance in pixels between the man's centre and the place, as in the authors' code

# PLACES: the point (x, y) that the man must be near. It is halfway up a ladder, or on the floor beside a door, open or
# shut. The key has no such point, because it must be taken.
# BOXES: each entity's box on the screen, (left, top, right, bottom), with right and bottom exclusive.
PLACES: dict[str, tuple[int, int]] = {
    "top-left-door": (22, 83),
    "top-right-door": (138, 83),
    "middle-ladder": (80, 116),
    "bottom-left-ladder": (24, 160),
    "bottom-right-ladder": (136, 160),
}
BOXES: dict[str, tuple[int, int, int, int]] = {
    "top-left-door": (20, 54, 24, 91),
    "top-right-door": (136, 54, 140, 91),
    "middle-ladder": (72, 96, 88, 136),
    "bottom-left-ladder": (20, 139, 32, 180),
    "bottom-right-ladder": (128, 139, 140, 180),
    "key": (13, 99, 20, 114),
}


class Entities:
    """One goal per entity.

    A door or ladder is achieved while the man is alive and near its place. The key is achieved once it is taken. In
    other rooms no goal is achieved, including the key. The network receives a goal as a mask over the frame, which is 1
    in the entity's box. Raises SpecError for other games, and if the signal "ram" is missing.
    """

    def __init__(self, spec: EnvSpec) -> None:
        if spec.world != WORLD:
            raise SpecError(
                f"goals montezuma-entities support {WORLD} only, and this environment is {spec.world or 'unknown'}; "
                'give env.name = "atari" and env.game = "montezuma_revenge"'
            )
        require_signal(
            spec, "ram", 128, "goals montezuma-entities", 'give env.backend = "gymnasium" and env.signals = ["ram"]'
        )
        shape = spec.observation_space.shape
        assert shape is not None  # a Box of pixels
        self.names = [*BOXES]
        self._places = np.array([*PLACES.values()], np.int64)  # (G - 1, 2): all but the key
        self._masks = np.stack([_mask(box, shape[-2], shape[-1]) for box in BOXES.values()])  # (G, H, W)

    def achieved(self, observation: Observation) -> NDArray[np.bool_]:
        ram = observation.signals["ram"].astype(np.int64)  # (N, 128)
        man = np.stack((MAN[0] + ram[:, X], MAN[1] - ram[:, Y]), axis=1)  # (N, 2)
        distance = ((man[:, None] - self._places) ** 2).sum(2)  # (N, G - 1)
        alive = np.isin(ram[:, SITUATION], PLAYING)  # (N,)
        taken = (ram[:, THINGS] & KEY_IN_PLACE) == 0  # (N,)
        first_room = ram[:, ROOM] == FIRST_ROOM  # (N,)
        there: NDArray[np.bool_] = np.column_stack((distance < NEAR**2 * alive[:, None], taken)) & first_room[:, None]
        return there

    def encode(self, goal: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._masks[goal]


def _mask(box: tuple[int, int, int, int], height: int, width: int) -> NDArray[np.float32]:
    """(height, width): 1 in every pixel of the downscaled screen that overlaps the box."""
    left, top, right, bottom = box
    mask = np.zeros((height, width), np.float32)
    rows = slice(top * height // SCREEN[1], -(-bottom * height // SCREEN[1]))
    mask[rows, left * width // SCREEN[0] : -(-right * width // SCREEN[0])] = 1.0
    return mask
