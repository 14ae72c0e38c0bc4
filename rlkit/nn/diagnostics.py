"""Measurements of a network that learns: norms of weights and gradients, dormant units, the rank of its features."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rlkit.nn.weight_norm import WeightNorm, length_and_direction, normalised_layers

DORMANT = 0.025  # a unit is dormant up to this share of its layer's mean activity
SRANK_DELTA = 0.01  # the share of the singular values' sum that the effective rank leaves out
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Tanh)


def with_hooks(network: nn.Module) -> Callable[..., Any]:
    """The forward pass that runs the hooks of all layers: `forward_with_hooks` if the network has it."""
    call: Callable[..., Any] = getattr(network, "forward_with_hooks", network)
    return call


class Diagnostics:
    """Measures a network without changing it. Build a new one after layers change.

    learning_rate: the optimizer's.
    """

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        self._network = network
        self.learning_rate = learning_rate
        self._normalised = dict(normalised_layers(network))
        named = dict(network.named_modules())
        self._layers = {name: part for name, part in named.items() if isinstance(part, nn.Conv2d | nn.Linear)}
        self._activations = {name: part for name, part in named.items() if isinstance(part, ACTIVATIONS)}
        linear = [part for part in self._layers.values() if isinstance(part, nn.Linear)]
        self._output = linear[-1] if linear else None  # with dueling streams that of the advantages

    @torch.no_grad()
    def __call__(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Measurements by name, 0-dim tensors on the network's device, with the current gradients.

        inputs: the network's arguments, (B, ...) each, for which activities are measured.
        """
        readings: dict[str, Tensor] = {}
        for name, layer in self._layers.items():
            readings |= self._weights(name, layer)
        with ExitStack() as hooks:
            for name, part in self._activations.items():

                def active(part: nn.Module, args: Any, out: Tensor, name: str = name) -> None:
                    readings[f"dormant/{name}"] = dormant_share(out)

                hooks.callback(part.register_forward_hook(active).remove)
            if self._output is not None:

                def features(part: nn.Module, args: tuple[Tensor, ...]) -> None:
                    readings["features/srank"] = srank(args[0])

                hooks.callback(self._output.register_forward_pre_hook(features).remove)
            with_hooks(self._network)(*inputs)
        return readings

    def _weights(self, name: str, layer: nn.Module) -> dict[str, Tensor]:
        """||v|| and lr / ||v||^2, means over the units; v is the weight if the layer is not weight-normalised."""
        function: WeightNorm | None = self._normalised.get(layer)
        readings: dict[str, Tensor] = {}
        if function is None:
            made = parametrize.is_parametrized(layer, "weight")  # by spectral normalisation
            v: Any = layer.parametrizations.weight.original if made else layer.weight  # type: ignore[union-attr]
        else:
            g, v = length_and_direction(layer)
            readings[f"g/{name}"] = (g.exp() if function.exponential else g).mean()
        length = torch.linalg.vector_norm(v.flatten(1), dim=1)  # (out,)
        readings[f"weight_norm/{name}"] = length.mean()
        readings[f"effective_learning_rate/{name}"] = (self.learning_rate / length.square().clamp(min=1e-12)).mean()
        gradients = [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]
        if gradients:
            readings[f"gradient_norm/{name}"] = torch.nn.utils.get_total_norm(gradients)
        return readings


def dormant_share(activity: Tensor) -> Tensor:
    """The share of a layer's units whose mean |activity| is at most DORMANT of the layer's mean (Sokar et al. 2023).

    activity: (B, C, ...); for images a unit is a channel.
    """
    unit = activity.abs().flatten(2).mean(2).mean(0) if activity.dim() > 2 else activity.abs().mean(0)  # (C,)
    return (unit <= DORMANT * unit.mean()).float().mean()


def srank(features: Tensor) -> Tensor:
    """The least k with which the k largest singular values make up 1 - SRANK_DELTA of their sum (Kumar et al. 2021).

    features: (B, d). 1 if all are 0.
    """
    values = torch.linalg.svdvals(features.float())
    share = (values.cumsum(0) / values.sum()).nan_to_num(1.0)
    rank: Tensor = 1.0 + (share < 1.0 - SRANK_DELTA).sum().float()
    return rank
