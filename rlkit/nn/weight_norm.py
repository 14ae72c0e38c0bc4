"""Weight normalisation (Salimans and Kingma 2016): w = g v / ||v||, with its initialisation from data.

Each output unit, or channel, has its own length g; ||v|| is the norm over all inputs of the unit. It is a torch
parametrization of `weight`: `layer.parametrizations.weight.original0` is g (or s, with g = exp(s)), `original1` is v.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rlkit.nn.config import WeightNormConfig
from rlkit.nn.scaled import ScaledLinear

V_SCALE = 0.05  # standard deviation of v at the start (paper, section 3)
LEAST_SIGMA = 0.01  # a unit with a smaller deviation is nearly constant in random play; its deviation counts as 1


class WeightNorm(nn.Module):
    """The parametrization's function; g and v belong to the layer.

    scale: the initial standard deviation of the layer's output. units: the weight's axis of outputs.
    """

    def __init__(self, config: WeightNormConfig, scale: float = 1.0, units: int = 0) -> None:
        super().__init__()
        self.exponential = config.exponential
        self.scale = scale
        self.units = units
        self.length: Tensor | None  # (out, 1, ...) of v at the start, if v is projected
        self.register_buffer("length", None)
        self._project = config.project

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        weight: Tensor = torch._weight_norm(v, g.exp() if self.exponential else g, self.units)  # noqa: SLF001
        return weight

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(g, v) of a weight; v is the weight."""
        length = torch.norm_except_dim(weight, 2, self.units)
        if self._project:
            self.length = length.detach().clone()
        return length.log() if self.exponential else length, weight


def weight_norm(
    layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, config: WeightNormConfig, scale: float = 1.0
) -> nn.Module:
    """Normalises the weight of a linear layer or convolution: v ~ N(0, 0.05^2), bias 0. Returns the layer."""
    with torch.no_grad():
        layer.weight.normal_(0.0, V_SCALE)
        if layer.bias is not None:
            layer.bias.zero_()
    units = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    return parametrize.register_parametrization(layer, "weight", WeightNorm(config, scale, units))


def normalised_layers(module: nn.Module) -> Iterator[tuple[nn.Module, WeightNorm]]:
    """All weight-normalised layers inside `module`, each with its parametrization."""
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight"):
            function = layer.parametrizations.weight[0]  # type: ignore[union-attr, index]
            if isinstance(function, WeightNorm):
                yield layer, function


def length_and_direction(layer: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """g (out, 1, ...), or s of g = exp(s), and v (out, in, ...) of a weight-normalised layer.

    For a transposed convolution (1, out, ...) and (in, out, ...).
    """
    weight: Any = layer.parametrizations.weight  # type: ignore[union-attr]
    return weight.original0, weight.original1


class MeanOnlyBatchNorm(nn.Module):
    """t - mean(t) + b, the mean over the batch and, for images, over space (paper, section 3).

    Maps (B, C, ...) to (B, C, ...). In training mode the mean is the batch's, else a running average of those, which
    each new one enters with the weight `momentum`.
    """

    momentum = 0.1  # of the newest mean, as in the authors' code

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean = x.mean(_but_channels(x))  # (C,)
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        else:
            mean = self.running_mean
        return x + _as_channels(self.bias - mean, x)


@torch.no_grad()
def initialise_from_data(module: nn.Module, forward: Callable[[], Any]) -> None:
    """Sets g and b of all weight-normalised layers so that their outputs have mean 0 and deviation `scale`.

    `forward` runs `module` once, with hooks, over the data. Each layer is set from the outputs of the layers before it,
    which are normalised already: t = v x / ||v||; g = scale / sigma[t], b = -mu[t] scale / sigma[t] (paper, section 3,
    with scale = 1). A sigma below LEAST_SIGMA counts as 1; the paper sets no bound, but the inverse of a tiny sigma
    would turn the first observation that differs into huge values.
    """
    with ExitStack() as hooks:
        for layer, function in normalised_layers(module):
            length, _ = length_and_direction(layer)
            length.fill_(0.0 if function.exponential else 1.0)
            if layer.bias is not None:
                layer.bias.zero_()  # type: ignore[operator]
            hooks.callback(layer.register_forward_hook(_normalise_output).remove)
        for part in module.modules():
            if isinstance(part, MeanOnlyBatchNorm):
                hooks.callback(part.register_forward_hook(_take_mean).remove)
        forward()


def _normalise_output(layer: nn.Module, inputs: Any, t: Tensor) -> Tensor:
    function: Any = layer.parametrizations.weight[0]  # type: ignore[union-attr, index]
    sigma, mu = torch.std_mean(t, _but_channels(t), correction=0)  # (C,) each
    g = function.scale / torch.where(sigma < LEAST_SIGMA, 1.0, sigma)
    length, _ = length_and_direction(layer)
    length.copy_((g.log() if function.exponential else g).view_as(length))
    if layer.bias is None:  # mean-only batch normalisation follows
        return t * _as_channels(g, t)
    layer.bias.copy_(-mu * g)  # type: ignore[operator]
    return (t - _as_channels(mu, t)) * _as_channels(g, t)


def _take_mean(part: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
    assert isinstance(part, MeanOnlyBatchNorm)
    (t,) = inputs
    part.bias.zero_()
    part.running_mean.copy_(t.mean(_but_channels(t)))
    return t - _as_channels(part.running_mean, t)


def projection(module: nn.Module) -> Callable[[], None] | None:
    """A function that rescales each v to its initial length without changing w; None if no layer is to `project`."""
    found = [
        (function.length, length_and_direction(layer)[1], function.units)
        for layer, function in normalised_layers(module)
        if function.length is not None
    ]

    @torch.no_grad()
    def project() -> None:
        for length, v, units in found:
            v.mul_(length / torch.norm_except_dim(v, 2, units))

    return project if found else None


def plain_copy(module: nn.Module) -> nn.Module:
    """A copy that shares no memory, in which every parametrized weight is an ordinary parameter, the current w."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        if parametrize.is_parametrized(part):
            memo[id(part)] = _plain(part)
    return copy.deepcopy(module, memo)


def _plain(layer: nn.Module) -> nn.Module:
    """A parametrized layer as one of its original class.

    torch's remove_parametrizations would change the class, which deep copies share, and so the original layer too.
    """
    plain = copy.deepcopy(layer)
    original = type(layer).__bases__[0]  # parametrize derives a class for each layer from its own
    plain.__class__ = nn.Linear if original is ScaledLinear else original
    del plain.parametrizations
    for name in layer.parametrizations:  # type: ignore[union-attr]
        plain.register_parameter(name, nn.Parameter(getattr(layer, name).detach().clone()))
    return plain


def _but_channels(x: Tensor) -> list[int]:
    return [axis for axis in range(x.dim()) if axis != 1]


def _as_channels(values: Tensor, x: Tensor) -> Tensor:
    """(C,) -> (C, 1, ...), to broadcast over (B, C, ...)."""
    return values.view(-1, *[1] * (x.dim() - 2))
