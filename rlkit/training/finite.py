"""Finds values that are not a number before anything is made from them or saved with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.errors import WorkerError
from rlkit.types import Metrics, Observation


def nan_metrics(metrics: Metrics) -> list[str]:
    """The names of scalars that are NaN. Leaves out those on an accelerator: reading one would wait for it."""
    found = []
    for name, value in metrics.items():
        if isinstance(value, torch.Tensor):
            if not value.is_cpu or value.numel() != 1:
                continue
            value = value.item()
        if value != value:
            found.append(name)
    return found


def nan_entries(state: Any, path: str = "") -> Iterator[str]:
    """The paths of all floats, arrays and tensors of a state that contain a NaN. Waits for the device."""
    if isinstance(state, Mapping):
        for key, value in state.items():
            yield from nan_entries(value, f"{path}/{key}" if path else str(key))
    elif isinstance(state, list | tuple):
        for place, value in enumerate(state):
            yield from nan_entries(value, f"{path}/{place}")
    elif isinstance(state, torch.Tensor):
        if state.is_floating_point() and bool(state.isnan().any()):
            yield path
    elif isinstance(state, np.ndarray):
        if state.dtype.kind == "f" and np.isnan(state).any():
            yield path
    elif isinstance(state, float) and state != state:
        yield path


def require_finite(observation: Observation, reward: NDArray[np.float32] | None = None) -> None:
    """Raises WorkerError, which names the environment, for an observation or a reward that is NaN or infinite."""
    obs = observation.obs
    parts = [("observation", obs)] if obs.dtype.kind == "f" else []
    for name, values in [*parts, ("reward", reward)] if reward is not None else parts:
        # the sum of squares is quicker than a test of each value; it is not finite if a value is not, or on overflow
        if not math.isfinite(np.vdot(values, values)) and not np.isfinite(values).all():
            rows = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
            env = int(np.flatnonzero(rows)[0])
            shown = values[env][~np.isfinite(values[env])].flat[0] if values[env].ndim else values[env]
            raise WorkerError(f"environment {env} returned the {name} {shown}: expected finite numbers")
