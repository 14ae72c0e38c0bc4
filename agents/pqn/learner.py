"""The updates of one rollout: epochs of minibatches of Q-learning with fixed targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.pqn.config import PQNConfig
from rlkit.learning.gradient import Gradient
from rlkit.learning.q_losses import SQUARED, select
from rlkit.learning.sequences import RolloutInputs, initialise
from rlkit.learning.softmax import Softmax
from rlkit.nn.memory import RecurrentNetwork
from rlkit.nn.qnetwork import QNetwork
from rlkit.types import State


@dataclass(frozen=True, slots=True)
class Samples:
    """All S = T * N steps of a rollout."""

    inputs: RolloutInputs
    action: Tensor  # (S,) int64
    target: Tensor  # (S,) float32


class PQNLearner:
    """Owns the optimizer; the network is shared with the policy that acts.

    softmax: that of the policy, whose scale is measured here, or None. parts: minibatches per epoch. rng: shuffles the
    steps.
    """

    def __init__(
        self,
        config: PQNConfig,
        network: QNetwork | RecurrentNetwork,
        softmax: Softmax | None,
        parts: int,
        rng: np.random.Generator,
    ) -> None:
        self._config = config
        self._network = network
        self._softmax = softmax
        self._parts = parts
        self._rng = rng
        self._initial_batch = config.network.initial_batch
        self.gradient = Gradient(network, config.gradient_settings())

    @property
    def updates(self) -> int:
        """Gradient steps so far."""
        return self.gradient.updates

    def initialise(self, inputs: RolloutInputs) -> bool:
        """Data-dependent initialisation of inputs and weights from a rollout, if there is any.

        Returns whether it changed the network.
        """
        changes = self._network.inputs.measures or bool(self._initial_batch)
        if changes:
            initialise(self.gradient, self._network, self._initial_batch, inputs, self._rng)
        return changes

    def learn(self, samples: Samples, learning_rate: float) -> dict[str, Tensor]:
        """Makes the epochs of a rollout; returns the measurements of the last update."""
        self.gradient.set_learning_rate(learning_rate)
        metrics: dict[str, Tensor] = {}
        for _ in range(self._config.epochs):
            columns = samples.action, samples.target
            for arguments, (action, target) in samples.inputs.minibatches(columns, self._parts, self._rng):
                with self.gradient.shared_weights():
                    output = self.gradient.forward(*arguments)
                q = output.detach()  # (B, A)
                td = target - select(q, action)  # (B,)
                grad = torch.zeros_like(q).scatter_(1, action[:, None], -SQUARED.grad(td)[:, None] / len(td))
                norm, readings = self.gradient.step(output, grad, arguments)
                if self._softmax is not None:
                    self._softmax.measure(q)
                metrics |= readings
        return {**metrics, "gradient/norm": norm, **measurements(q, td)}

    def state_dict(self) -> dict[str, Any]:
        """Optimizer, counter and random stream; the network's parameters are saved by its policy."""
        return {**self.gradient.state_dict(), "rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: State) -> None:
        self.gradient.load_state_dict(state)
        self._rng.bit_generator.state = state["rng"]


def measurements(q: Tensor, td: Tensor) -> dict[str, Tensor]:
    """Metrics of a minibatch, from action values (B, A) and errors (B,)."""
    loss, error = SQUARED.value(td).mean(), td.abs().mean()
    return {"loss/td": loss, "q/td_error": error, "q/mean": q.mean(), "q/max": q.max()}
