"""A grid of counts as a picture: a title, axes with their bounds, and a scale of colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

SIDE = 256  # minimum pixels of the longer side of the grid
SCALE = 14  # pixels of the width of the scale
SIZE = 12  # of letters
LEFT, TOP, RIGHT, BOTTOM = 64, 30, 86, 46  # pixels around the grid, for axes, title and scale
UNVISITED = (0, 0, 0)
PAPER, INK = (255, 255, 255), (40, 40, 40)
# from few to many visits, evenly spaced: viridis (Smith and van der Walt), readable in grey and if colour-blind
COLOURS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Axes:
    """The texts around the grid: its title, and horizontal and vertical names and bounds."""

    title: str
    names: tuple[str, str]
    low: tuple[float, float]
    high: tuple[float, float]


def cells(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(H, W, 3): the counts on a logarithmic scale, at least SIDE pixels along the longer side. Black: 0."""
    shade = np.log1p(counts) / max(float(np.log1p(counts.max())), 1e-9)  # 0..1
    colours = _colours(shade)
    colours[counts == 0] = UNVISITED
    scale = -(-SIDE // max(counts.shape))
    return colours.repeat(scale, axis=0).repeat(scale, axis=1)


def _colours(shade: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(..., 3) for numbers from 0 to 1."""
    anchors = np.linspace(0, 1, len(COLOURS))
    channels = [np.interp(shade, anchors, COLOURS[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def framed(counts: NDArray[np.int64], axes: Axes) -> NDArray[np.uint8]:
    """`cells` with a title above, bounds and names along two sides, and the scale of counts to the right."""
    grid = cells(counts)
    height, width = grid.shape[:2]
    tall = max(height, 6 * SIZE)  # the scale needs room for its numbers
    font = ImageFont.load_default(SIZE)
    canvas = Pillow.new("RGB", (LEFT + max(width, int(font.getlength(axes.title)) - LEFT) + RIGHT, TOP + tall + BOTTOM),
                        PAPER)  # fmt: skip
    canvas.paste(Pillow.fromarray(grid), (LEFT, TOP))
    pen = ImageDraw.Draw(canvas)
    pen.text((8, 8), axes.title, INK, ImageFont.load_default(SIZE + 1))
    _horizontal(pen, axes, width, height)
    _vertical(canvas, pen, axes, height)
    _scale(canvas, pen, int(counts.max()), LEFT + width + 14, tall)
    return np.asarray(canvas)


def _horizontal(pen: ImageDraw.ImageDraw, axes: Axes, width: int, height: int) -> None:
    font, below = ImageFont.load_default(SIZE), TOP + height + 4
    pen.text((LEFT, below), f"{axes.low[0]:g}", INK, font, anchor="la")
    pen.text((LEFT + width, below), f"{axes.high[0]:g}", INK, font, anchor="ra")
    pen.text((LEFT + width / 2, below + SIZE + 4), axes.names[0], INK, font, anchor="ma")


def _vertical(canvas: Pillow.Image, pen: ImageDraw.ImageDraw, axes: Axes, height: int) -> None:
    """Downwards, as rows of a grid are counted."""
    font = ImageFont.load_default(SIZE)
    pen.text((LEFT - 6, TOP), f"{axes.low[1]:g}", INK, font, anchor="ra")
    pen.text((LEFT - 6, TOP + height), f"{axes.high[1]:g}", INK, font, anchor="rd")
    name = Pillow.new("RGB", (int(font.getlength(axes.names[1])) + 2, SIZE + 5), PAPER)
    ImageDraw.Draw(name).text((0, 0), axes.names[1], INK, font)
    name = name.rotate(90, expand=True)
    canvas.paste(name, (6, TOP + max(0, (height - name.height) // 2)))


def _scale(canvas: Pillow.Image, pen: ImageDraw.ImageDraw, most: int, left: int, height: int) -> None:
    """Colours from the most visits, at the top, to one, and below them that of no visit."""
    font, box = ImageFont.load_default(SIZE), SIZE + 4
    long = height - box - 4
    if most > 0:
        shade = np.linspace(1, np.log1p(1) / np.log1p(most), long)
        bar = np.broadcast_to(_colours(shade)[:, None], (long, SCALE, 3))
        canvas.paste(Pillow.fromarray(np.ascontiguousarray(bar)), (left, TOP))
        for share in np.linspace(0, 1, 4 if most > 3 else 2):  # of the logarithms
            count = round(float(np.expm1(np.log1p(1) + (1 - share) * (np.log1p(most) - np.log1p(1)))))
            place = TOP + round(share * (long - SIZE))
            pen.text((left + SCALE + 5, place), _short(count), INK, font)
    pen.rectangle((left, TOP + height - box, left + SCALE - 1, TOP + height - 1), fill=UNVISITED)
    pen.text((left + SCALE + 5, TOP + height - box), "0", INK, font)


def _short(count: int) -> str:
    """1234 → "1,234", 56789 → "57k"."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if count >= 10 * size:
            return f"{count / size:.0f}{unit}"
    return f"{count:,}"
