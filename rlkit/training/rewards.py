"""Notices that rewards have told the agent nothing yet."""

from __future__ import annotations

from rlkit.types import State, StepBatch


class RewardWatch:
    """Whether some behaviour was rewarded differently from another so far.

    Equal rewards say nothing, except where episodes terminate: then their sum says how long an episode was.
    """

    def __init__(self) -> None:
        self._value: float | None = None  # of all rewards so far
        self.differs = False
        self.said = False  # a note is written once in a run

    def add(self, step: StepBatch) -> None:
        if self.differs:
            return
        if self._value is None:
            self._value = float(step.reward[0])
        self.differs = bool((step.reward != self._value).any()) or (self._value != 0 and bool(step.terminated.any()))

    def note(self, env_steps: int) -> str:
        """What to say after `env_steps`; it is said once."""
        self.said = True
        return f"all rewards of the first {env_steps:,} steps are {self._value:g}: there is nothing to learn from yet"

    def state_dict(self) -> State:
        said = self.said and not self.differs  # afterwards it does not matter, and a longer run may not have said it
        return {"value": self._value, "differs": self.differs, "said": said}

    def load_state_dict(self, state: State) -> None:
        self._value, self.differs, self.said = state["value"], state["differs"], state["said"]
