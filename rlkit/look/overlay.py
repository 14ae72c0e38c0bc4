"""Maps of attributions drawn over the pictures of an environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.look.attribution import LARGE, Method
from rlkit.look.extra import needed
from rlkit.runs.video import BACKGROUND, CHOSEN, INK, LINE, PANEL
from rlkit.types import SCREEN, SCREEN_CELLS, Observation

COLOURS = {"gradient": "autumn", "integrated": "coolwarm", "occlusion": "coolwarm"}  # of matplotlib
STRONGEST = 0.9  # opacity of the largest attribution
DIMMED = 0.7  # brightness of the screen below
SIDE = 240  # pixels that a drawn picture has at least


def on_screen(values: NDArray[np.float64], observation: Observation) -> NDArray[np.float64]:
    """(H, W) the values (h, w) of the cells of the first observation, at the places of its screen that they are of."""
    height, width = observation.signals[SCREEN][0].shape[:2]
    if SCREEN_CELLS not in observation.signals:
        return stretched(values, height, width)
    placed = np.zeros((height, width))
    cells = observation.signals[SCREEN_CELLS][0]
    for value, (top, left, bottom, right) in zip(values.ravel(), cells.reshape(-1, 4), strict=True):
        placed[top:bottom, left:right] = value
    return placed


def stretched(values: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """(height, width) values (h, w) over the whole of a screen: as blocks, or smoothly if they are many."""
    from PIL import Image

    how = Image.Resampling.NEAREST if max(values.shape) <= LARGE else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((width, height), how), np.float64)


def overlaid(screen: NDArray[np.uint8], values: NDArray[np.float64], scale: float, method: Method) -> NDArray[np.uint8]:
    """The screen (H, W, 3) with values (H, W) over it, the more opaque the larger; `scale` is the most opaque one."""
    share = np.clip(values / max(scale, 1e-12), -1.0, 1.0)
    colours = colour_map(method)(share if method == "gradient" else (share + 1) / 2)[..., :3] * 255
    opacity = STRONGEST * np.abs(share)[..., None]
    blended: NDArray[np.float64] = DIMMED * screen * (1 - opacity) + colours * opacity
    return np.rint(blended).astype(np.uint8)


def colour_map(method: Method) -> Any:
    return needed("matplotlib", "a picture").colormaps[COLOURS[method]]


def scale_of(maps: NDArray[np.float64]) -> float:
    """The largest magnitude, without the outliers of a large picture."""
    magnitudes = np.abs(maps)
    return float(magnitudes.max() if maps.shape[-1] <= LARGE else np.quantile(magnitudes, 0.999))


def enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture by a whole factor, so that it has at least SIDE pixels."""
    factor = -(-SIDE // max(picture.shape[:2]))
    return picture.repeat(factor, 0).repeat(factor, 1)


def bar_panel(
    title: str, names: tuple[str, ...], values: NDArray[np.float64], scale: float, height: int
) -> NDArray[np.uint8]:
    """(height, PANEL, 3) a bar for each value, to the right of the middle if it is positive; `scale` is the longest."""
    from PIL import Image, ImageDraw, ImageFont

    panel = Image.new("RGB", (PANEL, height), BACKGROUND)
    pen, row = ImageDraw.Draw(panel), min(2 * LINE, (height - 2 * LINE) // len(names))
    pen.text((12, 12), title, INK, ImageFont.load_default(15))
    font = ImageFont.load_default(max(8, min(13, row // 2)))
    for number, (name, value) in enumerate(zip(names, values, strict=True)):
        y, middle = 2 * LINE + number * row, PANEL // 2
        pen.text((12, y), name, INK, font)
        pen.text((PANEL - 12, y), f"{value:.3g}", INK, font, anchor="ra")
        end = middle + int((middle - 12) * value / max(scale, 1e-12))
        pen.rectangle((min(middle, end), y + row // 2, max(middle, end), y + row - 4), fill=CHOSEN)
    return np.asarray(panel)
