"""One gradient update of a Q-network: an online network, a target network that follows it, an optimizer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rlkit.learning.optimizers import OptimizerConfig, build_optimizer, load_optimizer, optimizer_state, plain_step
from rlkit.learning.q_losses import HUBER, SQUARED, double_q_learning, q_learning
from rlkit.learning.target import TargetConfig
from rlkit.nn.diagnostics import Diagnostics, with_hooks
from rlkit.nn.modes import has_modes
from rlkit.nn.parameters import flatten_parameters, load_parameters, parameter_state
from rlkit.nn.weight_norm import initialise_from_data, plain_copy, projection
from rlkit.types import State

METRICS_EVERY = 8  # updates; measuring each one would cost a thirtieth of a small network's update


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """What a Q-learner needs besides its network; an agent puts it together from its config's keys."""

    learning_rate: float
    optimizer: OptimizerConfig
    target: TargetConfig
    double: bool
    loss: Literal["huber", "squared"]
    max_grad_norm: float  # 0: no limit
    precision: Literal["float32", "bfloat16"] = "float32"  # of layers; parameters, losses and optimizer keep float32
    max_grad_value: float | None = None  # each entry of the gradient is limited to it; None: no limit
    diagnostics_every: int | None = None  # updates between two looks at the network's layers; None: never


@dataclass(frozen=True, slots=True)
class Transitions:
    """A batch to learn from, on the learner's device; reward and discount are those of the whole n-step window."""

    obs: tuple[Tensor, ...]  # the network's arguments, (B, ...) each
    action: Tensor  # (B,) int64
    reward: Tensor  # (B,) float32: relabelled, clipped, with bonus, summed over the window
    discount: Tensor  # (B,) float32: gamma^steps, 0 where the value ends
    next_obs: tuple[Tensor, ...]  # (B, ...) each, where to bootstrap
    weight: Tensor  # (B,) float32 importance weights
    adjustment: Callable[[Tensor], Tensor] | None = None  # of the values (B, A) of next_obs: optimism, a mask


@dataclass(frozen=True, slots=True)
class LearnerOutput:
    td_error: Tensor  # (B,) of each transition before the update, for priorities
    metrics: dict[str, Tensor]  # 0-dim each, on the learner's device; of every METRICS_EVERY-th update, else {}


class QLearner:
    """Owns the target network and the optimizer; the online network is shared with the policy that acts.

    The online network's parameters become views of one vector: construct the learner after the last change of the
    network's layers, on its device. The target network holds plain weights, whatever the online network makes its
    weights of: it follows w, not what w is a function of.

    The online network is in training mode only while the values of the actions taken are computed, so that batch
    statistics and power iterations happen once an update; all else, the target too, uses running statistics.

    `state_dict` holds what is the learner's own; the online network's parameters are saved by its policy.
    """

    def __init__(self, online: nn.Module, settings: LearnerSettings) -> None:
        self._online = online.eval()
        self._target = plain_copy(online).requires_grad_(False)
        self._settings = settings
        self._loss = HUBER if settings.loss == "huber" else SQUARED
        self._weights, self._gradient = flatten_parameters(online)  # (P,) each
        self._target_weights = flatten_parameters(self._target)[0].data  # (P,) where all weights are plain
        self._optimizer = build_optimizer(settings.optimizer, settings.learning_rate, [self._weights])
        self._step = plain_step(self._optimizer)
        self._parametrized = any(map(parametrize.is_parametrized, online.modules()))
        self._has_modes = has_modes(online)
        self._project = projection(online)
        self._diagnose = Diagnostics(online, settings.learning_rate) if settings.diagnostics_every else None
        self._updates = 0

    @property
    def updates(self) -> int:
        """Updates so far."""
        return self._updates

    @property
    def target(self) -> nn.Module:
        """The target network."""
        return self._target

    def initialise(self, obs: tuple[Tensor, ...]) -> None:
        """Sets scales and biases of weight-normalised layers from data; call it once, before the first update.

        obs: the network's arguments, (B, ...) each.
        """
        initialise_from_data(self._online, lambda: with_hooks(self._online)(*obs))
        self._copy_to_target(1.0)

    def update(self, batch: Transitions) -> LearnerOutput:
        """One step down the gradient of mean(weight * loss(td)); waits for no device.

        The gradient with respect to the values is written down rather than derived, as in Mnih et al. 2015, who clip
        the error: autograd begins at the network's output, which saves a fifth of a small network's update.
        """
        with self._weights_computed_once():
            q_tm1 = self._values_to_learn(batch.obs)  # (B, A)
            with torch.no_grad():
                td = self._td_error(q_tm1, batch)  # (B,)
                slope = batch.weight / len(td) * self._loss.slope(td)  # (B,) of the mean in each error
                pull = torch.zeros_like(q_tm1).scatter_(1, batch.action.unsqueeze(1), -slope.unsqueeze(1))  # (B, A)
        self._gradient.zero_()
        q_tm1.backward(pull)  # type: ignore[no-untyped-call]
        readings = self._readings(batch.obs)
        norm = self._clip_gradient()
        self._step()
        if self._project is not None:
            self._project()
        self._updates += 1
        if self._updates % self._settings.target.every == 0:
            self._copy_to_target(self._settings.target.tau)
        return LearnerOutput(td, {**self._metrics(batch.weight, q_tm1.detach(), td, norm), **readings})

    def _weights_computed_once(self) -> AbstractContextManager[Any]:
        return parametrize.cached() if self._parametrized else nullcontext()

    def _values_to_learn(self, obs: tuple[Tensor, ...]) -> Tensor:
        """(B, A) in training mode."""
        if not self._has_modes:
            return self._values(self._online, obs)
        self._online.train()
        values = self._values(self._online, obs)
        self._online.eval()
        return values

    def _readings(self, obs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        every = self._settings.diagnostics_every
        return {} if self._diagnose is None or not every or self._updates % every else self._diagnose(obs)

    def _metrics(self, weight: Tensor, q_tm1: Tensor, td: Tensor, norm: Tensor) -> dict[str, Tensor]:
        if self._updates % METRICS_EVERY != 1:
            return {}
        return {
            "loss/td": (weight * self._loss.value(td)).mean(),
            "q/mean": q_tm1.mean(),
            "q/max": q_tm1.max(),
            "q/td_error": td.abs().mean(),
            "gradient/norm": norm,
        }

    def _values(self, network: nn.Module, obs: tuple[Tensor, ...]) -> Tensor:
        """(B, A) float32."""
        values: Tensor
        if self._settings.precision == "float32":
            values = network(*obs)
            return values
        with torch.autocast(self._weights.device.type, torch.bfloat16):
            values = network(*obs)
        return values.float()

    def _td_error(self, q_tm1: Tensor, batch: Transitions) -> Tensor:
        q_t = self._values(self._target, batch.next_obs)  # (B, A)
        q_t_selector = self._values(self._online, batch.next_obs) if self._settings.double else None
        if batch.adjustment is not None:
            q_t = batch.adjustment(q_t)
            q_t_selector = None if q_t_selector is None else batch.adjustment(q_t_selector)
        if q_t_selector is None:
            return q_learning(q_tm1, batch.action, batch.reward, batch.discount, q_t)
        return double_q_learning(q_tm1, batch.action, batch.reward, batch.discount, q_t, q_t_selector)

    def _clip_gradient(self) -> Tensor:
        """The norm of the whole gradient before it is clipped: each entry first, then the norm."""
        settings = self._settings
        norm: Tensor = torch.linalg.vector_norm(self._gradient)
        length = norm
        if settings.max_grad_value is not None:
            self._gradient.clamp_(-settings.max_grad_value, settings.max_grad_value)
            length = torch.linalg.vector_norm(self._gradient)
        if settings.max_grad_norm > 0:
            self._gradient.mul_((settings.max_grad_norm / (length + 1e-6)).clamp_(max=1.0))
        return norm

    @torch.no_grad()
    def _copy_to_target(self, tau: float) -> None:
        """Lets the target network follow: a copy, or a step of the running average."""
        if self._parametrized:
            for name, kept in self._target.named_parameters():
                current = attrgetter(name)(self._online)
                kept.lerp_(current, tau) if tau < 1.0 else kept.copy_(current)
        else:
            online = self._weights.data
            self._target_weights.lerp_(online, tau) if tau < 1.0 else self._target_weights.copy_(online)
        for name, buffer in self._target.named_buffers():
            buffer.copy_(attrgetter(name)(self._online))

    def state_dict(self) -> dict[str, Any]:
        """Target network, optimizer and counter; shares memory with the learner."""
        return {
            "target": parameter_state(self._target),
            "optimizer": optimizer_state(self._optimizer),
            "updates": self._updates,
        }

    def load_state_dict(self, state: State) -> None:
        """Takes over a state, copied. Raises ConfigError where it is of another network or optimizer."""
        load_parameters(self._target, state["target"], "the target network's state")
        load_optimizer(self._optimizer, state["optimizer"])
        self._updates = int(state["updates"])
