"""Summary of a network by layer: shapes, parameters, multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from rlkit.nn.diagnostics import with_hooks
from rlkit.nn.weight_norm import WeightNorm
from rlkit.types import LayerSummary


@torch.no_grad()
def summarise(network: nn.Module, *inputs: Tensor) -> list[LayerSummary]:
    """The layers in the order in which a forward pass over `inputs`, (1, ...) each, runs them; changes nothing."""
    rows: list[LayerSummary] = []
    with ExitStack() as hooks:
        for name, layer in _leaves(network, ""):

            def passed(layer: nn.Module, args: Any, out: Tensor, name: str = name) -> None:
                out = out[0] if isinstance(out, tuple) else out  # a recurrent layer's outputs, and its state
                shape = tuple(out.shape[1:] if not isinstance(layer, nn.RNNBase) else out.shape[2:])
                whole = not _parts(layer)
                parameters = sum(parameter.numel() for parameter in layer.parameters(recurse=whole))
                rows.append(LayerSummary(name, describe_layer(layer), shape, parameters, _multiply_adds(layer, shape)))

            hooks.callback(layer.register_forward_hook(passed).remove)
        with_hooks(network)(*inputs)
    return rows


def example(network: nn.Module, space: gym.Space[Any]) -> tuple[Tensor]:
    """One observation of `space`, as the network takes it: (1, *O), or (1, 1, *O) with a memory."""
    obs = torch.as_tensor(np.asarray(space.sample()))[None]
    return (obs[None] if any(isinstance(part, nn.RNNBase) for part in network.modules()) else obs,)


def one_line(network: nn.Module, shape: str, outputs: str) -> str:
    """One line: input shape, layers with parameters, outputs, and the number of parameters."""
    parts = [shape]
    parts += [
        describe_layer(module) for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear | nn.RNNBase)
    ]
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{', '.join(parts)} -> {outputs}; {count:,} parameters"


def describe_layer(layer: nn.Module) -> str:
    """A short description: "conv 32 8x8/4", "linear 512, weight norm", "ReLU"."""
    if isinstance(layer, nn.Conv2d):
        kernel = f"{layer.kernel_size[0]}x{layer.kernel_size[1]}/{layer.stride[0]}"
        return f"conv {layer.out_channels} {kernel}{_parametrization(layer)}"
    if isinstance(layer, nn.Linear):
        return f"linear {layer.out_features}{_parametrization(layer)}"
    if isinstance(layer, nn.RNNBase):
        return f"{type(layer).__name__} {layer.hidden_size}"
    if isinstance(layer, nn.GroupNorm):
        return f"GroupNorm, {layer.num_groups} group{'s' if layer.num_groups > 1 else ''}"
    return type(layer).__name__


def _parametrization(layer: nn.Module) -> str:
    if not parametrize.is_parametrized(layer, "weight"):
        return ""
    function: Any = layer.parametrizations.weight[0]  # type: ignore[union-attr, index]
    known = {WeightNorm: "weight norm", parametrizations._SpectralNorm: "spectral norm"}  # noqa: SLF001
    return f", {known.get(type(function), type(function).__name__)}"


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Modules without parts, and modules that have parameters beside their parts, with their names."""
    parts = _parts(module)
    if isinstance(module, nn.Sequential) and not parts:  # the shared layers of a dueling head that has none
        return
    if not parts or any(True for _ in module.parameters(recurse=False)):
        yield name, module
    for key, part in parts:
        yield from _leaves(part, f"{name}.{key}" if name else key)


def _parts(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(key, part) for key, part in module.named_children() if key != "parametrizations"]


def _multiply_adds(layer: nn.Module, shape: tuple[int, ...]) -> int:
    if isinstance(layer, nn.Conv2d):
        window = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
        return math.prod(shape) * window
    if isinstance(layer, nn.RNNBase):
        return layer.weight_ih_l0.numel() + layer.weight_hh_l0.numel()  # type: ignore[operator]
    return layer.in_features * layer.out_features if isinstance(layer, nn.Linear) else 0
