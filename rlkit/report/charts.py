"""The interactive charts of a report: one for each metric, in the order of rlkit.metrics.layout, drawn by Plotly."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.metrics.layout import LAYOUT
from rlkit.metrics.meters import FINAL
from rlkit.report.curves import Curve, curve_of
from rlkit.report.groups import Group
from rlkit.report.plot import COLOURS, Y_LABELS, number_labels
from rlkit.report.scores import curve_interval, curve_iqm, needed

OTHER = "other"  # the category of metrics that no pattern of the layout matches
POINTS = 300  # of a curve; longer ones are averaged over as many parts
DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True, slots=True)
class Chart:
    """One metric in one environment."""

    title: str
    name: str  # of the metric
    html: str  # an element that needs Plotly's script


def chapters(groups: Sequence[Group], notes: list[str]) -> dict[str, list[Chart]]:
    """Category → its charts, without empty categories. Adds one line to `notes` for each curve with a gap or cut.

    Raises ConfigError if Plotly is not installed.
    """
    by_environment: dict[str, list[Group]] = {}
    for group in groups:
        by_environment.setdefault(group.environment, []).append(group)
    numbers: dict[str, int] = {}
    for members in by_environment.values():
        number_labels([group.label for group in members], numbers)
    found: dict[str, list[Chart]] = {}
    for category, name in ordered({name for group in groups for run in group.runs for name in run.curves}):
        for environment, members in by_environment.items():
            curves = {
                group.label: curve
                for group in members
                if any(name in run.curves for run in group.runs)
                if (curve := curve_of(group, "env_steps", name, notes)) is not None
            }
            if curves:
                title = Y_LABELS.get(name, name) + (f", {environment}" if len(by_environment) > 1 else "")
                charts = found.setdefault(category, [])
                drawn = _draw(f"chart-{category}-{len(charts)}", curves, numbers, named=len(members) > 1)
                charts.append(Chart(title, name, drawn))
    notes[:] = dict.fromkeys(notes)
    return found


def ordered(names: set[str]) -> Iterator[tuple[str, str]]:
    """(category, name) of each metric, in the order of the layout; what it does not name comes last.

    Leaves out the final evaluation, whose scores are one point each.
    """
    left = sorted(name for name in names if not name.startswith(FINAL))
    for title, charts in LAYOUT.items():
        for pattern in (pattern for patterns in charts.values() for pattern in patterns):
            for name in [name for name in left if re.fullmatch(pattern, name)]:
                left.remove(name)
                yield title.partition(" ")[2], name
    yield from ((OTHER, name) for name in left)


def thinned(curve: Curve) -> Curve:
    """The curve with at most POINTS points: means over equal parts of its points."""
    if len(curve.x) <= POINTS:
        return curve
    x = np.array([part.mean() for part in np.array_split(curve.x, POINTS)])
    values = np.stack([part.mean(axis=1) for part in np.array_split(curve.values, POINTS, axis=1)], axis=1)
    return replace(curve, x=x, values=values)


def _draw(identity: str, curves: dict[str, Curve], numbers: dict[str, int], *, named: bool) -> str:
    graphs, io = needed("plotly.graph_objects", "a report"), needed("plotly.io", "a report")
    figure = graphs.Figure()
    for label, long in curves.items():
        curve, number = thinned(long), numbers[label]
        colour = COLOURS[number % len(COLOURS)]
        if (bounds := curve_interval(curve.values)) is not None:
            _add_band(figure, curve.x, bounds, colour, label)
        seeds = f"{len(curve.values)} seed{'' if len(curve.values) == 1 else 's'}"
        figure.add_scatter(
            x=_short(curve.x),
            y=_short(curve_iqm(curve.values)),
            mode="lines+markers" if len(curve.x) == 1 else "lines",
            line={"color": colour, "width": 2, "dash": DASHES[number // len(COLOURS) % len(DASHES)]},
            name=html.escape(label, quote=False) if named else seeds,  # Plotly reads tags in it
            legendgroup=label,
            hovertemplate=f"%{{y:.4g}} at %{{x:,}} steps<extra>{seeds}</extra>",
        )
    figure.update_layout(
        template="none", height=300, margin={"l": 48, "r": 12, "t": 12, "b": 8}, showlegend=named,
        legend={"orientation": "h", "y": -0.22, "yanchor": "top"}, font={"family": "inherit", "size": 12},
        xaxis={"title": {"text": "environment steps", "standoff": 6}, "showgrid": False, "automargin": True},
        yaxis={"gridcolor": "#e3e3e3", "zerolinecolor": "#bbbbbb", "automargin": True},
    )  # fmt: skip
    settings = {"responsive": True, "displayModeBar": False}
    drawn: str = io.to_html(figure, include_plotlyjs=False, full_html=False, div_id=identity, config=settings,
                            default_height="300px")  # fmt: skip
    return drawn


def _add_band(figure: Any, x: NDArray[np.float64], bounds: NDArray[np.float64], colour: str, label: str) -> None:
    """The interval as an area; it is shown and hidden together with its line."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    figure.add_scatter(
        x=_short(np.concatenate([x, x[::-1]])), y=_short(np.concatenate([bounds[0], bounds[1][::-1]])), fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.18)", line={"width": 0}, mode="lines", hoverinfo="skip",
        showlegend=False, legendgroup=label,
    )  # fmt: skip


def _short(values: NDArray[np.float64]) -> list[float]:
    """Five significant digits: smaller files, and no visible difference."""
    return [float(f"{value:.5g}") for value in values]
