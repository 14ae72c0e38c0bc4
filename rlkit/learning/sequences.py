"""The steps of a rollout as arguments of a network: rows of single observations, or sequences for a memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from rlkit.devices import to_device
from rlkit.learning.gradient import Gradient
from rlkit.learning.recall import LAST, MEMORY, NEXT_LAST
from rlkit.learning.rollouts import shuffled
from rlkit.nn.actor_critic import ActorCritic
from rlkit.nn.memory import RecurrentNetwork
from rlkit.nn.qnetwork import QNetwork
from rlkit.replay import TrajectoryBatch

Arguments: TypeAlias = tuple[Any, ...]  # of a network
Forward: TypeAlias = Callable[..., Tensor]
Network: TypeAlias = QNetwork | ActorCritic | RecurrentNetwork


class RolloutInputs(Protocol):
    """All S = T * N steps of a rollout, as the network takes them. Outputs are rows (S, ...), in the order (T, N)."""

    @property
    def observations(self) -> Tensor:
        """(S, *O)."""

    def all(self) -> Arguments:
        """The network's arguments for all steps; its output is (S, ...)."""

    def first(self) -> Arguments:
        """For the first step of each environment: (N, ...)."""

    def successors(self, evaluate: Forward) -> Tensor:
        """The outputs (N + K, ...) of `TrajectoryBatch.successors`."""

    def sample(self, size: int, rng: np.random.Generator) -> Arguments:
        """For about `size` steps, from which weights are initialised."""

    def minibatches(
        self, columns: Sequence[Tensor], parts: int, rng: np.random.Generator
    ) -> Iterator[tuple[Arguments, tuple[Tensor, ...]]]:
        """All steps once, in random order, in `parts` parts: the network's arguments, and the rows of each column."""


class SingleInputs:
    """Of a network without memory: each step is a sample of its own."""

    def __init__(self, obs: Tensor, successors: Tensor) -> None:
        """obs (T, N, *O) and successors (N + K, *O) of a `TrajectoryBatch`."""
        self._first = obs[0]
        self._obs = obs.flatten(0, 1)
        self._successors = successors

    @property
    def observations(self) -> Tensor:
        return self._obs

    def all(self) -> Arguments:
        return (self._obs,)

    def first(self) -> Arguments:
        return (self._first,)

    def successors(self, evaluate: Forward) -> Tensor:
        return evaluate(self._successors)

    def sample(self, size: int, rng: np.random.Generator) -> Arguments:
        rows = rng.choice(len(self._obs), size, replace=False)
        return (self._obs.index_select(0, to_device(rows, self._obs.device)),)

    def minibatches(
        self, columns: Sequence[Tensor], parts: int, rng: np.random.Generator
    ) -> Iterator[tuple[Arguments, tuple[Tensor, ...]]]:
        for rows, *part in shuffled(columns, parts, rng):
            yield (self._obs.index_select(0, rows),), tuple(part)


class SequenceInputs:
    """Of a network with memory: each environment's rollout in sequences of `length` steps.

    A sequence starts with the stored state of its first step, the one that chose its action, and the state is zeros
    wherever an episode begins in it. So the outputs are those of acting while the parameters are; the first step of a
    rollout was in flight during the last update, and the state after it is computed anew with the present parameters.
    """

    def __init__(self, batch: TrajectoryBatch, length: int) -> None:
        """length: a divisor of T."""
        self._batch = batch
        self._length = length
        self._count = len(batch.obs) // length * batch.obs.shape[1]  # of sequences
        self._resets = batch.first.cpu()  # (T, N), where pieces are cut
        self._memory = device_column(batch.extras[MEMORY])  # (T, N, S)
        self._last = device_column(batch.extras[LAST]) if LAST in batch.extras else None  # (T, N, P)

    @property
    def observations(self) -> Tensor:
        return self._batch.obs.flatten(0, 1)

    def all(self) -> Arguments:
        return self._batch.obs, self._memory[0], self._resets, self._last

    def first(self) -> Arguments:
        last = None if self._last is None else self._last[:1]
        return self._batch.obs[:1], self._memory[0], self._resets[:1], last

    def successors(self, evaluate: Forward) -> Tensor:
        """Each as the second step of a sequence, after the step that led to it."""
        batch, steps = self._batch, self._steps_before()
        before = batch.obs.flatten(0, 1).index_select(0, steps)
        memory = self._memory.flatten(0, 1).index_select(0, steps)
        last = None
        if self._last is not None:
            told = self._last.flatten(0, 1), device_column(batch.extras[NEXT_LAST]).flatten(0, 1)
            last = torch.stack([each.index_select(0, steps) for each in told])
        return evaluate(torch.stack((before, batch.successors)), memory, None, last)[len(steps) :]

    def _steps_before(self) -> Tensor:
        """(N + K,) the steps t * N + environment that led to the batch's successors."""
        total, num_envs = self._batch.obs.shape[0] * self._batch.obs.shape[1], self._batch.obs.shape[1]
        newest = torch.arange(total - num_envs, total, device=self._batch.final.device)
        return torch.cat((newest, self._batch.final))

    def sample(self, size: int, rng: np.random.Generator) -> Arguments:
        """All steps: they cannot be drawn singly."""
        return self.all()

    @torch.no_grad()
    def renew(self, network: RecurrentNetwork) -> None:
        """Computes the states of all sequences after the first anew, since the network was initialised meanwhile."""
        state = self._memory[0]
        self._memory = self._memory.clone()
        for step in range(len(self._batch.obs)):
            last = None if self._last is None else self._last[step : step + 1]
            state = torch.where(self._batch.first[step].unsqueeze(1), 0.0, state)
            self._memory[step] = state
            _, state = network.unroll(self._batch.obs[step : step + 1], state, None, last)

    def minibatches(
        self, columns: Sequence[Tensor], parts: int, rng: np.random.Generator
    ) -> Iterator[tuple[Arguments, tuple[Tensor, ...]]]:
        shape, device = self._batch.action.shape, self._batch.action.device
        columns = [self._in_sequences(column.view(*shape, *column.shape[1:])) for column in columns]
        obs, resets = self._in_sequences(self._batch.obs), self._in_sequences(self._resets)
        memory = self._in_sequences(self._memory)[0]
        last = None if self._last is None else self._in_sequences(self._last)
        for rows in np.array_split(rng.permutation(self._count), parts):
            moved, own = to_device(rows, device), torch.from_numpy(rows)
            told = None if last is None else last.index_select(1, moved)
            arguments = obs.index_select(1, moved), memory.index_select(0, moved), resets.index_select(1, own), told
            yield arguments, tuple(column.index_select(1, moved).flatten(0, 1) for column in columns)

    def _in_sequences(self, values: Tensor) -> Tensor:
        """(T, N, ...) as (length, T / length * N, ...)."""
        parts = values.view(-1, self._length, *values.shape[1:])  # (C, length, N, ...)
        return parts.transpose(0, 1).flatten(1, 2)


def initialise(
    gradient: Gradient, network: Network, size: int, inputs: RolloutInputs, rng: np.random.Generator
) -> None:
    """Data-dependent initialisation of a network from its first rollout: measured inputs, then normalised weights.

    size: observations for the weights; 0: they are not initialised from data. A network with memory takes the whole
    rollout, so that the layers after the memory are set from what it remembers.
    """
    if network.inputs.measures:
        network.inputs.initialise(inputs.observations)
    if size:
        gradient.initialise(inputs.sample(size, rng))
    if isinstance(network, RecurrentNetwork) and isinstance(inputs, SequenceInputs):
        inputs.renew(network)


def rollout_inputs(batch: TrajectoryBatch, network: Network, length: int) -> SingleInputs | SequenceInputs:
    """The inputs for a network. length: of sequences, if it has a memory."""
    if isinstance(network, RecurrentNetwork):
        return SequenceInputs(batch, length)
    return SingleInputs(batch.obs, batch.successors)


def device_column(values: Any) -> Tensor:
    """A stored column as the tensor that it is."""
    assert isinstance(values, Tensor)  # these columns are never on the host
    return values
