"""Conversions of observations to float32 values, entry by entry: scaling, standardising, one-hot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

LARGEST_BOUND = 1e6  # some environments give the largest float as bound where there is none


class Scaled(nn.Module):
    """(x - shift) * factor in float32; without either a conversion to float32."""

    def __init__(self, shift: NDArray[Any] | None = None, factor: NDArray[Any] | float = 1.0) -> None:
        super().__init__()
        self.shift: Tensor | None
        self.factor: Tensor | None
        trivial = isinstance(factor, float) and factor == 1.0
        # Not persistent: the observation space determines them.
        self.register_buffer("shift", None if shift is None else _float32(shift), persistent=False)
        self.register_buffer("factor", None if trivial else _float32(factor), persistent=False)

    def forward(self, obs: Tensor) -> Tensor:
        values = obs.to(torch.float32)
        if self.shift is not None:
            values = values - self.shift
        return values if self.factor is None else values * self.factor


Rule: TypeAlias = Callable[
    [NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]
]
"""(mean, deviation, unit) of each entry, (size,) each -> (what is subtracted, what it is then divided by)."""

MOST = 3.0  # units that mean and deviation of an entry may have
LEAST = 0.01  # a deviation of fewer units counts as one


def tamed(
    mean: NDArray[np.float64], deviation: NDArray[np.float64], unit: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Divides by the unit; makes a mean of more than MOST units 0, and a deviation of more than MOST units MOST."""
    divisor = np.maximum(unit, deviation / MOST)
    return np.where(np.abs(mean) > MOST * divisor, mean, 0.0), divisor


def standardised(
    mean: NDArray[np.float64], deviation: NDArray[np.float64], unit: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Subtracts the mean and divides by the deviation.

    An entry that hardly changes while it is measured must not become huge when it changes later: a deviation of fewer
    than LEAST units counts as one unit.
    """
    return mean, np.where(deviation < LEAST * unit, unit, deviation)


class Measured(nn.Module):
    """(x - shift) * factor in float32, for each entry of a vector (B, size); both follow from `measure`.

    start: (shift, factor) until then; left out: each entry is divided by its unit, which is half its range where this
    is below 1, else 1. Both are saved with the parameters.
    """

    def __init__(
        self,
        space: gym.spaces.Box,
        rule: Rule,
        start: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> None:
        super().__init__()
        self._rule = rule
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        varies = bounded(space) & (high > low)
        with np.errstate(over="ignore", invalid="ignore"):  # of bounds that are infinite
            self._unit = np.where(varies, np.minimum((high - low) / 2, 1.0), 1.0)  # (size,)
        self.shift: Tensor
        self.factor: Tensor
        shift, factor = (np.zeros(space.shape), 1.0 / self._unit) if start is None else start
        self.register_buffer("shift", _float32(shift))
        self.register_buffer("factor", _float32(factor))

    def measure(self, obs: Tensor) -> None:
        """Fixes shift and factor by the mean and the deviation of the observations (K, size)."""
        values = obs.cpu().numpy()
        shift, divisor = self._rule(values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64), self._unit)
        self.shift.copy_(_float32(shift))
        self.factor.copy_(_float32(1.0 / divisor))

    def forward(self, obs: Tensor) -> Tensor:
        return (obs.to(torch.float32) - self.shift) * self.factor


class OneHot(nn.Module):
    """Numbers along the last axis, (..., k), as k concatenated one-hot vectors, (..., sum(sizes)).

    Number i takes the values starts[i] .. starts[i] + sizes[i] - 1; any other value gives zeros. It compares instead of
    scattering, since a scatter would check the values first, which synchronises with the GPU.
    """

    def __init__(self, sizes: Sequence[int], starts: Sequence[int] | None = None) -> None:
        super().__init__()
        starts = starts or [0] * len(sizes)
        column = [i for i, size in enumerate(sizes) for _ in range(size)]
        code = [start + j for size, start in zip(sizes, starts, strict=True) for j in range(size)]
        self.column: Tensor
        self.code: Tensor
        self.register_buffer("column", torch.tensor(column), persistent=False)
        self.register_buffer("code", torch.tensor(code), persistent=False)

    def forward(self, obs: Tensor) -> Tensor:
        return (obs.index_select(-1, self.column) == self.code).to(torch.float32)


class Flattened(nn.Module):
    """`inner` of the entries of any shape as one vector."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, obs: Tensor) -> Tensor:
        out: Tensor = self.inner(obs.flatten(1))
        return out


def bounded(space: gym.spaces.Box) -> NDArray[np.bool_]:
    """Which entries of a Box have two bounds within LARGEST_BOUND; shaped like the space."""
    within: NDArray[np.bool_] = np.maximum(np.abs(space.low), np.abs(space.high)) <= LARGEST_BOUND
    return within


def is_bounded(space: gym.spaces.Box) -> bool:
    """Whether all entries are bounded."""
    return bool(bounded(space).all())


def by_bounds(space: gym.spaces.Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(shift, factor) that scale a bounded space to [-1, 1]; an entry that cannot change becomes 0."""
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    return (low + high) / 2, 1.0 / np.where(high > low, (high - low) / 2, 1.0)


def _float32(values: NDArray[Any] | float) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float32))
