"""The picture of a search: parallel coordinates, one line per trial over the axes of its parameters."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlkit.extras import needed
from rlkit.report.plot import Picture

ABSENT = "not set"  # of parameters that a trial does not have
LONGEST = 14  # characters of a tick's label


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter: where each trial lies between 0 and 1, and the labels at its ticks."""

    title: str
    places: Sequence[float]  # one per trial
    ticks: Mapping[float, str]


def parallel_coordinates(
    trials: Sequence[Mapping[str, Any]], scores: Sequence[float | None], log: frozenset[str], title: str, score: str
) -> Picture:
    """trials: values by parameter. scores: None for a trial without one, in grey. log: parameters on a log axis."""
    needed("matplotlib", "a picture", "tune")
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for trial in trials for name in trial))
    axes = [_axis(name, [trial.get(name) for trial in trials], log=name in log) for name in names]
    known = [value for value in scores if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    norm = Normalize(low, high if high > low else low + 1)
    figure = Figure(figsize=(2.2 + 1.7 * (len(axes) + 1), 4.6), layout="constrained")
    panel = figure.subplots()
    places = np.array([axis.places for axis in axes]).T.reshape(len(trials), len(axes))  # (trials, axes)
    colours = _colours()
    order = sorted(range(len(trials)), key=lambda trial: -np.inf if (value := scores[trial]) is None else value)
    for trial in order:  # the best on top
        value = scores[trial]
        if value is None:
            panel.plot(range(len(axes)), places[trial], color="0.82", linewidth=0.8)
        else:
            line = [*places[trial], float(norm(value))]
            panel.plot(range(len(line)), line, color=colours(float(norm(value))), linewidth=1.4, alpha=0.85)
    last = Axis(score, [], {float(norm(value)): f"{value:.4g}" for value in np.linspace(low, high, 5)})
    for at, axis in enumerate([*axes, last]):
        panel.axvline(at, color="0.3", linewidth=0.8)
        for place, label in axis.ticks.items():
            panel.annotate(label, (at, place), (-4, 0), textcoords="offset points", fontsize=7, ha="right", va="center",
                           bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8})  # fmt: skip
    panel.set_xticks(range(len(axes) + 1), [_wrapped(axis.title) for axis in [*axes, last]], fontsize=8)
    panel.set_xlim(-0.45, len(axes) + 0.35)
    panel.set_ylim(-0.14, 1.05)
    panel.set_yticks([])
    for side in panel.spines.values():
        side.set_visible(False)
    panel.set_title(title, fontsize=10, loc="left")
    content = json.dumps([list(map(dict, trials)), list(scores)], sort_keys=True, default=str)
    return Picture(figure, hashlib.sha256(content.encode()).hexdigest()[:16])


def _colours() -> Any:
    import matplotlib

    return matplotlib.colormaps["viridis_r"]


def _axis(name: str, values: Sequence[Any], *, log: bool) -> Axis:
    present = [value for value in values if value is not None]
    numbers = [value for value in present if isinstance(value, int | float) and not isinstance(value, bool)]
    absent = {-0.1: ABSENT} if len(present) < len(values) else {}
    if len(numbers) == len(present) and len(set(numbers)) > 1:
        scale = np.log if log else np.asarray
        low, high = float(scale(min(numbers))), float(scale(max(numbers)))
        places = [-0.1 if value is None else (float(scale(value)) - low) / (high - low) for value in values]
        marks = np.exp(np.linspace(low, high, 5)) if log else np.linspace(low, high, 5)
        shown = {(float(scale(mark)) - low) / (high - low): f"{mark:.3g}" for mark in marks}
        return Axis(name, places, shown | absent)
    labels = sorted(map(str, dict.fromkeys(present)))
    spread = {
        label: (place / max(1, len(labels) - 1) if len(labels) > 1 else 0.5) for place, label in enumerate(labels)
    }
    places = [-0.1 if value is None else spread[str(value)] for value in values]
    return Axis(name, places, {place: label[:LONGEST] for label, place in spread.items()} | absent)


def _wrapped(title: str) -> str:
    """A dotted key or a description, on lines of about LONGEST characters."""
    name = title.removeprefix("agent.")
    parts = re.split(r"(?<=[.=])", name) if " " not in name else [f"{word} " for word in name.split()]
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1] + part) > LONGEST + 2:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)
