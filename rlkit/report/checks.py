"""What a result must be before it is compared: a file of a stranger may hold anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.config.tables import StopConfig

STOP = "evaluation.stop."


def returns_of(values: Any) -> NDArray[np.float64]:
    """(episodes,) the returns of a final evaluation. Raises TypeError or ValueError if they are none."""
    returns = np.asarray(values, dtype=np.float64)
    if returns.ndim != 1 or not len(returns):
        raise ValueError(f"final.returns: expected a list of numbers, got shape {returns.shape}")
    return returns


def steps_of(values: Any) -> NDArray[np.float64]:
    """(points,) the environment steps of a curve. Raises TypeError or ValueError if one is no number."""
    steps = np.asarray(values, dtype=np.float64)
    if not np.isfinite(steps).all():
        raise ValueError("env_steps of a curve: expected finite numbers")
    return steps


def texts_of(values: Any, what: str) -> dict[str, str]:
    """A mapping as text. Raises TypeError for anything else."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{what}: expected a table, got {type(values).__name__}")
    return {str(name): str(value) for name, value in values.items()}


def reference_scores_of(values: Any) -> dict[str, float] | None:
    """The scores of random play and of people. Raises TypeError, ValueError or KeyError if they are not such."""
    if values is None:
        return None
    scores = {str(name): float(score) for name, score in dict(values).items()}
    if not abs(scores["human"] - scores["random"]) > 0:
        raise ValueError("reference_scores: expected two different numbers, random and human")
    return scores


def refuse_unsound(config: Mapping[str, Any]) -> None:
    """Raises TypeError or ValueError if the keys that reports compute with have values of another kind."""
    if not isinstance(config.get("train.steps") or 0, int | float):
        raise TypeError(f"config: train.steps: expected a number, got {config['train.steps']!r:.60}")
    stop = {key.removeprefix(STOP): value for key, value in config.items() if key.startswith(STOP)}
    if not stop:
        return
    if not {"key", "at_least", "times"} <= set(stop):
        raise ValueError("config: evaluation.stop: expected key, at_least and times")
    try:
        StopConfig.model_validate(stop)
    except ValueError as error:  # several lines
        raise ValueError(f"config: evaluation.stop does not fit: {stop!r:.100}") from error
