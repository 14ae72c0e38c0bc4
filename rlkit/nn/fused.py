"""Fully connected networks as one operation of autograd, for small ones on the CPU.

With minibatches of 256 and two networks of 64 and 64 tanh units, forward and backward take three quarters of the time:
autograd records one operation instead of one for each layer, and NumPy's tanh takes a seventh of the time of torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from rlkit.nn.encoders import Flat

Layer: TypeAlias = tuple[Tensor, Tensor]  # weight (o, i) and bias (o,)


class FusedNetworks:
    """Networks of linear layers with tanh or ReLU between them, over the same vectors, with concatenated outputs."""

    def __init__(self, networks: Sequence[Sequence[nn.Linear]], activation: type[nn.Module]) -> None:
        self._layers = [layer for layers in networks for layer in layers]
        self._depths = [len(layers) for layers in networks]
        self._tanh = activation is nn.Tanh

    @classmethod
    def of(cls, bodies: Sequence[nn.Sequential]) -> Self | None:
        """The same function as `bodies`, each of which begins with an encoder; None if they have other layers."""
        networks, kinds = [], set()
        for body in bodies:
            encoder, *parts = body
            linear, between = parts[::2], parts[1::2]
            if type(encoder) is not Flat or any(type(part) is not nn.Linear for part in linear):
                return None
            networks.append(linear)
            kinds |= {type(part) for part in between}
        if kinds not in ({nn.ReLU}, {nn.Tanh}):
            return None
        return cls(networks, kinds.pop())  # type: ignore[arg-type]

    def supports(self, inputs: Tensor) -> bool:
        """Whether to use this for `inputs`."""
        return inputs.dim() == 2 and inputs.device.type == "cpu" and not torch.is_autocast_enabled("cpu")

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs (B, sum of the networks' outputs) of inputs (B, i)."""
        parameters = [parameter for layer in self._layers for parameter in (layer.weight, layer.bias)]
        output: Tensor = _Networks.apply(inputs, self._tanh, self._depths, *parameters)  # type: ignore[no-untyped-call]
        return output


class _Networks(torch.autograd.Function):
    """Arguments: inputs, whether activations are tanh, the depth of each network, and all weights and biases."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, tanh: bool, depths: Sequence[int], *parameters: Tensor) -> Tensor:
        layers = list(zip(parameters[::2], parameters[1::2], strict=True))
        values, outputs = [], []
        for depth in depths:
            passed = _forward(inputs, layers[:depth], tanh)
            outputs.append(passed.pop())
            values += passed
            layers = layers[depth:]
        ctx.tanh, ctx.depths, ctx.sizes = tanh, depths, [output.shape[1] for output in outputs]
        ctx.save_for_backward(*values, *parameters[::2])
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        values, weights = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        of_inputs: Tensor | None = None
        grads: list[Tensor] = []
        for depth, part in zip(ctx.depths, torch.split(grad, ctx.sizes, 1), strict=True):
            through, found = _backward(part, values[:depth], weights[:depth], ctx.tanh, ctx.needs_input_grad[0])
            if through is not None:
                of_inputs = through if of_inputs is None else of_inputs + through
            grads += found
            values, weights = values[depth:], weights[depth:]
        return of_inputs, None, None, *grads


def _forward(value: Tensor, layers: Sequence[Layer], tanh: bool) -> list[Tensor]:
    """The inputs of each layer, and the output."""
    values = [value]
    for number, (weight, bias) in enumerate(layers, 1):
        value = torch.addmm(bias, value, weight.t())
        if number < len(layers):
            value = _tanh_(value) if tanh else value.relu_()
        values.append(value)
    return values


def _backward(
    grad: Tensor, values: Sequence[Tensor], weights: Sequence[Tensor], tanh: bool, through: bool
) -> tuple[Tensor | None, list[Tensor]]:
    """Gradients of the inputs, if they go `through`, and of weights and biases in turn; `values` are layers' inputs."""
    grads: list[Tensor] = []
    for number in reversed(range(len(weights))):
        grads += [grad.sum(0), _outer(grad, values[number])]
        if number or through:
            grad = grad.mm(weights[number])
        if number and tanh:
            grad = torch.ops.aten.tanh_backward(grad, values[number])
        elif number:
            grad = torch.ops.aten.threshold_backward(grad, values[number], 0)
    return grad if through else None, grads[::-1]


def _outer(grad: Tensor, value: Tensor) -> Tensor:
    """(o, i) grad^T value of grad (B, o) and value (B, i); with the narrow one first it takes a quarter of the time."""
    return grad.t().mm(value) if grad.shape[1] <= value.shape[1] else value.t().mm(grad).t()


def _tanh_(value: Tensor) -> Tensor:
    """tanh in place."""
    array = value.numpy()
    np.tanh(array, out=array)
    return value
