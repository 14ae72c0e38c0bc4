"""A Q-network from its config: input layer, encoder, head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from torch import Tensor, nn

from rlkit.errors import ConfigError
from rlkit.nn.config import NetworkConfig
from rlkit.nn.conversions import OneHot
from rlkit.nn.encoders import build_encoder, default_hidden, is_built_in, output_size
from rlkit.nn.heads import q_head, values_of
from rlkit.nn.inputs import InputLayer
from rlkit.nn.layers import LayerFactory
from rlkit.nn.memory import RecurrentNetwork, build_body
from rlkit.nn.structured import Inputs, build_inputs, shape_text
from rlkit.nn.summary import one_line
from rlkit.structure import Observed

__all__ = ["NetworkConfig", "QNetwork", "build_q_network", "build_value_network", "describe_network"]


class QNetwork(nn.Module):
    """Maps raw observations (B, *O) to the head's output (B, ...), from which `values` computes action values (B, A).

    The output is the action values unless the head has a method `values`, as a distributional head does.
    """

    def __init__(self, inputs: Inputs, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.inputs = inputs
        self.encoder = encoder
        self.head = head
        self._steps = list(forward_calls(inputs, encoder, head))
        self._values = values_of(head)

    def forward(self, obs: Tensor) -> Tensor:
        for step in self._steps:
            obs = step(obs)
        return obs

    def values(self, output: Tensor) -> Tensor:
        """Action values (B, A) of an output (B, ...)."""
        return self._values(output)

    def forward_with_hooks(self, obs: Tensor) -> Tensor:
        """The same output, computed slower, with the hooks of all layers."""
        values: Tensor = self.head(self.encoder(self.inputs(obs)))
        return values


class ValuesOf(nn.Module):
    """Maps raw observations (B, *O) to the action values (B, A) of a network, for export."""

    def __init__(self, network: QNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor) -> Tensor:
        return self.network.values(self.network.forward_with_hooks(obs))


def forward_calls(*modules: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """The calls of a forward pass in order: the parts of Sequential modules, and `forward` of torch's own layers.

    Calling a module costs 1 µs, its `forward` alone 0.1. Hooks on torch's layers are not run, parametrizations are.
    """
    for module in modules:
        if type(module) is nn.Sequential:
            yield from forward_calls(*module)
        else:
            yield module.forward if type(module).__module__.startswith("torch.nn.modules") else module


def build_value_network(config: NetworkConfig, observed: Observed, num_actions: int) -> QNetwork | RecurrentNetwork:
    """As `build_q_network`, or with `config.memory` a network that maps sequences, for agents that keep its state."""
    if config.memory is None:
        return build_q_network(config, observed, num_actions)
    memory = config.memory
    inputs, config = build_inputs(config, observed)
    refuse_idle(config)
    body = build_body(config, memory, inputs, num_actions, num_actions)
    return RecurrentNetwork(inputs, [body], memory).eval()


def build_q_network(config: NetworkConfig, observed: Observed, num_actions: int) -> QNetwork:
    """A network with fresh parameters from torch's global generator (use `seeding.torch_seeded` around it).

    observed: the observation space, or the structure of rows, as `observed` says. The network is in evaluation mode;
    the learner switches to training mode where needed. Raises SpecError if the observations do not fit the input or the
    encoder, ConfigError for an unusable encoder or normalisation, and for `memory`.
    """
    config.refuse_memory()
    inputs, config = build_inputs(config, observed)
    factory = LayerFactory.of(config)
    encoder = build_encoder(config.encoder, inputs.shape, factory)
    hidden = default_hidden(config.encoder) if config.hidden is None else config.hidden
    head = q_head(output_size(encoder), hidden, num_actions, factory, dueling=config.dueling)
    refuse_idle(config)
    return table_from_zero(QNetwork(inputs, encoder, head).eval())


N = TypeVar("N", bound=nn.Module)


def table_from_zero(network: N) -> N:
    """Makes a linear function of one-hot observations a table: values start at 0, and there is no bias.

    Small learning rates would keep random initial values for a whole run, and a bias would be shared by all states.
    `network` has parts `inputs`, `encoder` and `head`. Any other network stays as it is.
    """
    weights = [name for name, _ in network.named_parameters()]
    one_hot = isinstance(network.inputs, InputLayer) and isinstance(network.inputs.values, OneHot)
    if one_hot and weights == ["head.0.weight", "head.0.bias"]:
        for parameter in network.parameters():
            nn.init.zeros_(parameter)
        network.get_parameter("head.0.bias").requires_grad_(False)
    return network


def refuse_idle(config: NetworkConfig) -> None:
    """Raises ConfigError for a normalisation that applies to no layer."""
    hidden = default_hidden(config.encoder) if config.hidden is None else config.hidden
    convolutions = (
        is_built_in(config.encoder) and config.encoder not in ("mlp", "cells") and config.normalisation != "spectral"
    )
    if config.normalisation and not config.weights_are_normalised and not hidden and not convolutions:
        raise ConfigError(
            f'network.normalisation = "{config.normalisation}" has no layer to act on: network.hidden is empty; '
            'use network.normalisation = "none"'
        )


def describe_network(network: QNetwork | RecurrentNetwork, num_actions: int) -> str:
    """One line: input shape, layers with parameters, and the number of parameters."""
    return one_line(network, shape_text(network.inputs.shape), f"{num_actions} values")
