"""When updates, logs and checkpoints are due, as pure functions of counters."""

from __future__ import annotations

from fractions import Fraction


class Ratio:
    """The number of updates for a number of steps: floor((env_steps - learning_starts) * updates_per_step).

    The rate is the exact fraction of its decimal text, because int(100 * 0.29) is 28 in floats.
    """

    def __init__(self, updates_per_step: float, learning_starts: int) -> None:
        self._learning_starts = learning_starts
        self._updates, self._steps = Fraction(str(updates_per_step)).as_integer_ratio()

    def total(self, env_steps: int) -> int:
        """The number of updates that are due in total after `env_steps`."""
        return max(0, env_steps - self._learning_starts) * self._updates // self._steps


def crossed(period: int, before: int, after: int) -> bool:
    """Whether a multiple of `period` lies in (before, after]; never for a period of 0."""
    return period > 0 and after // period > before // period
