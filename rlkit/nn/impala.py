"""The residual network of IMPALA (Espeholt et al. 2018, figure 3, right)."""

from __future__ import annotations

from torch import Tensor, nn

from rlkit.nn.layers import LayerFactory
from rlkit.nn.shapes import image_shape

CHANNELS = (16, 32, 32)
SMALLEST = {"max": 1, "fractional_max": 8}  # 8, 5, 3: regions of 2 x 2 need three cells at the third pooling


class Block(nn.Module):
    """x + scale * branch(x); the branch is two convolutions, each after normalisation and activation of its input.

    The skip connection is the identity, as He et al. 2016b recommend; IMPALA's scale is 1.
    """

    def __init__(self, channels: int, factory: LayerFactory) -> None:
        super().__init__()
        self.branch = nn.Sequential(*factory.preactivated(channels), *factory.preactivated(channels))
        self.scale = factory.residual_scale

    def forward(self, x: Tensor) -> Tensor:
        return x.add(self.branch(x), alpha=self.scale)


class Impala(nn.Module):
    """Three stacks of a convolution, a pooling and two residual blocks; 16, 32, 32 channels times the width factor."""

    def __init__(self, shape: tuple[int, ...], factory: LayerFactory) -> None:
        super().__init__()
        size = image_shape("impala", shape, SMALLEST[factory.pooling])
        modules: list[nn.Module] = []
        for factor in CHANNELS:
            channels = max(1, round(factor * factory.width))
            convolution = factory.first_of_stack(size[0], channels)
            pooling, size = factory.pool((channels, *size[1:]))
            modules += [*convolution, pooling, Block(channels, factory), Block(channels, factory)]
        self.layers = nn.Sequential(*modules, *factory.before(size[0]), nn.Flatten())
        self.output_size = size[0] * size[1] * size[2]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out
