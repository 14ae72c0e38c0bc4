"""Layers with their normalisation and activation, as one choice for a whole network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from rlkit.errors import ConfigError
from rlkit.memory import require_layer
from rlkit.nn.config import Activation, NetworkConfig, Normalisation, Pooling, WeightNormConfig
from rlkit.nn.scaled import ScaledLinear
from rlkit.nn.weight_norm import MeanOnlyBatchNorm, weight_norm

_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}
_GROUPS = 4  # divides the layers of all built-in networks


@dataclass(frozen=True, slots=True)
class LayerFactory:
    """Makes a network's layers with their normalisation and activation; by default with ReLU and no normalisation."""

    normalisation: Normalisation | None = None
    activation: Activation = "relu"
    groups: int = _GROUPS
    weight: WeightNormConfig = field(default_factory=WeightNormConfig)
    pooling: Pooling = "max"
    width: float = 1.0
    residual_scale: float = 1.0

    @classmethod
    def of(cls, config: NetworkConfig) -> LayerFactory:
        """The factory for a config."""
        return cls(
            config.normalisation,
            config.activation or "relu",
            config.groups or _GROUPS,
            config.weight_norm or WeightNormConfig(),
            config.pooling or "max",
            config.width or 1.0,
            config.residual_scale or 1.0,
        )

    @property
    def _weight(self) -> bool:
        return self.normalisation in ("weight", "weight_mean_batch")

    @property
    def _own_bias(self) -> bool:
        return self.normalisation not in ("weight_mean_batch", "batch")  # these have a shift of their own

    def linear(self, inputs: int, outputs: int, *, last: bool = False) -> list[nn.Module]:
        """A hidden layer, (B, inputs) -> (B, outputs); `last`: no other hidden layer follows."""
        require_layer(inputs, outputs)
        if self._weight:
            layer: nn.Module = weight_norm(ScaledLinear(inputs, outputs, bias=self._own_bias), self.weight)
        else:
            layer = nn.Linear(inputs, outputs, bias=self._own_bias)
        if self.normalisation == "spectral" and last:
            parametrizations.spectral_norm(layer)
        return [layer, *self._after(outputs, image=False)]

    def output(self, inputs: int, outputs: int, scale: float | None = None) -> nn.Module:
        """The last layer, without activation: (B, inputs) -> (B, outputs). Only weight normalisation applies to it.

        scale: its initial standard deviation if weight-normalised; default: the config's output_scale.
        """
        require_layer(inputs, outputs)
        if not self._weight:
            return nn.Linear(inputs, outputs)
        return weight_norm(ScaledLinear(inputs, outputs), self.weight, scale or self.weight.output_scale)

    def conv(self, channels: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
        """A convolution, (B, channels, H, W) -> (B, outputs, H', W'), with normalisation and activation."""
        layer = self._conv(channels, outputs, kernel, stride, padding, bias=self._own_bias)
        return [layer, *self._after(outputs, image=True)]

    def doubled(self, channels: int, outputs: int, odd: int) -> list[nn.Module]:
        """A transposed convolution, (B, channels, H, W) -> (B, outputs, 2 H + odd, 2 W + odd); odd: 0 or 1."""
        layer = nn.ConvTranspose2d(channels, outputs, 4, 2, 1, output_padding=odd, bias=self._own_bias)
        made = weight_norm(layer, self.weight) if self._weight else layer
        return [made, *self._after(outputs, image=True)]

    def first_of_stack(self, channels: int, outputs: int) -> list[nn.Module]:
        """A 3 x 3 convolution that keeps the size, without activation."""
        if self.normalisation == "weight_mean_batch":
            return [self._conv(channels, outputs, 3, padding=1, bias=False), MeanOnlyBatchNorm(outputs)]
        return [self._conv(channels, outputs, 3, padding=1)]

    def preactivated(self, channels: int) -> list[nn.Module]:
        """Normalisation, activation, then such a convolution (He et al. 2016b)."""
        return [*self.before(channels), *self.first_of_stack(channels, channels)]

    def before(self, channels: int) -> list[nn.Module]:
        """Normalisation and activation of the output of convolutions that have none."""
        normalised = self.normalisation == "weight_mean_batch"  # the convolution subtracted the mean
        return [self.activate()] if normalised else self._after(channels, image=True)

    def _conv(
        self, channels: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, *, bias: bool = True
    ) -> nn.Module:
        layer = nn.Conv2d(channels, outputs, kernel, stride, padding, bias=bias)
        return weight_norm(layer, self.weight) if self._weight else layer

    def _after(self, size: int, *, image: bool) -> list[nn.Module]:
        norm = self._norm(size, image=image)
        return [self.activate()] if norm is None else [norm, self.activate()]

    def _norm(self, size: int, *, image: bool) -> nn.Module | None:
        if self.normalisation == "batch":
            return nn.BatchNorm2d(size) if image else nn.BatchNorm1d(size)
        if not image and self._units_alike(size):
            raise ConfigError(
                f'network.normalisation = "{self.normalisation}" subtracts the mean over a group of units, so that '
                f"a group of one unit is always 0: a layer of shape ({size},) with {self._groups} group(s) needs fewer "
                "groups or more units"
            )
        if self.normalisation == "layer":  # over channels and space, with a gain and shift for each channel
            return nn.GroupNorm(1, size) if image else nn.LayerNorm(size)
        if self.normalisation == "weight_mean_batch":
            return MeanOnlyBatchNorm(size)
        if self.normalisation != "group":
            return None
        if size % self.groups:
            shape = f"({size}, H, W)" if image else f"({size},)"
            raise ConfigError(
                f"network.groups = {self.groups} does not divide the {size} {'channels' if image else 'units'} of a "
                f"layer of shape {shape}; give a divisor of every layer's size, or other sizes"
            )
        return nn.GroupNorm(self.groups, size)

    @property
    def _groups(self) -> int:
        return self.groups if self.normalisation == "group" else 1

    def _units_alike(self, size: int) -> bool:
        """Whether the normalisation of a layer of `size` units would make all of them 0."""
        return self.normalisation in ("layer", "group") and size <= self._groups

    def activate(self) -> nn.Module:
        """An activation."""
        modules: dict[str, type[nn.Module]] = {
            "relu": nn.ReLU,
            "leaky_relu": nn.LeakyReLU,
            "elu": nn.ELU,
            "tanh": nn.Tanh,
        }
        return modules[self.activation]()

    def pool(self, shape: tuple[int, int, int]) -> tuple[nn.Module, tuple[int, int, int]]:
        """A pooling of images of `shape` (C, H, W), and its output's shape."""
        channels, height, width = shape
        if self.pooling == "max":
            return nn.MaxPool2d(3, 2, 1), (channels, (height + 1) // 2, (width + 1) // 2)
        pooled = FractionalMaxPool(shape)
        return pooled, (channels, *pooled.output_size)


class FractionalMaxPool(nn.Module):
    """Max pooling over 2 x 2 regions that shrinks images by the root of 2 (Graham 2014).

    Graham draws new regions in each pass; here they are drawn once, with the parameters: acting, learning and a resumed
    run use the same ones.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, *sides = shape
        height, width = (int(side / math.sqrt(2)) for side in sides)
        self.output_size = (height, width)
        self.regions: Tensor
        self.register_buffer("regions", torch.rand(1, channels, 2))

    def forward(self, x: Tensor) -> Tensor:
        regions = self.regions.expand(len(x), -1, -1)  # (B, C, 2); in float32, since rounding would move them
        pooled: Tensor = nn.functional.fractional_max_pool2d(
            x.float(), 2, output_size=self.output_size, _random_samples=regions
        )
        return pooled.to(x.dtype)
