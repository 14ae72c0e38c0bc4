"""The gated PixelCNN (van den Oord et al. 2016): the probability of a grey image, pixel by pixel in raster order."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, pad


class GatedPixelCNN(nn.Module):
    """Logits of each pixel's grey level, (B, levels, H, W), from the pixels before it.

    Before it are all pixels of the rows above, and those to its left. How far a pixel sees grows with the
    layers. The first layer is 7 pixels wide, the others 3.
    """

    def __init__(self, levels: int, features: int, layers: int) -> None:
        """levels: number of grey levels; features: channels of each stack; layers: gated layers, at least 1."""
        super().__init__()
        self.levels = levels
        first = _GatedLayer(1, features, width=7, first=True)
        self.layers = nn.ModuleList([first, *(_GatedLayer(features, features, 3) for _ in range(layers - 1))])
        self.output = nn.Sequential(
            nn.ReLU(), nn.Conv2d(features, features, 1), nn.ReLU(), nn.Conv2d(features, levels, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        """image: (B, H, W) of 0 .. levels - 1."""
        x = (image.to(torch.float32) / (self.levels - 1) - 0.5)[:, None]
        vertical, horizontal = x, x
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal)
        logits: Tensor = self.output(horizontal)
        return logits


class _GatedLayer(nn.Module):
    """Two stacks: one sees its own row and those above; the other the first, shifted down, and its row to the left."""

    def __init__(self, inputs: int, features: int, width: int, first: bool = False) -> None:
        """width: odd, of the square whose upper half is seen; first: the pixel itself is not seen."""
        super().__init__()
        self._first, self._reach = first, width // 2
        self.vertical = nn.Conv2d(inputs, 2 * features, (self._reach + 1, width))
        self.horizontal = nn.Conv2d(inputs, 2 * features, (1, self._reach + (not first)))
        self.down = nn.Conv2d(2 * features, 2 * features, 1)
        self.across = nn.Conv2d(features, features, 1)

    def forward(self, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs, H, W) each → (B, features, H, W) each."""
        reach = self._reach
        rows = self.vertical(pad(vertical, (reach, reach, reach, 0)))
        left = self.horizontal(pad(horizontal, (reach, -1 if self._first else 0, 0, 0)))
        above = pad(rows, (0, 0, 1, -1))  # of the row before
        mixed = self.across(_gated(left + self.down(above)))
        return _gated(rows), mixed if self._first else mixed + horizontal


def _gated(x: Tensor) -> Tensor:
    """tanh times sigmoid of the two halves of the channels (van den Oord et al. 2016, equation 2)."""
    value, gate = x.chunk(2, 1)
    return value.tanh() * gate.sigmoid()


def log_probability(logits: Tensor, image: Tensor) -> Tensor:
    """log p of images (B, H, W) of grey levels, in nats, (B,) float64."""
    chosen = log_softmax(logits, 1).gather(1, image[:, None])
    return chosen.double().sum((1, 2, 3))
