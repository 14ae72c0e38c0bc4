"""Goals in the first room of Montezuma's Revenge: its entities (Kulkarni et al. 2016, section 4.2).

The paper finds them in the picture; here the console's memory says where the man is. ROOM, X and Y are known from Anand
et al. 2019 (AtariARI), SITUATION and THINGS were found in the emulator. tests/test_montezuma_goals.py plays to all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlkit.errors import SpecError
from rlkit.goals import require_signal
from rlkit.types import EnvSpec, Observation

WORLD = "ALE/montezuma_revenge"
SITUATION, ROOM, X, Y, THINGS = 2, 3, 42, 43, 66  # bytes of the memory
FIRST_ROOM = 1
PLAYING = (3, 4, 7)  # with a new thing, as usual, falling; else dying or paused (6), changing rooms (2), over (0, 5)
KEY_IN_PLACE = 1  # bit of THINGS; in the first room bits 2 and 3 are the right and the left door, shut
SCREEN = (160, 210)  # pixels (x, y); y grows downwards, unlike the memory's
MAN = (3, 318)  # the man's middle on the screen is (X + 3, 318 - Y)
NEAR = 9  # pixels between the man's middle and the place, as in the authors' code

# (x, y) where the man is at it, and its box on the screen, (left, top, right, bottom) with the last two excluded.
# Ladders are reached halfway, doors on the floor beside them, shut or open; the key has no place: it must be taken.
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
    """One goal an entity: the man at a door or halfway up a ladder, alive; the key taken.

    Nothing is achieved in other rooms, not the key either. Goals enter a network as masks over the frame, the entity's
    box. Raises SpecError for other games and without the signal "ram".
    """

    def __init__(self, spec: EnvSpec) -> None:
        if spec.world != WORLD:
            raise SpecError(
                f"goals montezuma-entities know {WORLD} alone, and this environment is {spec.world or 'unknown'}; "
                'give env.name = "atari" and env.game = "montezuma_revenge"'
            )
        require_signal(
            spec, "ram", 128, "goals montezuma-entities", 'give env.backend = "gymnasium" and env.signals = ["ram"]'
        )
        shape = spec.observation_space.shape
        assert shape is not None  # of pixels
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
    """(height, width): 1 in every pixel of the shrunk screen that the box touches."""
    left, top, right, bottom = box
    mask = np.zeros((height, width), np.float32)
    rows = slice(top * height // SCREEN[1], -(-bottom * height // SCREEN[1]))
    mask[rows, left * width // SCREEN[0] : -(-right * width // SCREEN[0])] = 1.0
    return mask
