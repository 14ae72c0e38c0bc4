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
from rlkit.learning.gradient import Gradient, GradientConfig
from rlkit.nn.config import NetworkConfig
from rlkit.nn.inputs import InputLayer

MINIBATCHES = 4  # of each epoch, by default


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

    rollout_steps: int = Field(
        128,
        ge=1,
        description="Steps of each environment between two rounds of updates (Atari: PPO 128 in 8 environments, PQN 32 "
        "in 128). Small: frequent updates from few steps; large: returns look further ahead.",
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
        description="Updates per epoch, each from an equal part of the rollout. Left out: 4, or by minibatch_size.",
    )
    minibatch_size: int | None = Field(
        None,
        ge=1,
        description="Steps per update, instead of minibatches. If it does not divide the rollout, minibatches are made "
        "slightly smaller, and differ by at most one step; above the rollout it is one minibatch. Small: many updates, "
        "noisy gradients.",
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

    def rollout_text(self, num_envs: int) -> str:
        """The size of a rollout and its keys, for messages."""
        return f"a rollout of {self.rollout_steps} steps (rollout_steps) of {num_envs} environments (train.num_envs)"

    def minibatch_count(self, num_envs: int, network: NetworkConfig) -> int:
        """Minibatches of an epoch. Raises ConfigError if they, or the rollout, are too small, also for the network."""
        steps, size = self.rollout_steps * num_envs, self.minibatch_size
        count = self.minibatches or MINIBATCHES if size is None else -(-steps // size)
        if count > steps:
            raise ConfigError(
                f"{self.rollout_text(num_envs)} is too short for {count} minibatches; "
                "lower minibatches, or raise either"
            )
        try:
            network.validate_sizes(steps // count, steps, steps="rollout_steps * train.num_envs")
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return count

    def updates_text(self, num_envs: int, env_steps: int, parts: int) -> str:
        """The updates of a run of `env_steps`, in words: `parts` minibatches an epoch."""
        steps = self.rollout_steps * num_envs
        rollouts, sizes = env_steps // steps, sorted({steps // parts, -(-steps // parts)})
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


def initialise(gradient: Gradient, inputs: InputLayer, size: int, obs: Tensor, rng: np.random.Generator) -> None:
    """Data-dependent initialisation of a network from its first rollout: measured inputs, then normalised weights.

    inputs: of the network. size: observations for the weights; 0: they are not initialised from data. obs: (S, *O).
    """
    if inputs.measures:
        inputs.initialise(obs)
    if size:
        rows = rng.choice(len(obs), size, replace=False)
        gradient.initialise((obs.index_select(0, to_device(rows, obs.device)),))
