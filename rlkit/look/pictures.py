"""The pictures of `rlkit explain`, and how pictures are written."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rlkit.files import write
from rlkit.look.attribution import MEANING, Method
from rlkit.look.explain import Explained, Part, entry_names, is_picture
from rlkit.look.extra import needed
from rlkit.look.overlay import COLOURS, enlarged, on_screen, overlaid, scale_of
from rlkit.runs.policy import LoadedPolicy
from rlkit.types import SCREEN

BAR, LINE = "#0072B2", "#333333"  # of bar charts
DPI = 130


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches."""
    needed("matplotlib", "a picture")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Any, files: Sequence[Path]) -> None:
    """Writes the figure as .png, in at most 256 colours, or as .svg; the bytes are the same at every call."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = _encoded(figure, file.suffix)
        write(file, partial(_put, content))


def _encoded(figure: Any, suffix: str) -> bytes:
    from PIL import Image

    matplotlib = needed("matplotlib", "a picture")
    drawn, metadata = io.BytesIO(), {"Software" if suffix == ".png" else "Date": None}
    with matplotlib.rc_context({"svg.hashsalt": "rlkit"}):
        figure.savefig(drawn, format=suffix[1:], dpi=DPI, metadata=metadata)
    if suffix != ".png":
        return drawn.getvalue()
    with Image.open(drawn) as image:
        palette = image.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(small := io.BytesIO(), format="png", optimize=True)
    return small.getvalue()


def _put(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def title(loaded: LoadedPolicy, what: str) -> str:
    """What is shown, of which policy."""
    return f"{what}\n{loaded.config.label}, {loaded.config.agent.name}, {loaded.env_steps:,} steps of training"


def explained_picture(loaded: LoadedPolicy, explained: Explained) -> Any:
    """The figure of `explain`: pictures with maps over them, or bars for the entries of a vector."""
    draw = _maps if is_picture(loaded) else _bars
    return draw(loaded, explained)


def _maps(loaded: LoadedPolicy, explained: Explained) -> Any:
    """A row for each score function, a column for each step; one colour scale in a row."""
    method, rows, columns = explained.method, len(explained.parts), len(explained.moments)
    height, width = explained.moments[0].observation.signals[SCREEN][0].shape[:2]
    figure = new_figure(2.5 * columns + 0.9, (2.5 * min(height / width, 1.6) + 0.45) * rows + 0.7)
    axes = figure.subplots(rows, columns, squeeze=False)
    for part, row in zip(explained.parts, axes, strict=True):
        scale = scale_of(part.maps)
        for index, axis in enumerate(row):
            _map(axis, explained, part, index, scale)
        _colour_bar(figure, row, part, method, scale)
    figure.suptitle(title(loaded, _heading(explained)), fontsize=10)
    return figure


def _map(axis: Any, explained: Explained, part: Part, index: int, scale: float) -> None:
    moment = explained.moments[index]
    screen = enlarged(moment.observation.signals[SCREEN][0])
    observation_map = on_screen(part.maps[index], moment.observation)
    factor = screen.shape[0] // observation_map.shape[0]
    axis.imshow(overlaid(screen, observation_map.repeat(factor, 0).repeat(factor, 1), scale, explained.method))
    axis.set_xticks([])
    axis.set_yticks([])
    output = part.chosen[index]
    axis.set_title(f"step {moment.step}: {part.outputs[output]} {part.scores[index, output]:.3g}", fontsize=8)


def _colour_bar(figure: Any, axes: NDArray[Any], part: Part, method: Method, scale: float) -> None:
    matplotlib = needed("matplotlib", "a picture")
    norm = matplotlib.colors.Normalize(0.0 if method == "gradient" else -scale, scale)
    bar = figure.colorbar(matplotlib.cm.ScalarMappable(norm, COLOURS[method]), ax=list(axes), fraction=0.03, pad=0.01)
    bar.set_label(f"{MEANING[method].replace('score', part.name.removesuffix('s'))}", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _bars(loaded: LoadedPolicy, explained: Explained) -> Any:
    """A panel for each score function, a bar for each entry: the mean magnitude over the steps, and 10% to 90%."""
    names = entry_names(loaded, explained.parts[0].maps.shape[1])
    panels = len(explained.parts)
    figure = new_figure(3.4 * panels + 2.4, 0.27 * len(names) + 1.5)
    for part, axis in zip(explained.parts, figure.subplots(1, panels, squeeze=False, sharey=True)[0], strict=True):
        magnitudes = np.abs(part.maps)
        means = magnitudes.mean(0)
        low, high = np.quantile(magnitudes, [0.1, 0.9], axis=0)
        spread = np.stack([np.maximum(means - low, 0), np.maximum(high - means, 0)])
        axis.barh(names, means, color=BAR, xerr=spread, error_kw={"ecolor": LINE, "elinewidth": 1, "capsize": 2})
        axis.set_xlabel(textwrap.fill(_magnitude(explained.method, part.name), 44), fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(y=0.02)
    figure.axes[0].invert_yaxis()
    figure.suptitle(title(loaded, _heading(explained)), fontsize=10)
    return figure


def _magnitude(method: Method, name: str) -> str:
    meaning = MEANING[method].replace("score", name.removesuffix("s"))
    return f"{meaning if method == 'gradient' else f'|{meaning}|'}; bar: mean over steps, line: 10% to 90%"


def _heading(explained: Explained) -> str:
    names = [part.name.removesuffix("s") for part in explained.parts]
    if names == ["action value"]:
        return f"What the value of the chosen action depends on ({explained.method})"
    return f"What {' and '.join(names)} of the choice depend on ({explained.method})"
