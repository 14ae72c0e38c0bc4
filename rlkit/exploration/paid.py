"""What every kind of bonus can have: a standard deviation that it is scaled to, and an end when the task is solved."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from rlkit.config.model import Model
from rlkit.exploration.moments import RunningMoments
from rlkit.exploration.protocol import Bonus, BonusAround
from rlkit.types import Metrics, State, StepBatch, Window


class UntilConfig(Model):
    """The table `until`: the bonus ends when the task is solved in training."""

    success: float = Field(
        0.95,
        gt=0.0,
        le=1.0,
        description='Share of the newest episodes that end with the signal "success", at which paying ends for good.',
    )
    episodes: int = Field(100, ge=1, description="Number of the newest episodes, over all environments.")


class PaidBonus(BonusAround):
    """A bonus that is scaled to a standard deviation, or is paid until enough of the newest episodes succeed.

    The deviation is over the bonuses of all steps that were learned from so far, those of this call included.
    """

    def __init__(self, bonus: Bonus, deviation: float | None, until: UntilConfig | None) -> None:
        super().__init__(bonus)
        self._deviation = deviation
        self._moments = RunningMoments()
        self._until = until
        self._outcomes: NDArray[np.bool_] = np.zeros(0, np.bool_)  # of the newest episodes, at most until.episodes
        self.solved = False  # from then on nothing is paid

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        if self._until is not None and not self.solved and step.ended.any():
            outcomes = step.after.signals["success"][step.ended].astype(np.bool_)
            self._outcomes = np.concatenate((self._outcomes, outcomes))[-self._until.episodes :]
            enough = len(self._outcomes) == self._until.episodes
            self.solved = enough and float(self._outcomes.mean()) >= self._until.success
        return self.bonus.observe(step)

    def add(self, reward: Tensor, window: Window) -> Tensor:
        if self.solved:
            return reward
        paid = self.bonus.add(torch.zeros_like(reward), window)  # (B, n)
        if self._deviation is None:
            return reward + paid
        counted = torch.arange(paid.shape[1], device=paid.device) < window.steps[:, None].to(paid.device)
        self._moments.update(paid[counted].cpu().numpy())
        return reward + paid * self._scale

    @property
    def _scale(self) -> float:
        return 1.0 if self._deviation is None else self._deviation / float(self._moments.deviation)

    def gauges(self) -> Metrics:
        readings: dict[str, Any] = dict(self.bonus.gauges())
        if self._deviation is not None:
            readings["explore/bonus_scale"] = self._scale
        if self._until is not None:
            readings["explore/paying"] = float(not self.solved)
        return readings

    def state_dict(self) -> State:
        return {
            "bonus": self.bonus.state_dict(),
            "moments": self._moments.state_dict(),
            "outcomes": self._outcomes,
            "solved": self.solved,
        }

    def load_state_dict(self, state: State) -> None:
        self.bonus.load_state_dict(state["bonus"])
        self._moments.load_state_dict(state["moments"])
        self._outcomes, self.solved = state["outcomes"].copy(), bool(state["solved"])
