"""A Q-network from its config: input layer, encoder, head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import gymnasium as gym
from torch import Tensor, nn

from rlkit.errors import ConfigError
from rlkit.nn.config import NetworkConfig
from rlkit.nn.encoders import ENCODERS, build_encoder, default_hidden, output_size
from rlkit.nn.heads import q_head, values_of
from rlkit.nn.inputs import InputLayer, OneHot, build_input
from rlkit.nn.layers import LayerFactory
from rlkit.nn.summary import describe_layer

__all__ = ["NetworkConfig", "QNetwork", "build_q_network", "describe_network"]


class QNetwork(nn.Module):
    """Raw observations (B, *O) -> the head's output (B, ...), of which `values` makes action values (B, A).

    The output is the action values, unless the head has a method `values` (a distributional one).
    """

    def __init__(self, inputs: InputLayer, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.inputs = inputs
        self.encoder = encoder
        self.head = head
        self._steps = list(_steps(inputs, encoder, head))
        self._values = values_of(head)

    def forward(self, obs: Tensor) -> Tensor:
        for step in self._steps:
            obs = step(obs)
        return obs

    def values(self, output: Tensor) -> Tensor:
        """Action values (B, A) of an output (B, ...)."""
        return self._values(output)

    def forward_with_hooks(self, obs: Tensor) -> Tensor:
        """The same, slower, with the hooks of all layers."""
        values: Tensor = self.head(self.encoder(self.inputs(obs)))
        return values


def _steps(*modules: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """What to call in order, Sequential modules by their parts, torch's own layers by their forward.

    Calling a module costs 1 µs, its forward alone 0.1; hooks on torch's layers are not run, parametrizations are.
    """
    for module in modules:
        if type(module) is nn.Sequential:
            yield from _steps(*module)
        else:
            yield module.forward if type(module).__module__.startswith("torch.nn.modules") else module


def build_q_network(config: NetworkConfig, space: gym.Space[Any], num_actions: int) -> QNetwork:
    """A network with fresh parameters from torch's global generator (use `seeding.torch_seeded` around it).

    It is in evaluation mode; who learns sets the other one for the passes that do. Raises SpecError where the space
    does not suit the input or the encoder, ConfigError for an unusable encoder or normalisation.
    """
    inputs = build_input(space, config.input)
    style = LayerFactory.of(config)
    encoder = build_encoder(config.encoder, inputs.shape, style)
    hidden = default_hidden(config.encoder) if config.hidden is None else config.hidden
    head = q_head(output_size(encoder), hidden, num_actions, style, dueling=config.dueling)
    refuse_idle(config, hidden)
    return table_from_zero(QNetwork(inputs, encoder, head).eval())


N = TypeVar("N", bound=nn.Module)


def table_from_zero(network: N) -> N:
    """Makes a linear function of one-hot observations a table: values begin at 0, and no bias is shared by all states.

    `network` has parts `inputs`, `encoder` and `head`. Small learning rates would not forget random values within a
    run. Any other network stays as it is.
    """
    weights = [name for name, _ in network.named_parameters()]
    one_hot = isinstance(network.inputs, InputLayer) and isinstance(network.inputs.values, OneHot)
    if one_hot and weights == ["head.0.weight", "head.0.bias"]:
        for parameter in network.parameters():
            nn.init.zeros_(parameter)
        network.get_parameter("head.0.bias").requires_grad_(False)
    return network


def refuse_idle(config: NetworkConfig, hidden: tuple[int, ...]) -> None:
    """Raises ConfigError for a normalisation that finds no layer."""
    convolutions = config.encoder in ENCODERS and config.encoder != "mlp" and config.normalisation != "spectral"
    if config.normalisation and not config.weights_are_normalised and not hidden and not convolutions:
        raise ConfigError(
            f'network.normalisation = "{config.normalisation}" has no layer to act on: network.hidden is empty'
        )


def describe_network(network: QNetwork, num_actions: int) -> str:
    """One line: input shape, layers with parameters, and how many parameters in all."""
    parts = [str(network.inputs.shape)]
    parts += [describe_layer(module) for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{', '.join(parts)} -> {num_actions} values; {count:,} parameters"
