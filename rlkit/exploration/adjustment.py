"""Adjustments of action values: optimism and masks, applied before choosing and bootstrapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Values = TypeVar("Values", NDArray[np.float32], Tensor)


@dataclass(frozen=True, slots=True)
class Adjustment(Generic[Values]):
    """Maps values (B, A) to ``values * keep + added``; without `keep`, to ``values + added``."""

    added: Values  # (B, A)
    keep: Values | None = None  # (B, A)

    def __call__(self, values: Values) -> Values:
        """(B, A) for values (B, A)."""
        return values + self.added if self.keep is None else values * self.keep + self.added


def mask(allowed: NDArray[np.bool_]) -> Adjustment[NDArray[np.float32]]:
    """Sets the value of every choice that is not `allowed` (B, A) to -inf."""
    return Adjustment(np.where(allowed, np.float32(0.0), np.float32(-np.inf)))


def on_device(adjustment: Adjustment[NDArray[np.float32]], device: torch.device) -> Adjustment[Tensor]:
    """The same adjustment as tensors on `device`."""

    def moved(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(device, non_blocking=True)

    return Adjustment(moved(adjustment.added), None if adjustment.keep is None else moved(adjustment.keep))
