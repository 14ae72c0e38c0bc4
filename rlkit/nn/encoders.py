"""Encoders: from an input to features, by published convolutions, by flattening, or by a module of the user's own.

The contract of a user's encoder: a callable that takes the input's shape without the batch, (C, H, W) for images, and
returns an `nn.Module` with an int attribute `output_size`, which maps float32 (B, *shape) to float32 (B, output_size).
Of a Dict or Tuple observation it takes the shapes of its parts by name, and the module maps the parts by name.
Its parameters come from torch's global generator, which is seeded for the run while the module is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from rlkit.errors import ConfigError
from rlkit.nn.cells import Cells
from rlkit.nn.impala import Impala
from rlkit.nn.layers import LayerFactory
from rlkit.nn.shapes import image_shape
from rlkit.plugins import import_object

Shape: TypeAlias = tuple[int, ...] | Mapping[str, tuple[int, ...]]  # of one input, or of parts by name
EncoderFactory: TypeAlias = Callable[[Shape], nn.Module]
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


class Combined(nn.Module):
    """An encoder for each part: images through convolutions and a fully connected layer, vectors unchanged.

    Maps parts (B, *shape) by name to their features side by side, (B, output_size), as the CombinedExtractor of
    Stable-Baselines3 does; there the layer after the convolutions has 256 units, here those of the encoder's source.
    images: the encoder of images; "auto" chooses by their size.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], images: str, factory: LayerFactory) -> None:
        super().__init__()
        self._names = tuple(shapes)
        self.parts = nn.ModuleList()
        self.output_size = 0
        for shape in shapes.values():
            if len(shape) == 1 or images == "mlp":
                part: nn.Module = Flat(shape, factory)
                size = math.prod(shape)
            else:
                name = image_encoder(shape) if images == "auto" else images
                encoder, size = ENCODERS[name][0](shape, factory), ENCODERS[name][1][0]
                part = nn.Sequential(encoder, *factory.linear(output_size(encoder), size))
            self.parts.append(part)
            self.output_size += size

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([part(inputs[name]) for name, part in zip(self._names, self.parts, strict=True)], 1)


ENCODERS: dict[str, tuple[BuiltIn, tuple[int, ...]]] = {
    "mlp": (Flat, (120, 84)),
    "nature": (nature, (512,)),
    "nips": (nips, (256,)),
    "minatar": (minatar, (128,)),
    "impala": (Impala, (256,)),
    "cells": (Cells, (128, 128)),
}
"""By name: the encoder, and the sizes of the fully connected layers that follow it in its source."""


LEAST_SIDE = 3  # of images that convolutions are made for
_LEAST_SIDES = {"nature": 36, "nips": 20, "minatar": LEAST_SIDE}


def image_encoder(shape: tuple[int, ...]) -> str:
    """The encoder that "auto" chooses for images (C, H, W): the largest that their shorter side fits."""
    return next(name for name, side in _LEAST_SIDES.items() if min(shape[1:]) >= side)


def is_built_in(encoder: str) -> bool:
    """Whether `encoder` is not a user's own."""
    return encoder == "auto" or encoder in ENCODERS


def default_hidden(encoder: str) -> tuple[int, ...]:
    """The default sizes of the fully connected layers after `encoder`; none after a user's own."""
    return ENCODERS["mlp" if encoder == "auto" else encoder][1] if is_built_in(encoder) else ()


def build_encoder(encoder: str, shape: Shape, factory: LayerFactory) -> nn.Module:
    """The encoder by name or "module:attr". Raises ConfigError if it breaks the contract, SpecError for shapes.

    "auto" is for parts; `build_inputs` replaces it for a single input.
    """
    if isinstance(shape, Mapping) and is_built_in(encoder):
        return Combined(shape, encoder, factory)
    if not isinstance(shape, Mapping) and encoder in ENCODERS:
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
