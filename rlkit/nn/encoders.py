"""Encoders: from an input to features, by published convolutions, by flattening, or by a module of the user's own.

The contract of a user's encoder: a callable that takes the input's shape without the batch, (C, H, W) for images, and
returns an `nn.Module` with an int attribute `output_size`, which maps float32 (B, *shape) to float32 (B, output_size).
Its parameters come from torch's global generator, which is seeded for the run while the module is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from rlkit.errors import ConfigError
from rlkit.nn.cells import Cells
from rlkit.nn.impala import Impala
from rlkit.nn.layers import LayerFactory
from rlkit.nn.shapes import image_shape
from rlkit.plugins import import_object

EncoderFactory: TypeAlias = Callable[[tuple[int, ...]], nn.Module]
BuiltIn: TypeAlias = Callable[[tuple[int, ...], LayerFactory], nn.Module]


class Flat(nn.Module):
    """No convolution: flattens every input."""

    def __init__(self, shape: tuple[int, ...], factory: LayerFactory) -> None:
        super().__init__()
        self.output_size = math.prod(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x if x.dim() == 2 else x.flatten(1)


class Convolutions(nn.Module):
    """Convolutions without padding, each (channels, kernel, stride), with activations; the output is flattened."""

    def __init__(
        self, name: str, shape: tuple[int, ...], layers: tuple[tuple[int, int, int], ...], factory: LayerFactory
    ) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        channels, height, width = image_shape(name, shape, _smallest_side(layers))
        for out_channels, kernel, stride in layers:
            modules += factory.conv(channels, out_channels, kernel, stride)
            channels, height, width = out_channels, (height - kernel) // stride + 1, (width - kernel) // stride + 1
        self.layers = nn.Sequential(*modules, nn.Flatten())
        self.output_size = channels * height * width
        self._large = layers[0][2] > 1

    def forward(self, x: Tensor) -> Tensor:
        if self._large and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            # Saves a tenth of the Nature network's update; in bfloat16 it would be slower.
            x = x.contiguous(memory_format=torch.channels_last)
        out: Tensor = self.layers(x)
        return out


def _smallest_side(layers: tuple[tuple[int, int, int], ...]) -> int:
    side = 1
    for _, kernel, stride in reversed(layers):
        side = (side - 1) * stride + kernel
    return side


def nature(shape: tuple[int, ...], factory: LayerFactory) -> nn.Module:
    """The convolutions of Mnih et al. 2015 (Methods, Model architecture): 32 8x8/4, 64 4x4/2, 64 3x3/1."""
    return Convolutions("nature", shape, ((32, 8, 4), (64, 4, 2), (64, 3, 1)), factory)


def nips(shape: tuple[int, ...], factory: LayerFactory) -> nn.Module:
    """The convolutions of Mnih et al. 2013 (section 4.1), a third of the Nature network's work: 16 8x8/4, 32 4x4/2."""
    return Convolutions("nips", shape, ((16, 8, 4), (32, 4, 2)), factory)


def minatar(shape: tuple[int, ...], factory: LayerFactory) -> nn.Module:
    """The convolution of Young and Tian 2019 (MinAtar, section 4): 16 3x3/1."""
    return Convolutions("minatar", shape, ((16, 3, 1),), factory)


ENCODERS: dict[str, tuple[BuiltIn, tuple[int, ...]]] = {
    "mlp": (Flat, (120, 84)),
    "nature": (nature, (512,)),
    "nips": (nips, (256,)),
    "minatar": (minatar, (128,)),
    "impala": (Impala, (256,)),
    "cells": (Cells, (128, 128)),
}
"""By name: the encoder, and the sizes of the fully connected layers that follow it in its source."""


def default_hidden(encoder: str) -> tuple[int, ...]:
    """The default sizes of the fully connected layers after `encoder`; none after a user's own."""
    return ENCODERS[encoder][1] if encoder in ENCODERS else ()


def build_encoder(encoder: str, shape: tuple[int, ...], factory: LayerFactory) -> nn.Module:
    """The encoder by name or "module:attr". Raises ConfigError if it breaks the contract, SpecError for shapes."""
    if encoder in ENCODERS:
        return ENCODERS[encoder][0](shape, factory)
    module = _load(encoder)(shape)
    if not isinstance(module, nn.Module) or not isinstance(getattr(module, "output_size", None), int):
        raise ConfigError(f'encoder "{encoder}" must return a torch nn.Module with an int attribute output_size')
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):  # noqa: SLF001
            raise ConfigError(
                f'encoder "{encoder}" has a {type(part).__name__}, whose random numbers a resumed run could not '
                "repeat; remove it"
            )
    return module


def output_size(encoder: nn.Module) -> int:
    """The number of features of an encoder's output."""
    size = encoder.output_size
    assert isinstance(size, int)  # checked by build_encoder
    return size


def _load(path: str) -> EncoderFactory:
    factory = import_object(path)
    if not callable(factory):
        raise ConfigError(f'encoder "{path}" must be a callable that takes the input\'s shape')
    loaded: EncoderFactory = factory
    return loaded
