"""A Q-network from its config: input layer, encoder, head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import gymnasium as gym
from pydantic import Field, field_validator
from torch import Tensor, nn

from rlkit.config import Model
from rlkit.nn.encoders import ENCODERS, build_encoder, default_hidden, output_size
from rlkit.nn.heads import q_head
from rlkit.nn.inputs import InputKind, InputLayer, build_input


class NetworkConfig(Model):
    """The table `network` of an agent with a Q-network."""

    input: InputKind = Field(
        "auto",
        description="How observations become numbers. auto decides by the space (rlkit/nn/inputs.py has the rules); "
        "pixels divides by 255; codes makes MiniGrid's codes one-hot; bounds scales to [-1, 1]; raw changes nothing.",
    )
    encoder: str = Field(
        "mlp",
        description='What comes before the fully connected layers: "mlp" nothing; "nature" the three convolutions of '
        'Mnih et al. 2015, for images from 36 x 36; "nips" the two of Mnih et al. 2013, a third of the work, from '
        '20 x 20; "minatar" the one of Young and Tian 2019, from 3 x 3; '
        '"package.module:attr" your own, a callable (shape) -> nn.Module with the int attribute output_size.',
    )
    hidden: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None,
        description="Units of the fully connected ReLU layers after the encoder. Left out: 120, 84 (mlp), 512 "
        "(nature), 256 (nips), 128 (minatar), none after your own. [] makes values linear in the features: a table, "
        "where observations are one-hot.",
    )
    dueling: bool = Field(
        False,
        description="Separate streams for the state's value and the actions' advantages (Wang et al. 2016, eq. 9), "
        "each with its own copy of the last hidden layer.",
    )

    @field_validator("encoder")
    @classmethod
    def _known(cls, encoder: str) -> str:
        module, colon, attribute = encoder.partition(":")
        if encoder not in ENCODERS and not (module and colon and attribute):
            known = ", ".join(f'"{name}"' for name in ENCODERS)
            raise ValueError(f'encoder "{encoder}" is not known; use {known} or your own as "package.module:attr"')
        return encoder


class QNetwork(nn.Module):
    """Observations (B, *O), raw, -> one value for each action, (B, A)."""

    def __init__(self, inputs: InputLayer, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.inputs = inputs
        self.encoder = encoder
        self.head = head
        self._steps = list(_steps(inputs, encoder, head))

    def forward(self, obs: Tensor) -> Tensor:
        for step in self._steps:
            obs = step(obs)
        return obs


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

    Raises SpecError where the space does not suit the input or the encoder, ConfigError for an unusable encoder.
    """
    inputs = build_input(space, config.input)
    encoder = build_encoder(config.encoder, inputs.shape)
    hidden = default_hidden(config.encoder) if config.hidden is None else config.hidden
    return QNetwork(inputs, encoder, q_head(output_size(encoder), hidden, num_actions, dueling=config.dueling))


def describe_network(network: QNetwork, num_actions: int) -> str:
    """One line: input shape, layers with parameters, and how many parameters in all."""
    parts = [str(network.inputs.shape)]
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            parts.append(
                f"conv {module.out_channels} {module.kernel_size[0]}x{module.kernel_size[1]}/{module.stride[0]}"
            )
        elif isinstance(module, nn.Linear):
            parts.append(f"linear {module.out_features}")
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{', '.join(parts)} -> {num_actions} values; {count:,} parameters"
