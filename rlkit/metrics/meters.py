"""Meters: collect measurements between two rows of metrics, as tensors until they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from rlkit.errors import RlkitError
from rlkit.types import Histogram, Image, Metrics, State, StepBatch

Row: TypeAlias = Mapping[str, float | Histogram | Image]
"""One row of metrics, as sinks receive it."""

FINAL = "final/"  # how the names of the final evaluation's scalars begin
NOT_OF_TRAINING = ("evaluation/", FINAL, "time/")


class Sink(Protocol):
    """Writes metrics. Plugs in by the entry-point group ``rlkit.sinks``: a callable (SinkContext) → Sink."""

    def write(self, env_steps: int, row: Row) -> None: ...
    def close(self) -> None: ...


class Meters:
    """Averages scalars since the last `take`, by name; of histograms and images keeps the latest."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor | float] = {}
        self._counts: dict[str, int] = {}
        self._pictures: dict[str, Histogram | Image] = {}

    def add(self, metrics: Metrics) -> None:
        for name, value in metrics.items():
            if isinstance(value, Histogram | Image):
                self._pictures[name] = value
            elif name in self._sums:
                self._sums[name] = self._sums[name] + value
                self._counts[name] += 1
            else:
                self._sums[name] = _number(name, value)
                self._counts[name] = 1

    def take(self) -> dict[str, float | Histogram | Image]:
        """The means since the last call. Reads tensors, and so waits for the device."""
        row: dict[str, float | Histogram | Image] = {
            name: float(total) / self._counts[name] for name, total in self._sums.items()
        }
        row.update(self._pictures)
        self._sums, self._counts, self._pictures = {}, {}, {}
        return row

    def nan(self) -> list[str]:
        """The names of the scalars that are NaN so far. Reads tensors, and so waits for the device."""
        return [name for name, total in self._sums.items() if (value := float(total)) != value]

    def state_dict(self) -> State:
        histograms = {name: item.values for name, item in self._pictures.items() if isinstance(item, Histogram)}
        images = {name: item.pixels for name, item in self._pictures.items() if isinstance(item, Image)}
        return {"sums": dict(self._sums), "counts": dict(self._counts), "histograms": histograms, "images": images}

    def load_state_dict(self, state: State, device: torch.device) -> None:
        self._sums = {
            name: total.to(device) if isinstance(total, torch.Tensor) else total
            for name, total in state["sums"].items()
        }
        self._counts = dict(state["counts"])
        self._pictures = {name: Histogram(values) for name, values in state["histograms"].items()}
        self._pictures.update({name: Image(pixels) for name, pixels in state["images"].items()})


def summarise(rows: Sequence[Mapping[str, Any]], parts: int = 24) -> dict[str, list[float | None]]:
    """A summary of the metrics of training: the mean of each scalar over each of `parts` equal parts of the steps.

    rows: of a metrics file, in order. Returns lists of `parts` numbers by name, None where a part has no such scalar,
    and "env_steps", the ends of the parts. Omits evaluations, and times, which differ between repetitions.
    """
    if not rows:
        return {}
    end = rows[-1]["env_steps"]
    values: dict[str, list[list[float]]] = {}
    for row in rows:
        part = min(parts - 1, max(0, row["env_steps"] - 1) * parts // max(1, end))
        for name, value in row.items():
            if name != "env_steps" and not name.startswith(NOT_OF_TRAINING):
                values.setdefault(name, [[] for _ in range(parts)])[part].append(value)
    means = {
        name: [float(f"{sum(found) / len(found):.5g}") if found else None for found in column]
        for name, column in sorted(values.items())
    }
    return {"env_steps": [end * (part + 1) / parts for part in range(parts)], **means}


INFO = "info/"  # the beginning of signals that are logged as they are at the end of an episode


def _number(name: str, value: Any) -> Any:
    """`value`, if it is one number. Raises RlkitError."""
    if getattr(value, "ndim", 0) or not hasattr(value, "__float__"):
        what = f"of shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__
        raise RlkitError(f"the metric {name!r} is {what}; expected one number, a rlkit.Histogram or a rlkit.Image")
    return value


class EpisodeMeter:
    """Raw returns and lengths of training episodes, and the signal "success" at their end, if there is one."""

    def __init__(self, num_envs: int) -> None:
        self._return = np.zeros(num_envs, dtype=np.float64)
        self._length = np.zeros(num_envs, dtype=np.int64)
        self.episodes = 0
        self.recent: list[float] = []  # returns of the latest 100 episodes

    def add(self, step: StepBatch) -> list[dict[str, float]]:
        """Adds a step. Returns one row of metrics for each episode that ended with it."""
        self._return += step.reward
        self._length += 1
        ended = step.ended
        if not np.count_nonzero(ended):
            return []
        rows = [
            {"episode/return": float(self._return[env]), "episode/length": float(self._length[env])}
            for env in np.flatnonzero(ended)
        ]
        if (success := step.after.signals.get("success")) is not None:
            for row, solved in zip(rows, success[ended], strict=True):
                row["episode/success"] = float(solved)
        for name, values in step.after.signals.items():
            if name.startswith(INFO):
                for row, value in zip(rows, values[ended], strict=True):
                    row[name] = float(value)
        self.episodes += len(rows)
        self.recent = (self.recent + [row["episode/return"] for row in rows])[-100:]
        self._return[ended] = 0
        self._length[ended] = 0
        return rows

    def forget(self) -> None:
        """Drops the unfinished episodes."""
        self._return[:] = 0
        self._length[:] = 0

    def state_dict(self) -> State:
        return {
            "return": self._return.copy(),
            "length": self._length.copy(),
            "episodes": self.episodes,
            "recent": list(self.recent),
        }

    def load_state_dict(self, state: State) -> None:
        self._return = state["return"].copy()
        self._length = state["length"].copy()
        self.episodes = state["episodes"]
        self.recent = list(state["recent"])
