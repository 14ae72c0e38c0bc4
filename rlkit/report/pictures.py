"""The pictures of `rlkit plot`: learning curves, or scores over the values of a config key; one line per group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rlkit.errors import ConfigError
from rlkit.report.curves import Curve
from rlkit.report.groups import Group, grouped
from rlkit.report.plot import FINAL_SCORE, X_LABELS, Picture, draw, picture
from rlkit.report.results import Result, scored_by

EVALUATED, TRAINING = "evaluation/return_mean", "episode/return"


def drawn(
    results: Sequence[Result],
    x: str,
    y: str | None,
    by: Sequence[str] = (),
    against: str | None = None,
    labels: Sequence[str] = (),
) -> Picture:
    """The picture for `x`: "env_steps", "frames", "hours", or a config key. y: name of a curve; None: the default.

    labels: those of the groups, in their order. Raises ConfigError if there is nothing to draw.
    """
    if x in X_LABELS:
        name, notes = (y, []) if y else _default_curve(results)
        found = draw(grouped(results, by, labels), x, name, against)
        found.notes[:0] = notes
        return found
    runs = [scored_by(run, y) if run.returns is not None else run for run in results] if y else results
    return draw_sensitivity(runs, x, by, y or FINAL_SCORE, labels)


def _default_curve(results: Sequence[Result]) -> tuple[str, list[str]]:
    """(the curve to draw, notes): that of evaluations, or of training episodes if no run was evaluated meanwhile."""
    if any(EVALUATED in run.curves for run in results) or not any(TRAINING in run.curves for run in results):
        return EVALUATED, []
    why = "no run was evaluated during training (evaluation.every is 0)"
    return TRAINING, [f"{why}, so the curves are {TRAINING}: the returns of training episodes, exploration included"]


def draw_sensitivity(
    results: Sequence[Result],
    key: str,
    by: Sequence[str] = (),
    y: str = FINAL_SCORE,
    labels: Sequence[str] = (),
) -> Picture:
    """One panel per environment: scores of runs over their values of the config key `key`. y: label of the score.

    Runs that differ only in the seed and in `key` form a line. Raises ConfigError if no run has a number there.
    """
    notes, kept = [], []
    for run in results:
        if run.returns is None or not _is_number(run.config.get(key)):
            why = f"is unfinished at step {run.env_steps:,}" if run.returns is None else f"has no number {key}"
            notes.append(f"{run.path} {why}; it is left out")
        else:
            kept.append(run)
    if not kept:
        known = sorted({name for run in results for name, value in run.config.items() if _is_number(value)})
        raise ConfigError(f"--x {key}: no finished run's config has such a number; there are: {', '.join(known)}")
    values = {run.path: float(run.config[key]) for run in kept}
    without = [replace(run, config={name: each for name, each in run.config.items() if name != key}) for run in kept]
    curves: dict[str, dict[str, Curve]] = {}
    groups = grouped(without, by, labels)
    for group in groups:
        curves.setdefault(group.environment, {})[group.label] = _scores(group, values, key, notes)
    return picture(groups, curves, key, y, notes)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scores(group: Group, values: dict[Path, float], key: str, notes: list[str]) -> Curve:
    """The scores of the seeds that were run with every value of the key."""
    scores = {value: {run.seed: run.score for run in group.runs if values[run.path] == value}
              for value in sorted({values[run.path] for run in group.runs})}  # fmt: skip
    shared = sorted(set.intersection(*map(set, scores.values())))
    some = sorted(set.union(*map(set, scores.values())) - set(shared))
    if not shared:
        raise ConfigError(f"{group.label} ({group.environment}): no seed was run with every value of {key}")
    if some:
        seeds = ", ".join(map(str, some))
        notes.append(f"{group.label} ({group.environment}): seeds {seeds} lack some values of {key}; they are left out")
    return Curve(np.array(list(scores)), np.array([[by_seed[seed] for by_seed in scores.values()] for seed in shared]))
