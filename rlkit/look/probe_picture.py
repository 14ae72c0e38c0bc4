"""The picture of `rlkit probe`: accuracy by layer, and by training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlkit.look.pictures import new_figure, title
from rlkit.look.probe import RAW, Decoded
from rlkit.report.plot import COLOURS, thousands
from rlkit.runs.policy import LoadedPolicy

TRAINED, UNTRAINED, PALE = "#0072B2", "#D55E00", "#999999"


def probe_picture(loaded: LoadedPolicy, found: Sequence[Decoded]) -> Any:
    """A row for each label: left by layer, of the newest policy and the untrained one; right by training step.

    The right column is left out if there is one policy only.
    """
    labels = list(dict.fromkeys(each.label for each in found))
    steps = sorted({each.env_steps for each in found if each.env_steps is not None})
    layers = [each.layer for each in found if each.label == labels[0] and each.network == "untrained"]
    columns = 2 if len(steps) > 1 else 1
    figure = new_figure(4.6 * columns + 0.6, 1.75 * len(labels) + 1.6)
    axes = figure.subplots(len(labels), columns, squeeze=False, sharex="col", sharey="row")
    for label, row in zip(labels, axes, strict=True):
        rows = [each for each in found if each.label == label]
        _by_layer(row[0], rows, layers, steps[-1])
        row[0].set_ylabel(f"{label}\naccuracy", fontsize=8)
        if columns == 2:
            _by_step(row[1], rows, layers)
        for axis in row:
            axis.axhline(rows[0].chance, color=PALE, linestyle=":", linewidth=1, label="always the commonest class")
            axis.set_ylim(0, 1.03)
            axis.tick_params(labelsize=7)
            axis.spines[["top", "right"]].set_visible(False)
    _finish(axes[-1][0], layers)
    for axis in axes[0]:
        axis.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    if columns == 2:
        axes[-1][1].set_xlabel("environment steps of training", fontsize=8)
        axes[-1][1].xaxis.set_major_formatter(thousands)
    figure.suptitle(title(loaded, "What a linear classifier reads from each layer, in held-out episodes"), fontsize=10)
    return figure


def _by_layer(axis: Any, rows: Sequence[Decoded], layers: Sequence[str], newest: int) -> None:
    for network, colour, shift in (("trained", TRAINED, -0.06), ("untrained", UNTRAINED, 0.06)):
        mine = {each.layer: each for each in rows if each.network == network and each.env_steps in (None, newest)}
        known = [mine[layer] for layer in layers if layer in mine]
        places = [1 + shift + number for number, layer in enumerate(layers) if layer in mine]
        _line(axis, places, known, colour, network)
    raw = [each for each in rows if each.network == RAW]
    if raw:
        _line(axis, [0.0], raw, "#000000", "the observation itself")


def _by_step(axis: Any, rows: Sequence[Decoded], layers: Sequence[str]) -> None:
    for number, layer in enumerate(layers[1:]):
        mine = [each for each in rows if each.layer == layer and each.network == "trained"]
        start = [each for each in rows if each.layer == layer and each.network == "untrained"]
        known = [*start, *mine]
        places = [float(each.env_steps or 0) for each in known]
        _line(axis, places, known, COLOURS[number % len(COLOURS)], layer)


def _line(axis: Any, places: Sequence[float], known: Sequence[Decoded], colour: str, label: str) -> None:
    accuracy = np.array([each.accuracy for each in known])
    errors = np.array([[each.accuracy - each.low, each.high - each.accuracy] for each in known]).T.clip(0)
    axis.errorbar(places, accuracy, errors, fmt="o-", color=colour, label=label, markersize=3, linewidth=1.2, capsize=2)


def _finish(axis: Any, layers: Sequence[str]) -> None:
    names = [RAW, *layers]
    axis.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
    axis.set_xlim(-0.4, len(names) - 0.6)
