"""The updates of one rollout: epochs of minibatches down the clipped surrogate's gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.ppo.config import PPOConfig
from rlkit.learning.gradient import Gradient
from rlkit.learning.policy_losses import ClippedSurrogate, PolicySteps, approximate_kl
from rlkit.learning.sequences import Arguments, RolloutInputs, initialise
from rlkit.nn.actor_critic import ActorCritic
from rlkit.nn.memory import RecurrentNetwork
from rlkit.types import State

LEAST_DEVIATION = 1e-8  # added to the advantages' deviation before dividing by it, as in the authors' code


class PPOLearner:
    """Owns the optimizer; the network is shared with the policy that acts.

    parts: minibatches per epoch. rng: shuffles the steps.
    """

    def __init__(
        self, config: PPOConfig, network: ActorCritic | RecurrentNetwork, parts: int, rng: np.random.Generator
    ) -> None:
        self._config = config
        self._parts = parts
        self.round = config.epochs * parts  # updates of a rollout, without max_kl
        self._rng = rng
        self._loss = config.loss()
        self._network = network
        self.gradient = Gradient(network, config.gradient_settings())

    @property
    def updates(self) -> int:
        """Gradient steps so far."""
        return self.gradient.updates

    @property
    def initialises(self) -> bool:
        """Whether `initialise` changes the network."""
        return self._network.inputs.measures or bool(self._config.network.initial_batch)

    def initialise(self, inputs: RolloutInputs) -> bool:
        """Data-dependent initialisation of inputs and weights from a rollout, if there is any.

        Returns whether it changed the network.
        """
        if self.initialises:
            initialise(self.gradient, self._network, self._config.network.initial_batch, inputs, self._rng)
        return self.initialises

    def learn(
        self, inputs: RolloutInputs, steps: PolicySteps, factors: tuple[float, float]
    ) -> dict[str, Tensor | float]:
        """Makes the epochs of a rollout; returns the measurements of the last update.

        inputs and steps: of all S = T * N steps. factors: of the learning rate and of the clip range.
        """
        config = self._config
        loss = self._loss
        if config.anneal is not None:
            self.gradient.set_learning_rate(config.learning_rate * factors[0])
            loss = replace(loss, clip=config.clip * factors[1])
        if config.normalise_advantages == "rollout":
            steps = replace(steps, advantage=normalised(steps.advantage))
        metrics: dict[str, Tensor | float] = {}
        for epoch in range(1, config.epochs + 1):
            readings, divergence = self._epoch(inputs, steps, loss)
            metrics |= readings
            if config.max_kl is not None:
                metrics["policy/epochs"] = float(epoch)
                if divergence > config.max_kl:
                    break
        return metrics

    def _epoch(
        self, inputs: RolloutInputs, steps: PolicySteps, loss: ClippedSurrogate
    ) -> tuple[dict[str, Tensor], float]:
        """One pass over the rollout: measurements of its last update, and the mean KL divergence if it is limited."""
        divergences = []
        for arguments, batch in self._minibatches(inputs, steps):
            # no `shared_weights`: its cache belongs to the process, and with overlap the policy acts meanwhile
            output = self.gradient.forward(*arguments)
            found = loss(output.detach(), batch)
            norm, readings = self.gradient.step(output, found.grad, arguments)
            if self._config.max_kl is not None:
                divergences.append(approximate_kl(found.log_ratio))
        metrics = {**found.metrics(), "gradient/norm": norm, **readings}
        return metrics, float(torch.stack(divergences).mean()) if divergences else 0.0

    def _minibatches(self, inputs: RolloutInputs, steps: PolicySteps) -> Iterator[tuple[Arguments, PolicySteps]]:
        """The network's arguments and the steps of each minibatch: all in random order, in nearly equal parts."""
        found = {field.name: getattr(steps, field.name) for field in fields(steps)}
        columns = {name: column for name, column in found.items() if column is not None}
        for arguments, part in inputs.minibatches([*columns.values()], self._parts, self._rng):
            batch = PolicySteps(**dict(zip(columns, part, strict=True)))
            if self._config.normalise_advantages == "minibatch":
                batch = replace(batch, advantage=normalised(batch.advantage))
            yield arguments, batch

    def state_dict(self) -> dict[str, Any]:
        """Optimizer, counter and random stream; the network's parameters are saved by its policy."""
        return {**self.gradient.state_dict(), "rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: State) -> None:
        self.gradient.load_state_dict(state)
        self._rng.bit_generator.state = state["rng"]


def normalised(advantage: Tensor) -> Tensor:
    """Advantages (B,) with mean 0 and deviation 1."""
    deviation, mean = torch.std_mean(advantage)
    return (advantage - mean) / (deviation + LEAST_DEVIATION)
