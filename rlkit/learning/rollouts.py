"""Learning from rollouts: the keys and the minibatches that on-policy agents share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from rlkit.config.model import Model
from rlkit.devices import to_device
from rlkit.errors import ConfigError
from rlkit.learning.gradient import GradientConfig
from rlkit.nn.config import NetworkConfig

ROLLOUT = 1024  # steps of all environments together, by default
UNIT = 128  # the default number of steps of each environment is a multiple of this
MINIBATCHES = 4, 16  # the fewest and the most of an epoch, by default
MINIBATCH = 64  # steps of one, by default, between these


class AnnealConfig(Model):
    """The table `anneal`: the learning rate falls linearly over the run."""

    steps: int = Field(
        ge=1,
        description="Environment steps, over all environments, until the final values; usually train.steps.",
    )
    learning_rate: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Final learning rate as a fraction of learning_rate (PPO, Atari: 0). 1: constant.",
    )

    def factor(self, env_steps: int, final: float) -> float:
        """What a value is multiplied by for the rollout that begins after `env_steps` steps: from 1 to `final`."""
        return 1.0 + (final - 1.0) * min(env_steps / self.steps, 1.0)


class RolloutConfig(GradientConfig):
    """The length of rollouts, and the updates that are made from each: keys of an agent."""

    rollout_steps: int | None = Field(
        None,
        ge=1,
        description="Steps of each environment between two rounds of updates (Atari: PPO 128 in 8 environments, PQN 32 "
        "in 128). Small: frequent updates from few steps; large: returns look further ahead. Left out: 1,024 over all "
        "environments, in multiples of 128 (1 environment: 1,024; 2: 512; 8 and more: 128).",
    )
    epochs: int = Field(
        4,
        ge=1,
        description="Passes over each rollout (Atari: PPO 3, PQN 2). Many use data longer, but move the network far "
        "from the one that acted.",
    )
    minibatches: int | None = Field(
        None,
        ge=1,
        description="Updates per epoch, each from an equal part of the rollout. Left out: by minibatch_size, or 4 to "
        "16, of 64 steps if possible.",
    )
    minibatch_size: int | None = Field(
        None,
        ge=1,
        description="Steps per update, instead of minibatches. If it does not divide the rollout, minibatches are made "
        "slightly smaller, and differ by at most one step; above the rollout it is one minibatch. With network.memory "
        "a minibatch is at least one whole sequence. Small: many updates, noisy gradients.",
    )
    sequence_steps: int | None = Field(
        None,
        ge=1,
        description="With network.memory: steps of the sequences that are learned from, a divisor of rollout_steps. "
        "Gradients do not go further back. Small: more, shorter sequences; left out: rollout_steps, or 128 if that is "
        "left out too.",
    )
    anneal: AnnealConfig | None = Field(
        None, description="Linear decay of the learning rate; left out: it is constant."
    )

    @model_validator(mode="after")
    def _one_number_of_minibatches(self) -> Self:
        if self.minibatches is not None and self.minibatch_size is not None:
            raise ValueError("minibatches and minibatch_size both set the size of minibatches; give one")
        return self

    @model_validator(mode="after")
    def _constant_rate(self) -> Self:
        if self.adjustable_clip is not None and self.anneal is not None and self.anneal.learning_rate < 1.0:
            raise ValueError(
                "adjustable_clip needs a constant learning rate: set anneal.learning_rate = 1, or leave either out"
            )
        return self

    def length(self, num_envs: int) -> int:
        """T, the steps of each environment in a rollout."""
        return self.rollout_steps or UNIT * -(-ROLLOUT // (UNIT * num_envs))

    def rollout_text(self, num_envs: int) -> str:
        """The size of a rollout and its keys, for messages."""
        return f"a rollout of {self.length(num_envs)} steps (rollout_steps) of {num_envs} environments (train.num_envs)"

    def minibatch_count(self, num_envs: int, network: NetworkConfig) -> int:
        """Minibatches of an epoch. Raises ConfigError if they, or the rollout, are too small, also for the network."""
        steps, size = self.length(num_envs) * num_envs, self.minibatch_size
        fewest, most = MINIBATCHES
        usual = self.minibatches or min(max(steps // MINIBATCH, fewest), most)
        count = usual if size is None else -(-steps // size)
        sequences = self._sequences(num_envs, network)
        if network.memory is not None and self.minibatches is None:
            count = min(count, sequences)
        if count > steps:
            raise ConfigError(
                f"{self.rollout_text(num_envs)} is too short for {count} minibatches; "
                "lower minibatches, or raise either"
            )
        if count > sequences:
            length = self.sequence
            raise ConfigError(
                f"{self.rollout_text(num_envs)} has {sequences} sequences of {length} steps, too few for {count} "
                "minibatches: with network.memory each needs a whole one; lower minibatches or sequence_steps"
            )
        try:
            network.validate_sizes(steps // count, steps, steps="rollout_steps * train.num_envs")
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return count

    def _sequences(self, num_envs: int, network: NetworkConfig) -> int:
        """The sequences of a rollout, or its steps without a memory. Raises ConfigError if it cannot be cut so."""
        length, steps = self.sequence, self.length(num_envs)
        if network.memory is None:
            if self.sequence_steps is not None:
                raise ConfigError("sequence_steps is of networks with memory: add network.memory, or leave it out")
            return steps * num_envs
        if steps % length:
            raise ConfigError(f"sequence_steps = {length} must divide rollout_steps = {steps}")
        return steps // length * num_envs

    @property
    def sequence(self) -> int:
        """Steps of a sequence, with a memory."""
        return self.sequence_steps or self.rollout_steps or UNIT

    def updates_text(self, num_envs: int, env_steps: int, parts: int, *, memory: bool = False) -> str:
        """The updates of a run of `env_steps`, in words: `parts` minibatches an epoch; memory: of whole sequences."""
        steps = self.length(num_envs) * num_envs
        unit = self.sequence if memory else 1
        rollouts, units = env_steps // steps, steps // unit
        sizes = sorted({units // parts * unit, -(-units // parts) * unit})
        return (
            f"{rollouts * self.epochs * parts:,} of {' or '.join(map(str, sizes))} steps: {rollouts:,} "
            f"rollouts, {self.epochs} epochs, {parts} minibatches"
        )


def shuffled(columns: Sequence[Tensor], parts: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
    """All S rows once, in random order, in `parts` parts that differ by at most one row.

    Each part is the rows (B,) int64, then those of each of `columns` (S, ...).
    """
    order = to_device(rng.permutation(len(columns[0])), columns[0].device)
    moved = (order, *(column.index_select(0, order) for column in columns))
    yield from zip(*(tensor.tensor_split(parts) for tensor in moved), strict=True)
