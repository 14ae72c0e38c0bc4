"""Learning curves: one panel per environment, one line per group, its interval shaded."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.errors import ConfigError
from rlkit.files import writing
from rlkit.report import reference
from rlkit.report.curves import Curve, curve_of
from rlkit.report.groups import Group
from rlkit.report.protocols import NAME
from rlkit.report.scores import FEWEST_RUNS, curve_interval, curve_iqm, needed

# Okabe & Ito 2008, distinguishable if colour-blind; without yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", ":", "-.")
X_LABELS = {
    "env_steps": "environment steps",
    "frames": "frames (with the skipped ones)",
    "hours": "hours of training",
    "processor_hours": "hours of processor time",
}
Y_LABELS = {
    "evaluation/return_mean": "return of an evaluation",
    "evaluation/success_rate": "share of evaluation episodes solved",
    "evaluation/length_mean": "steps an episode, evaluation",
    "episode/return": "return of training episodes",
    "episode/length": "steps an episode, training",
}
DESCRIPTION = {".png": "Description", ".svg": "Description", ".pdf": "Subject"}
CHANGING = {".png": "Software", ".svg": "Date", ".pdf": "CreationDate"}  # left out: it differs between calls
"""Entries of the metadata of a picture's file, by its suffix."""
FINAL_SCORE = "return of the final evaluation"
LEGEND = 38  # characters of a line of the legend


@dataclass
class Picture:
    """A figure, and one line for each thing that is missing in it."""

    figure: Any
    fingerprint: str  # of the drawn numbers; written into the file to detect outdated pictures
    notes: list[str] = field(default_factory=list)

    def save(self, files: Sequence[Path]) -> list[str]:
        """Writes PNG, SVG or PDF, by the suffix; the bytes are the same at every call. Returns the notes."""
        matplotlib = needed("matplotlib", "a picture")
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            metadata = {DESCRIPTION[file.suffix]: self.fingerprint, CHANGING[file.suffix]: None}
            with matplotlib.rc_context({"svg.hashsalt": "rlkit"}), writing(file) as opened:
                self.figure.savefig(opened, format=file.suffix[1:], dpi=150, metadata=metadata)
        return self.notes


def draw(
    groups: Sequence[Group], x: str = "env_steps", y: str = "evaluation/return_mean", against: str | None = None
) -> Picture:
    """One panel per environment, one line per group; if `y` has wildcards, one line per matching curve.

    The notes name the groups without `y`. Raises ConfigError if no group has it.
    """
    notes: list[str] = []
    curves: dict[str, dict[str, Curve]] = {}
    for group in groups:
        for name in matching(group, y):
            curve = curve_of(group, x, name, notes)
            if curve is not None:
                what = name.rpartition("/")[2]
                label = group.label if name == y else what if len(groups) == 1 else f"{group.label}, {what}"
                curves.setdefault(group.environment, {})[label] = curve
    if not curves:
        raise ConfigError("; ".join([f"nothing to draw: no run has {y}", *notes]))
    drawn = picture(groups, curves, x, y, notes)
    if against:
        figure = drawn.figure
        figure.set_figheight(figure.get_figheight() + 1)  # room for the legend under the panel
        figure.supxlabel(f"{caption(curves)} Grey: mean training return, Nature CNN.", fontsize=8, color="#555555")
        for axis, environment in zip(figure.axes, curves, strict=False):
            _draw_reference(axis, environment, notes)
    return drawn


def matching(group: Group, y: str) -> list[str]:
    """The names of the group's curves that match `y`, which may contain *, ? and [...]."""
    found = sorted(name for run in group.runs for name in run.curves if fnmatch.fnmatchcase(name, y))
    return list(dict.fromkeys(found)) if set("*?[") & set(y) and found else [y]


def picture(groups: Sequence[Group], curves: dict[str, dict[str, Curve]], x: str, y: str, notes: list[str]) -> Picture:
    """Draws curves by environment and group label; adds notes on their protocols to `notes`."""
    for environment in dict.fromkeys(group.environment for group in groups):
        protocols = {group.protocol.key() for group in groups if group.environment == environment}
        if len(protocols) > 1:
            notes.append(f"{environment}: {len(protocols)} protocols, drawn apart and not averaged")
    if len(curves) > 1:
        notes.append(f"{len(curves)} environments: one panel each")
    under = {
        environment: rules([group for group in groups if group.environment == environment]) for environment in curves
    }
    return Picture(_figure(curves, x, y, under), _fingerprint(curves, x, y), notes)


def rules(groups: Sequence[Group]) -> str:
    """The text under a panel's title: the entries of the protocol that title and axes do not show."""
    said = ("environment", "evaluation", "parameters", "return", NAME)
    texts = {
        "; ".join(f"{key} {value}" for key, value in group.protocol.entries.items() if key not in said)
        for group in groups
    }
    return "\n".join(textwrap.wrap(texts.pop(), 64)) if len(texts) == 1 else f"{len(texts)} protocols"


def _fingerprint(curves: dict[str, dict[str, Curve]], x: str, y: str) -> str:
    numbers = {
        environment: {label: [*map(_digits, _numbers(curve))] for label, curve in groups.items()}
        for environment, groups in curves.items()
    }
    return "rlkit " + hashlib.sha256(json.dumps([x, y, numbers]).encode()).hexdigest()[:16]


def _numbers(curve: Curve) -> list[NDArray[np.float64]]:
    return [curve.x, curve.values, *([np.array(curve.stops)] if curve.stops else [])]


def _digits(values: NDArray[np.float64]) -> list[str]:
    return [f"{value:.6g}" for value in values.ravel()]


def _figure(curves: dict[str, dict[str, Curve]], x: str, y: str, under: dict[str, str]) -> Any:
    needed("matplotlib", "a picture")
    from matplotlib.figure import Figure

    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(max(5.2, 4.2 * columns), 3.6 * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    numbers: dict[str, int] = {}
    for axis, (environment, groups) in zip(panels, curves.items(), strict=False):
        number_labels(list(groups), numbers)
        for label, curve in groups.items():
            _draw_curve(axis, label, curve, numbers[label], marked=x not in X_LABELS)
        axis.set_title(environment, fontsize=11, pad=6 + 9 * len(under[environment].splitlines()))
        axis.text(0.5, 1.02, under[environment], transform=axis.transAxes, ha="center", fontsize=7, color="#555555")
        axis.set_xlabel(X_LABELS.get(x, x))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        if x in ("env_steps", "frames"):
            axis.xaxis.set_major_formatter(thousands)
        if x not in X_LABELS:
            _mark_values(axis, groups.values())
        axis.margins(x=0.01 if x in X_LABELS else 0.05)
        if axis.dataLim.y0 == axis.dataLim.y1:  # equal values: a line in the middle, not one on the frame
            axis.set_ylim(axis.dataLim.y0 - 0.5, axis.dataLim.y0 + 0.5)
        elif axis.dataLim.y0 >= 0:
            axis.set_ylim(bottom=0)  # else small gains look large
        if len(curves) == 1 and len(groups) > 3:  # inside, it would cover the curves
            figure.set_figwidth(figure.get_figwidth() + 1.5)
            axis.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
        else:
            axis.legend(framealpha=0.8, edgecolor="none", fontsize=9 if len(curves) == 1 else 8, loc="best")
    for axis in panels[len(curves) :]:
        axis.set_visible(False)
    for axis in panels[: len(curves) : columns]:
        axis.set_ylabel(Y_LABELS.get(y, y))
    figure.supxlabel(textwrap.fill(caption(curves), 76 * columns), fontsize=8, color="#555555")
    return figure


def caption(curves: dict[str, dict[str, Curve]]) -> str:
    many = any(len(curve.values) >= FEWEST_RUNS for groups in curves.values() for curve in groups.values())
    cut = any(curve.cut for groups in curves.values() for curve in groups.values())
    stopped = any(curve.stops for groups in curves.values() for curve in groups.values())
    return (
        "Lines: interquartile mean over seeds."
        + (" Shaded: its 95% bootstrap interval." if many else "")
        + (" Dots: a run stopped because it was solved, and keeps its last score." if stopped else "")
        + (" A line ends with its shortest run that did not stop so." if cut and stopped else "")
        + (" A line ends with its shortest run." if cut and not stopped else "")
    )


def number_labels(labels: Sequence[str], numbers: dict[str, int]) -> None:
    """Assigns each label of a panel the lowest number free in it; a label has the same number in all panels."""
    taken = {numbers[label] for label in labels if label in numbers}
    for label in labels:
        if label not in numbers:
            numbers[label] = next(number for number in range(len(labels) + len(taken)) if number not in taken)
            taken.add(numbers[label])


def _mark_values(axis: Any, curves: Iterable[Curve]) -> None:
    """Puts ticks only at the values that were run; the axis is logarithmic if they span a factor of 10."""
    values = sorted({value for curve in curves for value in curve.x.tolist()})
    if values[0] > 0 and values[-1] >= 10 * values[0]:
        axis.set_xscale("log")
    axis.set_xticks(values, [f"{value:g}" for value in values])
    axis.minorticks_off()


def _draw_curve(axis: Any, label: str, curve: Curve, number: int, *, marked: bool) -> None:
    colour, style = COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]
    seeds = f"{len(curve.values)} seed{'' if len(curve.values) == 1 else 's'}"
    marker = "o" if marked or len(curve.x) == 1 else None
    told = textwrap.fill(f"{label}, {seeds}", LEGEND)
    axis.plot(curve.x, curve_iqm(curve.values), style, color=colour, marker=marker, label=told,
              clip_on=False, zorder=3)  # fmt: skip  # values of 0 lie on the x axis, and are seen above it
    if curve.stops:
        heights = np.interp(curve.stops, curve.x, curve_iqm(curve.values))
        axis.plot(curve.stops, heights, "o", color=colour, markersize=4, clip_on=False, zorder=3)
    bounds = curve_interval(curve.values)
    if bounds is not None:
        axis.fill_between(curve.x, *bounds, color=colour, alpha=0.2, linewidth=0)


def _draw_reference(axis: Any, environment: str, notes: list[str]) -> None:
    reached, (low, high) = axis.dataLim.x1, axis.get_ylim()
    game = reference.game_of(environment)
    if game is None or game not in reference.dopamine_games():
        notes.append(f"Dopamine has no curve for {environment}")
        return
    for index, (name, points) in enumerate(reference.dopamine_curves(game).items()):
        axis.plot(*zip(*points.items(), strict=True), STYLES[1 + index % 3], color="#888888", linewidth=1,
                  marker="osd^v"[index % 5], markersize=3, label=name.removesuffix(" (CNN)"))  # fmt: skip
    curves = reference.dopamine_curves(game).values()
    end = 1.1 * max(reached, min(map(min, curves)))
    seen = [value for points in curves for frames, value in points.items() if frames <= end]
    room = 0.05 * (max(high, *seen) - min(low, *seen))
    axis.set_xlim(0, end)
    axis.set_ylim(
        min(low, min(seen) - room), max(high, max(seen) + room)
    )  # the published curves may lie far from the others
    axis.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, columnspacing=1)
    text = reference.dopamine_protocol(environment).text()
    notes.append(f"{environment}: Dopamine's curves are of another protocol, drawn beside and not averaged: {text}")


def thousands(value: float, _: int = 0) -> str:
    """20000 → "20k", 1500000 → "1.5M"."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
