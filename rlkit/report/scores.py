"""Aggregate scores with stratified bootstrap intervals, using rliable (Agarwal et al. 2021, arXiv:2108.13264).

Scores are (runs, tasks): a resample draws runs with replacement within each task. A comparison resamples each side
independently. Every interval is the 95% percentile interval; intervals are deterministic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit import extras
from rlkit.training.evaluation import iqm

Scores = NDArray[np.float64]  # (runs, tasks), or (runs, tasks, points) for curves
RESAMPLES = 2000
FEWEST_RUNS = 3  # for an interval: two seeds give no useful estimate of the spread


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic with its 95% interval; no interval from fewer than three runs."""

    value: float
    low: float | None = None
    high: float | None = None

    def text(self, digits: int = 2) -> str:
        interval = "" if self.low is None or self.high is None else f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return f"{self.value:.{digits}f}{interval}"


def needed(module: str, what: str) -> Any:
    """Imports a module of the extra `report`. Raises ConfigError with the command that installs it."""
    return extras.needed(module, what, "report")


@cache
def bootstraps() -> tuple[Any, Any]:
    """rliable's two bootstraps, with a generator of their own.

    rliable 1.2.0 ignores its seed and draws from NumPy's global generator, so its intervals cannot be repeated.
    """
    library = needed("rliable.library", "an interval")

    class Stratified(library.StratifiedBootstrap):  # type: ignore[misc, name-defined]
        def update_indices(self) -> tuple[Any, ...]:
            return (self.generator.integers(self._num_items, size=self._args_shape), *self._strata_indices)

    class Independent(library.StratifiedIndependentBootstrap):  # type: ignore[misc, name-defined]
        def _get_indices(self, num_runs: int, array_shape: tuple[int, ...], strata_indices: Any) -> tuple[Any, ...]:
            return (self.generator.integers(num_runs, size=array_shape), *strata_indices)

    return Stratified, Independent


def interval(statistic: Callable[..., Any], *sides: Scores) -> NDArray[np.float64]:
    """(2, statistics): lower and upper bounds of what `statistic` returns for the sides, each (runs, tasks, ...)."""
    stratified, independent = bootstraps()
    bootstrap = (stratified if len(sides) == 1 else independent)(*sides, seed=0)
    bounds: NDArray[np.float64] = bootstrap.conf_int(statistic, reps=RESAMPLES, size=0.95, method="percentile")
    return bounds


def estimates(statistic: Callable[..., Any], *sides: Scores) -> list[Estimate]:
    """Each statistic of the sides with its interval; without interval if a side has fewer than three runs."""
    values = np.atleast_1d(statistic(*sides))
    if min(len(side) for side in sides) < FEWEST_RUNS:
        return [Estimate(float(value)) for value in values]
    bounds = interval(statistic, *sides)
    return [Estimate(float(value), float(low), float(high)) for value, low, high in zip(values, *bounds, strict=True)]


def chance_of_improvement(mine: Scores, theirs: Scores) -> float:
    """rliable's `probability_of_improvement`, counted directly: pairs of runs that improve, plus half of the ties."""
    above, below = mine[:, None], theirs[None]  # (runs, 1, tasks), (1, runs, tasks)
    return float(((above > below) + 0.5 * (above == below)).mean())


def aggregate(scores: Scores) -> dict[str, Estimate]:
    """Interquartile mean, mean and median over (runs, tasks), each with its interval.

    The median is over the means of tasks if there are several tasks (like published medians), else over the runs.
    """
    metrics = needed("rliable.metrics", "a score over seeds")
    single = scores.shape[1] == 1
    median: Callable[[Scores], Any] = np.median if single else metrics.aggregate_median

    def all_three(sample: Scores) -> NDArray[Any]:
        return np.array([iqm(sample.reshape(-1)), metrics.aggregate_mean(sample), median(sample)])

    return dict(zip(("interquartile mean", "mean", "median"), estimates(all_three, scores), strict=True))


def optimality_gap(scores: Scores) -> Estimate:
    """Mean shortfall from 1 of normalised scores (runs, tasks), each clipped at 1."""
    metrics = needed("rliable.metrics", "an optimality gap")
    (gap,) = estimates(lambda sample: np.array([metrics.aggregate_optimality_gap(sample, 1.0)]), scores)
    return gap


def difference(scores: Scores, baseline: Scores) -> Estimate:
    """Interquartile mean of `scores` minus that of `baseline`, each side resampled independently."""
    (gap,) = estimates(
        lambda mine, theirs: np.array([iqm(mine.reshape(-1)) - iqm(theirs.reshape(-1))]), scores, baseline
    )
    return gap


def probability_of_improvement(scores: Scores, baseline: Scores) -> Estimate:
    """The probability that a run of `scores` beats one of `baseline`, averaged over tasks; ties count half."""
    (chance,) = estimates(lambda mine, theirs: np.array([chance_of_improvement(mine, theirs)]), scores, baseline)
    return chance


def curve_iqm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(points,) the interquartile mean over runs (runs, points) at each point."""
    cut = len(values) // 4
    middle: NDArray[np.float64] = np.sort(values, axis=0)[cut : len(values) - cut].mean(axis=0)
    return middle


def curve_interval(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """(2, points) the pointwise interval of the interquartile mean over runs (runs, points); None for too few runs."""
    if len(values) < FEWEST_RUNS:
        return None
    return interval(lambda sample: curve_iqm(sample[:, 0]), values[:, None, :])
