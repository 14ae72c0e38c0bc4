"""Networks as differentiable functions of their float inputs, for attributions, attacks and probes.

What a network has besides the observation enters as a constant of that step: the state of its memory, last action and
reward, and the number of `observe_counts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from rlkit.agent import ScoreFunction
from rlkit.errors import SpecError
from rlkit.nn.actor_critic import ActorCritic
from rlkit.nn.beside import BESIDE
from rlkit.nn.cells import SIZE, Cells
from rlkit.nn.conversions import Flattened, OneHot
from rlkit.nn.inputs import InputLayer, with_number
from rlkit.nn.memory import RecurrentBody, RecurrentNetwork
from rlkit.nn.qnetwork import QNetwork
from rlkit.nn.structured import StructuredInput
from rlkit.structure import Structure

Part = Callable[[Tensor], Tensor]
NAMED = 8  # entries of a vector of a structured observation that are shown one by one; a larger part is one entry


@dataclass(frozen=True, slots=True)
class Encoding:
    """A network's input layer and encoder, divided where the float input is."""

    encode: Part  # observations (M, *O) -> float input (M, ...)
    features: Callable[..., Tensor]  # this input, and `beside` -> features (M, F)
    obs: Tensor  # (N, *O)
    beside: tuple[Tensor, ...]  # (N,) the number of a layer that is `joined`, or nothing
    entries: NDArray[np.int64] | None  # as of `ScoreFunction`

    def function(
        self, name: str, labels: tuple[str, ...], module: nn.Module, rest: Callable[..., Tensor],
        context: tuple[Tensor, ...] = (),
    ) -> ScoreFunction:  # fmt: skip
        """The scores `rest(features, *context)`; context: (N, ...) each."""
        count, everything = len(self.beside), (*self.beside, *context)

        def function(values: Tensor, *context: Tensor) -> Tensor:
            return rest(self.features(values, *context[:count]), *context[count:])

        with torch.no_grad():
            chosen = function(self.encode(self.obs), *everything).argmax(1).cpu().numpy()
        return ScoreFunction(name, labels, chosen, self.encode, function, module, everything, self.entries)


def q_scores(
    network: nn.Module, obs: Tensor, name: str, labels: tuple[str, ...] = (), memory: tuple[Tensor, ...] = ()
) -> ScoreFunction:
    """The values of a `QNetwork` or a `RecurrentNetwork` for observations (N, *O), or rows of a joined input.

    memory: of a recurrent network: its state before the step (N, S), and last action and reward (N, P) if it sees them.
    Raises SpecError for other networks.
    """
    if isinstance(network, RecurrentNetwork):
        encoder, rest = _remembering(network.bodies[0])
        values: Callable[..., Tensor] = lambda *args: network.values(rest(*args))  # noqa: E731
        return encoding(network.inputs, encoder, obs).function(name, labels, network, values, memory)
    if not isinstance(network, QNetwork):
        raise SpecError(f"a {type(network).__name__} is not supported")
    return encoding(network.inputs, network.encoder, obs).function(
        name, labels, network, lambda features: network.values(network.head(features))
    )


def actor_critic_scores(
    network: nn.Module, obs: Tensor, num_actions: int, memory: tuple[Tensor, ...] = ()
) -> list[ScoreFunction]:
    """The logits and the first state value of an `ActorCritic` or a `RecurrentNetwork`; arguments as of `q_scores`.

    Raises SpecError for other networks.
    """
    if not isinstance(network, ActorCritic | RecurrentNetwork):
        raise SpecError(f"a {type(network).__name__} is not supported")
    logits = _body_scores(network, 0, slice(0, num_actions), "logits", (), obs, memory)
    start = 0 if len(network.bodies) > 1 else num_actions
    value = _body_scores(network, -1, slice(start, start + 1), "state value", ("value",), obs, memory)
    return [logits, value]


def _body_scores(
    network: ActorCritic | RecurrentNetwork, which: int, outputs: slice, name: str, labels: tuple[str, ...],
    obs: Tensor, memory: tuple[Tensor, ...],
) -> ScoreFunction:  # fmt: skip
    body = network.bodies[which]
    if isinstance(body, RecurrentBody):
        encoder, rest = _remembering(body)
        state, *last = memory
        memory = (state.tensor_split(len(network.bodies), 1)[which], *last)
    else:
        encoder, *layers = body.children()
        rest = nn.Sequential(*layers)
    return encoding(network.inputs, encoder, obs).function(
        name, labels, body, lambda *args: rest(*args)[:, outputs], memory
    )


def _remembering(body: nn.Module) -> tuple[nn.Module, Callable[..., Tensor]]:
    """(encoder, its features and the memory's inputs to the output) of one step."""
    assert isinstance(body, RecurrentBody)
    encoder, *layers = body.before.children()
    hidden = nn.Sequential(*layers)

    def rest(features: Tensor, state: Tensor, *last: Tensor) -> Tensor:
        values = torch.cat((hidden(features), *last), 1)
        with torch.backends.cudnn.flags(enabled=False):  # cuDNN has gradients of recurrent layers in training alone
            remembered, _ = body.memory(values.unsqueeze(0), state)
        scores: Tensor = body.output(remembered[0])
        return scores

    return encoder, rest


def encoding(inputs: nn.Module, encoder: nn.Module, obs: Tensor) -> Encoding:
    """Divides `encoder(inputs(...))`; obs: (N, *O), or (N, size) rows of a joined or structured input.

    The float input of the encoder "cells" are the learned vectors of its codes, (N, 4, H, W): of codes nothing could be
    differentiated. That of a structured observation are the inputs of all its parts in one vector.
    """
    if isinstance(inputs, StructuredInput):
        return _of_parts(inputs, encoder, obs)
    assert isinstance(inputs, InputLayer)
    obs, *beside = inputs.split(obs) if inputs.joined else (obs,)
    if not isinstance(encoder, Cells):

        def with_all(values: Tensor, *number: Tensor) -> Tensor:
            found: Tensor = encoder(with_number(values, *number) if number else values)
            return found

        return Encoding(inputs.converted, with_all, obs, tuple(beside), entries(inputs))
    height, width = inputs.shape[1:]

    def vectors(obs: Tensor) -> Tensor:
        codes = inputs.converted(obs)
        looked_up: Tensor = encoder(with_number(codes, codes.new_zeros(len(codes))) if beside else codes)
        return looked_up[:, : SIZE * height * width].view(-1, height, width, SIZE).permute(0, 3, 1, 2)

    def features(found: Tensor, *number: Tensor) -> Tensor:
        flat = found.permute(0, 2, 3, 1).flatten(1)
        return torch.cat((flat, *(each.unsqueeze(1) for each in number)), 1)

    return Encoding(vectors, features, obs, tuple(beside), None)


def _of_parts(inputs: StructuredInput, encoder: nn.Module, rows: Tensor) -> Encoding:
    if inputs.structure.parts[-1].name == BESIDE:
        raise SpecError("observations of several parts with bonus.observe_counts are not supported")
    names, shapes = list(inputs.shape), list(inputs.shape.values())
    sizes = [math.prod(shape) for shape in shapes]

    def encode(rows: Tensor) -> Tensor:
        return torch.cat([values.flatten(1) for values in inputs(rows).values()], 1)

    def features(values: Tensor) -> Tensor:
        parts = zip(names, torch.split(values, sizes, 1), shapes, strict=True)
        found: Tensor = encoder({name: part.reshape(-1, *shape) for name, part, shape in parts})
        return found

    column, number = [], 0
    for size, shown in zip(sizes, map(len, shown_entries(inputs.structure)), strict=True):
        column += list(range(number, number + shown)) if shown > 1 else [number] * size
        number += shown
    return Encoding(encode, features, rows, (), np.array(column))


def shown_entries(structure: Structure) -> list[tuple[str, ...]]:
    """For each part the names of what is shown of it: each entry of a short vector of numbers, else the part."""
    found = []
    for part in structure.parts:
        single = isinstance(part.space, spaces.Box) and len(part.shape) == 1 and 1 < part.shape[0] <= NAMED
        found.append(tuple(f"{part.name} {index}" for index in range(part.shape[0])) if single else (part.name,))
    return found


def entries(inputs: InputLayer) -> NDArray[np.int64] | None:
    """(d,) the entry of the observation that each input belongs to, if entries of a vector are one-hot."""
    values = inputs.values
    values = values.inner if isinstance(values, Flattened) else values
    if not isinstance(values, OneHot) or len(inputs.shape) != 1:
        return None
    column: NDArray[np.int64] = values.column.cpu().numpy()
    return column


def refuse_planes(encoder: nn.Module) -> None:
    """Raises SpecError for an encoder of codes that also reads planes of goals."""
    if isinstance(encoder, Cells):
        raise SpecError('the controller\'s encoder "cells" with masks of goals is not supported')
