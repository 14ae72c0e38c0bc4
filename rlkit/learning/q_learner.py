"""One gradient update of a Q-network: an online network, a target network, a loss and an optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rlkit.learning.gradient import Gradient, GradientSettings, in_precision
from rlkit.learning.target import TargetConfig, TargetNetwork
from rlkit.learning.value_loss import LossOutput, Networks, Transitions, ValueLoss
from rlkit.nn.heads import values_of
from rlkit.types import State

METRICS_EVERY = 8  # updates; measuring each one would cost a thirtieth of a small network's update


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """The settings of a Q-learner, which an agent builds from its config."""

    gradient: GradientSettings
    target: TargetConfig
    loss: ValueLoss


@dataclass(frozen=True, slots=True)
class LearnerOutput:
    """The result of one update."""

    priority: Tensor  # (B,) of each transition before the update
    output: Tensor  # (B, ...) of the online network before the update, without gradients
    metrics: dict[str, Tensor]  # 0-dim each, on the learner's device; at every METRICS_EVERY-th update, else {}


class QLearner:
    """Owns the target network and the optimizer; the online network is shared with the policy that acts.

    The online network's parameters become views of one vector (`Gradient`): construct the learner after the last change
    of the network's layers, on its device. `values` of the network, if it has such a method, computes action values
    (B, A) from its output; without one the output is the action values.

    The online network is in training mode only during the forward pass that is learned from, so that batch statistics
    and power iterations advance once per update. Every other pass, the target's included, uses running statistics.

    rng: the random stream of the loss, on the network's device; required if the loss is random, else unused.
    """

    def __init__(self, online: nn.Module, settings: LearnerSettings, rng: torch.Generator | None = None) -> None:
        self._loss = settings.loss
        if self._loss.random and rng is None:
            raise ValueError(f"{type(self._loss).__name__} draws random numbers; give the learner a random stream, rng")
        self._rng = rng or torch.Generator()
        self._target = TargetNetwork(online, settings.target)
        self._gradient = Gradient(online, settings.gradient)
        self._values = values_of(online)
        target = in_precision(self._target.network, settings.gradient.precision)
        self._networks = Networks(self._learn, self._evaluate, target, self._values)
        self._learned = False  # whether this update's loss has called `networks.learn`

    @property
    def updates(self) -> int:
        """Updates so far."""
        return self._gradient.updates

    @property
    def target(self) -> nn.Module:
        """The target network."""
        return self._target.network

    def initialise(self, obs: tuple[Tensor, ...]) -> None:
        """Sets scales and biases of weight-normalised layers from data; call it once, before the first update.

        obs: the network's arguments, (B, ...) each.
        """
        self._gradient.initialise(obs)
        self.update_target()

    def update_target(self) -> None:
        """Copies the online network, buffers included, to the target network: after a change outside `update`."""
        self._target.copy(self._gradient.weights)

    def update(self, batch: Transitions) -> LearnerOutput:
        """Takes one optimizer step down the loss's gradient; never synchronises with the device."""
        self._learned = False
        with torch.no_grad(), self._gradient.shared_weights():
            loss = self._loss(self._networks, batch, self._rng)
        norm, readings = self._gradient.step(loss.output, loss.grad, batch.obs)
        self._target.update(self._gradient.weights, self.updates)
        return LearnerOutput(loss.priority, loss.output.detach(), {**self._metrics(loss, norm), **readings})

    def _learn(self, *inputs: Tensor) -> Tensor:
        self._learned = True
        return self._gradient.forward(*inputs)

    def _evaluate(self, *inputs: Tensor) -> Tensor:
        if not self._learned:  # normalised weights computed here, without gradients, would be shared by `learn`
            raise RuntimeError(f"{type(self._loss).__name__} must call networks.learn before networks.online")
        return self._gradient.evaluate(*inputs)

    def _metrics(self, loss: LossOutput, norm: Tensor) -> dict[str, Tensor]:
        if self.updates % METRICS_EVERY != 1:
            return {}
        q = self._values(loss.output.detach())  # (B, A)
        return {**loss.metrics(), "q/mean": q.mean(), "q/max": q.max(), "gradient/norm": norm}

    def state_dict(self) -> dict[str, Any]:
        """Target network, optimizer and counter, and the loss's random stream if it has one; shares memory.

        The online network's parameters are saved by its policy.
        """
        state = {"target": self._target.state_dict(), **self._gradient.state_dict()}
        return {**state, "rng": self._rng.get_state()} if self._loss.random else state

    def load_state_dict(self, state: State) -> None:
        """Copies a state into the learner. Raises ConfigError if it belongs to another network or optimizer."""
        self._target.load_state_dict(state["target"])
        self._gradient.load_state_dict(state)
        if self._loss.random:
            self._rng.set_state(torch.as_tensor(state["rng"]))
