"""When things are due, as pure functions of counters: nothing drifts, nothing depends on the number of environments."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Ratio:
    """Updates owed for steps taken: floor((env_steps - learning_starts) * updates_per_step) in total.

    The rate is an exact fraction of its decimal text, since in floats int(100 * 0.29) is 28.
    """

    updates_per_step: float
    learning_starts: int

    def total(self, env_steps: int) -> int:
        """How many updates a run of `env_steps` has made when none is owed any more."""
        steps = max(0, env_steps - self.learning_starts)
        return int(steps * Fraction(str(self.updates_per_step)))


def crossed(period: int, before: int, after: int) -> bool:
    """Whether a multiple of `period` lies in (before, after]; a period of 0 never comes."""
    return period > 0 and after // period > before // period
