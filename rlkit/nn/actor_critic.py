"""A policy over discrete actions and state values from one config: one network for both, or two."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rlkit.errors import ConfigError
from rlkit.nn.config import NetworkConfig
from rlkit.nn.encoders import build_encoder, default_hidden, is_built_in, output_size
from rlkit.nn.fused import FusedNetworks
from rlkit.nn.heads import dense
from rlkit.nn.layers import LayerFactory
from rlkit.nn.memory import RecurrentNetwork, build_body, initialise_cell_orthogonally
from rlkit.nn.qnetwork import forward_calls, refuse_idle
from rlkit.nn.structured import Inputs, build_inputs, shape_text
from rlkit.nn.summary import one_line
from rlkit.structure import Observed

POLICY_GAIN, VALUE_GAIN, HIDDEN_GAIN = 0.01, 1.0, math.sqrt(2.0)  # of orthogonal initialisation


class ActorCritic(nn.Module):
    """Maps raw observations (B, *O) to (B, A + V): the logits of the A actions, then V values of the state.

    V is 1, or more if rewards of several kinds have values of their own. bodies: one network with A + V outputs, or one
    for the policy with A and one for the values with V.
    """

    def __init__(self, inputs: Inputs, bodies: Sequence[nn.Sequential]) -> None:
        super().__init__()
        self.inputs = inputs
        self.bodies = nn.ModuleList(bodies)
        self._calls = [list(forward_calls(body)) for body in bodies]
        self._fused = FusedNetworks.of(bodies)

    def forward(self, obs: Tensor) -> Tensor:
        inputs, outputs = self.inputs(obs), []
        if self._fused is not None and self._fused.supports(inputs):
            return self._fused(inputs)
        for calls in self._calls:
            values = inputs
            for call in calls:
                values = call(values)
            outputs.append(values)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)

    def forward_with_hooks(self, obs: Tensor) -> Tensor:
        """The same output, computed slower, with the hooks of all layers."""
        inputs = self.inputs(obs)
        return torch.cat([body(inputs) for body in self.bodies], 1)


def build_actor_critic(
    config: NetworkConfig, observed: Observed, num_actions: int, num_values: int, *, separate: bool, orthogonal: bool
) -> ActorCritic | RecurrentNetwork:
    """A network with fresh parameters from torch's global generator (use `seeding.torch_seeded` around it).

    separate: policy and values share no layers. orthogonal: orthogonal weights with gain sqrt(2), 0.01 for the logits
    and 1 for the values and each gate of a memory, unless weights are normalised, which have an initialisation of their
    own. A user's encoder keeps its parameters. The network is in evaluation mode; with `config.memory` it maps
    sequences, as a `RecurrentNetwork` does. Raises SpecError if the space does not fit the input or the encoder,
    ConfigError for an unusable encoder or normalisation, and for `dueling`.
    """
    if config.dueling:
        raise ConfigError("network.dueling splits action values; a policy and a state value have none")
    inputs, config = build_inputs(config, observed)
    factory = LayerFactory.of(config)
    hidden = default_hidden(config.encoder) if config.hidden is None else config.hidden
    refuse_idle(config)
    outputs = (num_actions, num_values) if separate else (num_actions + num_values,)
    if config.memory is not None:
        recurrent = [build_body(config, config.memory, inputs, num_actions, units) for units in outputs]
        if orthogonal and not config.weights_are_normalised:
            for body in recurrent:
                initialise_cell_orthogonally(body.memory.cell)
            _start_orthogonally([[*body.before, body.output] for body in recurrent], config, num_actions)
        return RecurrentNetwork(inputs, recurrent, config.memory).eval()
    bodies = []
    for units in outputs:
        encoder = build_encoder(config.encoder, inputs.shape, factory)
        bodies.append(nn.Sequential(encoder, *dense(output_size(encoder), hidden, units, factory)))
    if orthogonal and not config.weights_are_normalised:
        _start_orthogonally([list(body) for body in bodies], config, num_actions)
    return ActorCritic(inputs, bodies).eval()


def _start_orthogonally(bodies: Sequence[list[nn.Module]], config: NetworkConfig, num_actions: int) -> None:
    """Initialises the layers of bodies, from the encoder to the output."""
    own = not is_built_in(config.encoder)  # a user's encoder keeps its parameters, which may be trained
    for encoder, *layers in bodies:
        initialise_orthogonally(nn.ModuleList(layers if own else (encoder, *layers)))
    weights = [body[-1].get_parameter("weight") for body in bodies]
    logits, values = weights if len(bodies) == 2 else weights[0].tensor_split([num_actions])
    nn.init.orthogonal_(logits, POLICY_GAIN)
    nn.init.orthogonal_(values, VALUE_GAIN)


def initialise_orthogonally(module: nn.Module) -> None:
    """Orthogonal weights with gain sqrt(2) and biases of 0 in all linear layers and convolutions (Saxe et al. 2014).

    Spectrally normalised layers keep their own initialisation.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d) and not parametrize.is_parametrized(layer):
            nn.init.orthogonal_(layer.weight, HIDDEN_GAIN)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def describe_actor_critic(network: ActorCritic | RecurrentNetwork, num_actions: int, num_values: int) -> str:
    """One line: input shape, layers with parameters, and the number of parameters."""
    values = "a value" if num_values == 1 else f"{num_values} values"
    return one_line(network, shape_text(network.inputs.shape), f"{num_actions} logits and {values}")
