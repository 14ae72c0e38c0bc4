"""A bonus of somebody else's, whose answers are compared with what its config declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rlkit.errors import ConfigError
from rlkit.exploration.protocol import Bonus, BonusAround
from rlkit.replay import Column
from rlkit.types import StepBatch, Window


class CheckedBonus(BonusAround):
    """The same bonus; a column or reward of another shape or kind than declared raises ConfigError with its name.

    Without the check it would be broadcast in silence, or end in an error of NumPy or torch somewhere else.
    """

    def __init__(self, bonus: Bonus, name: str, columns: Mapping[str, Column]) -> None:
        super().__init__(bonus)
        self._name = name
        self._columns = columns

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        found: Any = self.bonus.observe(step)
        if not isinstance(found, Mapping) or found.keys() != self._columns.keys():
            what = sorted(found) if isinstance(found, Mapping) else type(found).__name__
            raise self._wrong(f"observe returned {what}; its config declares the columns {sorted(self._columns)}")
        for name, column in self._columns.items():
            value, expected = np.asarray(found[name]), (len(step.action), *column.shape)
            if value.shape != expected or not np.can_cast(value.dtype, column.dtype, "same_kind"):
                raise self._wrong(
                    f"observe returned the column {name!r} as {value.shape} {value.dtype}; expected "
                    f"{expected} {np.dtype(column.dtype)}, one row for each environment"
                )
        return dict(found)

    def add(self, reward: Tensor, window: Window) -> Tensor:
        paid: Any = self.bonus.add(reward, window)
        if not isinstance(paid, Tensor) or paid.shape != reward.shape or paid.dtype != reward.dtype:
            kind = type(paid).__name__
            what = f"a tensor {tuple(paid.shape)} {paid.dtype}" if isinstance(paid, Tensor) else f"a {kind}"
            raise self._wrong(
                f"add returned {what}; expected the rewards with the bonus, {tuple(reward.shape)} {reward.dtype}"
            )
        return paid

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(f"agent.bonus ({self._name}): {what}")
