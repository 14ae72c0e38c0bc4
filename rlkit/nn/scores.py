"""Networks as differentiable functions of their float inputs, for attributions, attacks and probes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlkit.agent import ScoreFunction
from rlkit.errors import SpecError
from rlkit.nn.actor_critic import ActorCritic
from rlkit.nn.cells import SIZE, Cells
from rlkit.nn.conversions import Flattened, OneHot
from rlkit.nn.inputs import InputLayer
from rlkit.nn.qnetwork import QNetwork

Part = Callable[[Tensor], Tensor]
SEVERAL_PARTS = "observations of several parts with an encoder each are not supported yet"


def q_scores(network: nn.Module, obs: Tensor, name: str, labels: tuple[str, ...] = ()) -> ScoreFunction:
    """The values of a `QNetwork` for observations (N, *O). Raises SpecError for other networks."""
    if not isinstance(network, QNetwork):
        raise SpecError(_unsupported(network))
    encode, features = encoding(network.inputs, network.encoder)

    def function(inputs: Tensor) -> Tensor:
        return network.values(network.head(features(inputs)))

    return ScoreFunction(
        name, labels, best(function, encode, obs), encode, function, network, (), entries(network.inputs)
    )


def actor_critic_scores(network: nn.Module, obs: Tensor, num_actions: int) -> list[ScoreFunction]:
    """The logits and the first state value of an `ActorCritic`, for observations (N, *O).

    Raises SpecError for other networks.
    """
    if not isinstance(network, ActorCritic):
        raise SpecError(_unsupported(network))
    logits = _body_scores(network, 0, slice(0, num_actions), "logits", (), obs)
    start = 0 if len(network.bodies) > 1 else num_actions
    value = _body_scores(network, -1, slice(start, start + 1), "state value", ("value",), obs)
    return [logits, value]


def _body_scores(
    network: ActorCritic, which: int, outputs: slice, name: str, labels: tuple[str, ...], obs: Tensor
) -> ScoreFunction:
    encoder, *layers = network.bodies[which].children()
    encode, features = encoding(network.inputs, encoder)
    rest = nn.Sequential(*layers)

    def function(inputs: Tensor) -> Tensor:
        scores: Tensor = rest(features(inputs))
        return scores[:, outputs]

    chosen = best(function, encode, obs)
    return ScoreFunction(name, labels, chosen, encode, function, network.bodies[which], (), entries(network.inputs))


def best(function: Part, encode: Part, obs: Tensor) -> NDArray[np.int64]:
    """(N,) the output of the highest score, the first of equals."""
    with torch.no_grad():
        chosen: NDArray[np.int64] = function(encode(obs)).argmax(1).cpu().numpy()
    return chosen


def encoding(inputs: nn.Module, encoder: nn.Module) -> tuple[Part, Part]:
    """(observations to the layers' float input, this input to the encoder's features).

    The input of the encoder "cells" are the learned vectors of its codes, (B, 4, H, W): of codes nothing could be
    differentiated. Raises SpecError for an input of several parts.
    """
    if not isinstance(inputs, InputLayer):
        raise SpecError(SEVERAL_PARTS)
    if not isinstance(encoder, Cells):
        return inputs, encoder
    height, width = inputs.shape[1:]

    def vectors(obs: Tensor) -> Tensor:
        looked_up: Tensor = encoder(inputs(obs))
        return looked_up.view(-1, height, width, SIZE).permute(0, 3, 1, 2)

    return vectors, lambda found: found.permute(0, 2, 3, 1).flatten(1)


def entries(inputs: nn.Module) -> NDArray[np.int64] | None:
    """(d,) the entry of the observation that each input belongs to, if entries of a vector are one-hot.

    Raises SpecError for an input of several parts.
    """
    if not isinstance(inputs, InputLayer):
        raise SpecError(SEVERAL_PARTS)
    values = inputs.values
    values = values.inner if isinstance(values, Flattened) else values
    if not isinstance(values, OneHot) or len(inputs.shape) != 1:
        return None
    column: NDArray[np.int64] = values.column.cpu().numpy()
    return column


def _unsupported(network: nn.Module) -> str:
    recurrent = any(isinstance(part, nn.RNNBase | nn.RNNCellBase) for part in network.modules())
    return (
        "recurrent networks (network.memory) are not supported yet"
        if recurrent
        else (f"a {type(network).__name__} is not supported")
    )
