"""A bonus as somebody else would write it: no line of rlkit knows of it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.exploration.bonus import BonusConfig
from rlkit.exploration.protocol import Bonus
from rlkit.replay import Column, Replay
from rlkit.seeding import Streams
from rlkit.types import EnvSpec, StepBatch, Window


class FarConfig(BonusConfig):
    scale: float = 0.5

    def columns(self) -> dict[str, Column]:
        return {"far": Column((), np.float32)}

    def build(self, spec: EnvSpec, streams: Streams, replay: Replay | None, warm_up: int) -> Bonus:
        return FarBonus(self.scale)


class FarBonus(Bonus):
    """Pays for distance from zero."""

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        return {"far": np.abs(step.after.obs.reshape(len(step.action), -1)).sum(1).astype(np.float32)}

    def add(self, reward: Tensor, window: Window) -> Tensor:
        return reward + self._scale * torch.as_tensor(window.extras["far"])
