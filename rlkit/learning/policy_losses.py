"""Losses of policies with state values, as pure functions with their gradients.

The gradient with respect to the network's output is computed by hand rather than by autograd, which takes half the time
for a small network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlkit.learning.returns import check_shapes

BARRED = torch.finfo(torch.float32).min  # a logit of probability 0; with -inf, its entropy 0 * -inf would be NaN


@dataclass(frozen=True, slots=True)
class PolicySteps:
    """Steps of a policy to learn from, on the learner's device."""

    action: Tensor  # (B,) int64
    log_probability: Tensor  # (B,) float32, of the action, by the policy that acted
    advantage: Tensor  # (B,) float32, normalised if at all
    returns: Tensor  # (B, V) float32, what values should be
    value: Tensor  # (B, V) float32, the values before the update
    allowed: Tensor | None = None  # (B, A) bool, the actions that the policy chose from; None: all


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """The gradient of one batch's mean loss with respect to the network's output, and measurements."""

    grad: Tensor  # (B, A + V)
    log_ratio: Tensor  # (B,) log(new probability / old probability) of the actions
    metrics: Callable[[], dict[str, Tensor]]  # computes 0-dim tensors; not called at every update


@dataclass(frozen=True, slots=True)
class ClippedSurrogate:
    """The loss of PPO (Schulman et al. 2017, equations 7 and 9), to be minimised, mean over the batch of

        -min(ratio * advantage, clip(ratio, 1 - clip, 1 + clip) * advantage)
        - entropy * H(policy) + value * sum over values of (v - returns)^2 / 2

    With value_clip > 0 the squared error is the larger one of v and of v clipped to within value_clip of the value
    before the update, as in the authors' code.
    """

    clip: float
    entropy: float
    value: float
    value_clip: float = 0.0  # 0: values are not clipped

    @torch.no_grad()
    def __call__(self, output: Tensor, steps: PolicySteps) -> PolicyLoss:
        """The loss of an output (B, A + V): logits of the actions, then the values.

        Actions that are not allowed have probability 0 and no gradient; the entropy is that of the others.
        """
        num_values = steps.returns.shape[-1]
        logits, values = output[:, :-num_values], output[:, -num_values:]  # (B, A), (B, V)
        check_shapes("ClippedSurrogate", values=(values, 2), returns=(steps.returns, 2), value=(steps.value, 2))
        check_shapes("ClippedSurrogate", action=(steps.action, 1), advantage=(steps.advantage, 1))
        index, count = steps.action.unsqueeze(1), len(output)
        if steps.allowed is not None:
            check_shapes("ClippedSurrogate", logits=(logits, 2), allowed=(steps.allowed, 2))
            logits = logits.masked_fill(~steps.allowed, BARRED)
        log_policy = logits.log_softmax(1)  # (B, A)
        policy = log_policy.exp()
        log_ratio = log_policy.gather(1, index).squeeze(1) - steps.log_probability  # (B,)
        ratio = log_ratio.exp()
        gain = ratio * steps.advantage
        clipped = ratio.clamp(1.0 - self.clip, 1.0 + self.clip) * steps.advantage
        slope = torch.where(gain <= clipped, gain, 0.0) / count  # of minus the loss by the action's log-probability
        grad = torch.empty_like(output)
        toward = grad[:, :-num_values]
        torch.mul(policy, slope.unsqueeze(1), out=toward)
        if self.entropy:
            plogp = policy * log_policy  # (B, A), its sum over actions is -H
            toward += (self.entropy / count) * (plogp - policy * plogp.sum(1, keepdim=True))
        toward.scatter_add_(1, index, -slope.unsqueeze(1))
        torch.mul(self._value_slope(values, steps), self.value / count, out=grad[:, -num_values:])

        def metrics() -> dict[str, Tensor]:
            return {
                "loss/policy": -torch.minimum(gain, clipped).mean(),
                "loss/value": self._value_loss(values, steps).sum(1).mean(),
                "policy/entropy": -(policy * log_policy).sum(1).mean(),
                "policy/kl": approximate_kl(log_ratio),
                "policy/clip_fraction": ((ratio - 1.0).abs() > self.clip).float().mean(),
            }

        return PolicyLoss(grad, log_ratio, metrics)

    def _value_slope(self, value: Tensor, steps: PolicySteps) -> Tensor:
        """(B, V) the derivative of the values' loss."""
        error = value - steps.returns
        if not self.value_clip:
            return error
        within = (value - steps.value).abs() <= self.value_clip  # there the errors differ by rounding alone
        larger = error.abs() >= (self._clipped(value, steps) - steps.returns).abs()
        return torch.where(within | larger, error, 0.0)

    def _value_loss(self, value: Tensor, steps: PolicySteps) -> Tensor:
        """(B, V) half the squared error, the larger one if values are clipped."""
        loss = (value - steps.returns).square()
        if self.value_clip:
            loss = torch.maximum(loss, (self._clipped(value, steps) - steps.returns).square())
        return 0.5 * loss

    def _clipped(self, value: Tensor, steps: PolicySteps) -> Tensor:
        return steps.value + (value - steps.value).clamp(-self.value_clip, self.value_clip)


def approximate_kl(log_ratio: Tensor) -> Tensor:
    """An estimate () of KL(old || new) from log(new / old) of actions of the old policy, (B,): mean(r - 1 - log r).

    It is unbiased, never negative, and varies less than the mean of -log r (Schulman 2020, joschu.net/blog/kl-approx).
    """
    return (log_ratio.exp() - 1.0 - log_ratio).mean()
