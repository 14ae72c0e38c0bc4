"""The interface of value losses: the batch and the networks that a loss receives, and what it returns.

A loss decides what the network's output means. A Q-network's output is the action values; a distributional network's
holds atoms or quantiles for each action, of which `values` makes the action values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

Forward: TypeAlias = Callable[..., Tensor]  # from a network's arguments to its output, float32 (B, ...)


@dataclass(frozen=True, slots=True)
class Transitions:
    """A batch to learn from, on the learner's device; reward and discount are those of the whole n-step window."""

    obs: tuple[Tensor, ...]  # the network's arguments, (B, ...) each
    action: Tensor  # (B,) int64
    reward: Tensor  # (B,) float32: relabelled, clipped, with bonus, summed over the window
    discount: Tensor  # (B,) float32: gamma^steps, 0 where the value ends
    next_obs: tuple[Tensor, ...]  # (B, ...) each, where to bootstrap
    weight: Tensor  # (B,) float32 importance weights
    adjustment: Callable[[Tensor], Tensor] | None = None  # of action values of next_obs, (B, A): optimism, a mask

    def adjust(self, values: Tensor) -> Tensor:
        """Applies the adjustment to action values (B, A) of next_obs."""
        return values if self.adjustment is None else self.adjustment(values)


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks as functions. Without `learn`, no gradients are recorded."""

    learn: Forward  # the online network in training mode, with gradients; call it once, and before `online`
    online: Forward  # the online network in evaluation mode
    target: Forward  # the target network
    values: Callable[[Tensor], Tensor]  # from an output (B, ...) of either network to action values (B, A)


@dataclass(frozen=True, slots=True)
class LossOutput:
    """The gradient of one batch's loss, mean over the batch of weight * loss, and how much each transition matters."""

    output: Tensor  # (B, ...) as `networks.learn` returned it
    grad: Tensor  # (B, ...) the loss's gradient with respect to `output`
    priority: Tensor  # (B,) for prioritised replay, which uses the absolute value: the TD error, or the loss
    metrics: Callable[[], dict[str, Tensor]]  # computes 0-dim tensors; not called at every update


class ValueLoss(Protocol):
    """A loss of the online network's output. torch records no gradients while it runs, except in `networks.learn`.

    The gradient with respect to the output is returned rather than derived by autograd, which saves a fifth of a small
    network's update. A loss without a simple one can compute it by `torch.autograd.grad` inside `torch.enable_grad()`.
    """

    @property
    def random(self) -> bool:
        """Whether the loss draws from `rng`. The learner then saves the state of the stream."""
        ...

    def __call__(self, networks: Networks, batch: Transitions, rng: torch.Generator) -> LossOutput:
        """Computes loss and gradient of one batch; must not synchronise with the device.

        A network may take more arguments than `batch.obs`: IQN draws fractions from `rng` and calls
        `networks.learn(*batch.obs, fractions)`.
        """
        ...
