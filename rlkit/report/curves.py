"""The curve of a group of runs: the curves of its runs, on common points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlkit.report.groups import Group
from rlkit.report.results import Result
from rlkit.report.scores import FEWEST_RUNS

Points: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]  # x (points,) increasing, values (points,)

POINTS = 200  # of a common grid, if the runs of a group were measured at different steps
SCORES = ("evaluation/", "episode/return", "episode/success")  # what a solved task would go on to score


@dataclass(frozen=True, slots=True)
class Curve:
    """The curve of one group."""

    x: NDArray[np.float64]  # (points,)
    values: NDArray[np.float64]  # (runs, points)
    cut: bool = False  # some runs are longer
    stops: tuple[float, ...] = ()  # x of runs that stopped when solved, and keep their last value from there on


def curve_of(group: Group, x: str, y: str, notes: list[str]) -> Curve | None:
    """The group's curves on common points, of the runs that have `y`; unfinished runs only if none is finished."""
    runs = [run for run in group.runs if y in run.curves]
    if not runs:
        keys = sorted({key for run in group.runs for key in run.curves})
        logged = f"it has {', '.join(keys)}" if keys else "it has no curves"
        notes.append(f"{group.label} ({group.environment}): no run logged {y!r}; {logged}")
        return None
    notes += [f"{run.path} did not log {y!r}; it is left out" for run in group.runs if y not in run.curves]
    unfinished = [run for run in runs if run.returns is None]
    for run in unfinished:
        fate = (
            "it is left out beside finished ones"
            if len(unfinished) < len(runs)
            else "its group ends with its shortest run"
        )
        notes.append(f"{run.path} is unfinished at step {run.env_steps:,}; {fate}")
    runs = [run for run in runs if run.returns is not None] or unfinished
    if len(runs) < FEWEST_RUNS:
        few = f"{len(runs)} seed{'' if len(runs) == 1 else 's'}"
        notes.append(f"{group.label} ({group.environment}): {few}, so no interval (at least {FEWEST_RUNS})")
    known = [(run, where) for run in runs if (where := places(run, run.curves[y].env_steps, x)) is not None]
    if not known:
        notes.append(f"{group.label} ({group.environment}): no run says how long it took; --x env_steps does")
        return None
    keeps = [run.stopped and y.startswith(SCORES) for run, _ in known]
    ends = [run.env_steps for (run, _), kept in zip(known, keeps, strict=True) if not kept]
    cut = len(set(ends)) > 1 or any(run.env_steps > min(ends, default=run.env_steps) for run, _ in known)
    if cut:
        notes.append(f"{group.label} ({group.environment}): its runs end at different steps; drawn up to the shortest")
    pairs = carried([(where, run.curves[y].values) for run, where in known], keeps)
    stops = sorted(float(where[-1]) for (_, where), kept in zip(known, keeps, strict=True) if kept)
    curve = aligned(pairs)
    return replace(curve, cut=cut, stops=tuple(stop for stop in stops if stop <= curve.x[-1]))


def carried(runs: Sequence[Points], keeps: Sequence[bool]) -> list[Points]:
    """The curves (x, values) of runs; those in `keeps` continue with their last value.

    They continue to the end of the shortest other run, or of the longest run if there is no other.
    """
    ends = [x[-1] for (x, _), kept in zip(runs, keeps, strict=True) if not kept]
    end = min(ends) if ends else max(x[-1] for x, _ in runs)
    everywhere = np.unique(np.concatenate([x for x, _ in runs]))
    out: list[Points] = []
    for (x, values), kept in zip(runs, keeps, strict=True):
        later = everywhere[(everywhere > x[-1]) & (everywhere <= end)] if kept else everywhere[:0]
        out.append((np.concatenate((x, later)), np.concatenate((values, np.full(len(later), values[-1])))))
    return out


def places(run: Result, env_steps: NDArray[np.float64], x: str) -> NDArray[np.float64] | None:
    """Environment steps converted to `x`; None if the duration of the run is unknown."""
    if x == "env_steps":
        return env_steps
    if x == "frames":
        return env_steps * run.frame_skip
    if x == "processor_hours":  # known for the whole run alone: assumes constant speed
        return None if run.processor_hours is None else env_steps * run.processor_hours / run.env_steps
    clock = run.curves.get("time/hours")
    if clock is not None:
        hours: NDArray[np.float64] = np.interp(env_steps, [0, *clock.env_steps], [0, *clock.values])
        return hours
    return None if run.hours is None else env_steps * run.hours / run.env_steps  # result files: assumes constant speed


def aligned(pairs: Sequence[Points]) -> Curve:
    """Curves (x, values) at common x: at the shared x if most are shared, else on a grid over the common range."""
    shared = pairs[0][0]
    for x, _ in pairs[1:]:
        shared = np.intersect1d(shared, x)
    if len(shared) * 2 > max(len(x) for x, _ in pairs):
        return Curve(shared, np.array([values[np.isin(x, shared)] for x, values in pairs]))
    low, high = max(x[0] for x, _ in pairs), min(x[-1] for x, _ in pairs)
    grid = np.linspace(low, max(low, high), POINTS)
    return Curve(grid, np.array([np.interp(grid, x, values) for x, values in pairs]))
