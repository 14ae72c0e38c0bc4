"""When things are due, as pure functions of counters: nothing drifts, nothing depends on the number of environments."""

from __future__ import annotations

from fractions import Fraction


class Ratio:
    """Updates owed for steps taken: floor((env_steps - learning_starts) * updates_per_step) in total.

    The rate is an exact fraction of its decimal text, since in floats int(100 * 0.29) is 28.
    """

    def __init__(self, updates_per_step: float, learning_starts: int) -> None:
        self._learning_starts = learning_starts
        self._updates, self._steps = Fraction(str(updates_per_step)).as_integer_ratio()

    def total(self, env_steps: int) -> int:
        """How many updates a run of `env_steps` has made when none is owed any more."""
        return max(0, env_steps - self._learning_starts) * self._updates // self._steps


def crossed(period: int, before: int, after: int) -> bool:
    """Whether a multiple of `period` lies in (before, after]; a period of 0 never comes."""
    return period > 0 and after // period > before // period
