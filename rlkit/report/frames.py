"""Runs as pandas frames: their scores, one row a run, and their curves, one row a point."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlkit.errors import ConfigError
from rlkit.report.groups import grouped
from rlkit.report.page import names_of
from rlkit.report.results import Result, find
from rlkit.report.scores import needed
from rlkit.training.evaluation import iqm

if TYPE_CHECKING:
    from pandas import DataFrame

Paths = str | Path | Sequence[str | Path]


def load_results(paths: Paths = "runs") -> DataFrame:
    """The scores and settings of runs: a pandas frame with one row a run.

    paths: run directories, result files, or folders of them, as for `rlkit compare`.

    Columns: run, group (the label that `rlkit compare` gives it), library, experiment, environment, seed,
    env_steps, finished; episodes, return_mean, return_iqm, return_std, return_min and return_max of the final
    evaluation (NaN while unfinished); hours and processor_hours of training; path; and the config, one column for
    each dotted key, such as "agent.learning_rate". Warns of each path that cannot be used. Raises ConfigError if no
    run is found, or pandas is not installed.
    """
    pandas = needed("pandas", "load_results")
    rows = [{**_facts(run, name, label), **run.config} for run, name, label in _labelled(paths)]
    frame: DataFrame = pandas.DataFrame(rows)
    return frame


def load_curves(paths: Paths = "runs", metric: str = "evaluation/return_mean") -> DataFrame:
    """The curves of runs: a pandas frame with one row for each point of each run.

    metric: the name of a metric, or a pattern such as "q/*". Columns: run, group, environment, seed, metric, env_steps,
    value. Raises ConfigError, beside the errors of `load_results`, if no run has such a metric.
    """
    pandas = needed("pandas", "load_curves")
    runs = _labelled(paths)
    parts = [
        pandas.DataFrame({
            "run": name, "group": label, "environment": run.environment, "seed": run.seed, "metric": key,
            "env_steps": series.env_steps.astype(np.int64), "value": series.values,
        })
        for run, name, label in runs
        for key, series in run.curves.items()
        if fnmatch.fnmatchcase(key, metric)
    ]  # fmt: skip
    if not parts:
        known = ", ".join(sorted({key for run, _, _ in runs for key in run.curves})) or "nothing"
        raise ConfigError(f"no run has the metric {metric!r}; they have: {known}")
    frame: DataFrame = pandas.concat(parts, ignore_index=True)
    return frame


def _labelled(paths: Paths) -> list[tuple[Result, str, str]]:
    """(run, its name, the label of its group) for each run below `paths`."""
    listed = [paths] if isinstance(paths, str | Path) else paths
    found = find(list(map(Path, listed)))
    for problem in found.problems:
        warnings.warn(problem, stacklevel=3)
    labels = {run.path: group.label for group in grouped(found.results) for run in group.runs}
    names = names_of([run.path for run in found.results])
    return [(run, names[run.path], labels[run.path]) for run in found.results]


def _facts(run: Result, name: str, label: str) -> dict[str, Any]:
    returns = np.full(1, np.nan) if run.returns is None else run.returns
    return {
        "run": name, "group": label, "library": run.library, "experiment": run.experiment,
        "environment": run.environment, "seed": run.seed, "env_steps": run.env_steps,
        "finished": run.returns is not None, "episodes": 0 if run.returns is None else len(returns),
        "return_mean": returns.mean(), "return_iqm": float(iqm(returns)), "return_std": returns.std(),
        "return_min": returns.min(), "return_max": returns.max(), "hours": run.hours,
        "processor_hours": run.processor_hours, "path": str(run.path),
    }  # fmt: skip
