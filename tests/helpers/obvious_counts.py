"""What steps pay with a bonus for their successors, by the obvious counting."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from rlkit.types import Observation, StepBatch


class ObviousCounts:
    """A counter of the whole run, and one of the running episode of each environment."""

    def __init__(self, num_envs: int, beta: float, episodic: str, clip: float) -> None:
        self.lifelong: Counter[bytes] = Counter()
        self._episodes: list[Counter[bytes]] = [Counter() for _ in range(num_envs)]
        self._beta, self._episodic, self._clip = beta, episodic, clip
        self._steps: list[tuple[float, bytes, float, int]] = []  # clipped reward, successor, then its bonus, and n_e

    def add(self, before: Observation, step: StepBatch) -> None:
        """Counts a step of all environments."""
        first, old, new = (list(rows) for rows in (before.first, _codes(before.obs), _codes(step.after.obs)))
        for e in np.flatnonzero(first):
            self._episodes[e] = Counter([old[e]])
            self.lifelong[old[e]] += 1
        self.lifelong.update(new)
        for e, code in enumerate(new):
            self._episodes[e][code] += 1
            n = self._episodes[e][code]
            reward = float(np.clip(step.reward[e], -self._clip, self._clip))
            self._steps.append((reward, code, self._bonus(code, n), n))

    def rewards(self, *, now: bool) -> NDArray[np.float64]:
        """Of the steps since the last call, the clipped rewards and bonuses, by the counts of now or of each step."""
        rows, self._steps = self._steps, []
        return np.array([reward + (self._bonus(code, n) if now else then) for reward, code, then, n in rows])

    def _bonus(self, code: bytes, n: int) -> float:
        factor = {"none": 1.0, "first": float(n == 1), "count": n**-0.5}[self._episodic]
        return self._beta * float(self.lifelong[code] ** -0.5) * factor


def _codes(obs: NDArray[np.generic]) -> list[bytes]:
    return [row.tobytes() for row in obs]
