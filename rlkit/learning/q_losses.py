"""Q-learning as pure functions of tensors, in the notation of the maths, and the loss that trains a Q-network.

Time t-1 is where the action was taken, t where the value is bootstrapped; with n-step returns t lies `steps` later.
`discount_t` is gamma (to the power of the steps), or 0 where the value ends; no function here uses "done".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rlkit.learning.returns import check_shapes
from rlkit.learning.softmax import Softmax, expectation
from rlkit.learning.value_loss import LossOutput, Networks, Transitions


def q_learning(q_tm1: Tensor, a_tm1: Tensor, r_t: Tensor, discount_t: Tensor, q_t: Tensor) -> Tensor:
    """TD errors (B,) of Q-learning: r_t + discount_t * max_a q_t(a) - q_tm1(a_tm1)  (Watkins 1989; Mnih 2015, eq. 2).

    Args: q_tm1 and q_t (B, A), the latter usually a target network's; a_tm1 (B,) int64; r_t and discount_t (B,).
    No gradient flows through the target.
    """
    check_shapes(
        "q_learning", q_tm1=(q_tm1, 2), q_t=(q_t, 2), a_tm1=(a_tm1, 1), r_t=(r_t, 1), discount_t=(discount_t, 1)
    )
    target = r_t + discount_t * q_t.max(1).values
    return target.detach() - select(q_tm1, a_tm1)


def double_q_learning(
    q_tm1: Tensor, a_tm1: Tensor, r_t: Tensor, discount_t: Tensor, q_t_value: Tensor, q_t_selector: Tensor
) -> Tensor:
    """TD errors (B,) where one network selects the next action and another values it (van Hasselt 2016, eq. 4).

    r_t + discount_t * q_t_value(argmax_a q_t_selector(a)) - q_tm1(a_tm1), the lowest action among equals.
    Args as in `q_learning`; q_t_value (B, A) is the target network's, q_t_selector (B, A) the online network's.
    """
    check_shapes("double_q_learning", q_tm1=(q_tm1, 2), q_t_value=(q_t_value, 2), q_t_selector=(q_t_selector, 2))
    check_shapes("double_q_learning", q_tm1=(q_tm1, 2), a_tm1=(a_tm1, 1), r_t=(r_t, 1), discount_t=(discount_t, 1))
    target = r_t + discount_t * select(q_t_value, q_t_selector.argmax(1))
    return target.detach() - select(q_tm1, a_tm1)


def expected_sarsa(q_tm1: Tensor, a_tm1: Tensor, r_t: Tensor, discount_t: Tensor, q_t: Tensor, pi_t: Tensor) -> Tensor:
    """TD errors (B,): r_t + discount_t * sum_a pi_t(a) q_t(a) - q_tm1(a_tm1)  (van Seijen et al. 2009, equation 5).

    Args as in `q_learning`; pi_t (B, A) the probabilities of the next actions.
    """
    check_shapes("expected_sarsa", q_tm1=(q_tm1, 2), q_t=(q_t, 2), pi_t=(pi_t, 2))
    check_shapes("expected_sarsa", q_tm1=(q_tm1, 2), a_tm1=(a_tm1, 1), r_t=(r_t, 1), discount_t=(discount_t, 1))
    target = r_t + discount_t * expectation(pi_t, q_t)
    return target.detach() - select(q_tm1, a_tm1)


def select(q: Tensor, a: Tensor) -> Tensor:
    """q(a), (B,), of q (B, A) and a (B,)."""
    return q.gather(1, a.unsqueeze(1)).squeeze(1)


@dataclass(frozen=True, slots=True)
class ErrorLoss:
    """An elementwise loss of TD errors, and its derivative."""

    value: Callable[[Tensor], Tensor]
    grad: Callable[[Tensor], Tensor]


def _huber(td: Tensor) -> Tensor:
    return torch.nn.functional.huber_loss(td, torch.zeros_like(td), reduction="none")


HUBER = ErrorLoss(_huber, lambda td: td.clamp(-1.0, 1.0))
"""td^2 / 2 up to 1, |td| - 1/2 beyond (Huber 1964): the error clipped to [-1, 1], as Mnih 2015 (Methods) states it."""

SQUARED = ErrorLoss(lambda td: 0.5 * td * td, lambda td: td)
"""td^2 / 2: equal to HUBER for errors up to 1, so both take the same learning rate."""


@dataclass(frozen=True, slots=True)
class QLoss:
    """Trains outputs (B, A) that are the action values: mean(weight * error_loss(td)) of Q-learning's TD errors.

    double: the online network selects the next action, the target network values it. The batch's adjustment applies to
    the values of both. softmax: bootstraps with its distribution, of the values that would select (expected Sarsa).
    """

    error: Literal["huber", "squared"]
    double: bool = False
    softmax: Softmax | None = None
    random: ClassVar[bool] = False

    def __call__(self, networks: Networks, batch: Transitions, rng: torch.Generator) -> LossOutput:
        loss = HUBER if self.error == "huber" else SQUARED
        q_tm1 = networks.learn(*batch.obs)  # (B, A)
        td = self._td_error(q_tm1.detach(), networks, batch)  # (B,)
        grad_td = batch.weight / len(td) * loss.grad(td)  # (B,) of the mean with respect to each error
        grad = torch.zeros_like(q_tm1).scatter_(1, batch.action.unsqueeze(1), -grad_td.unsqueeze(1))  # (B, A)

        def metrics() -> dict[str, Tensor]:
            return {"loss/td": (batch.weight * loss.value(td)).mean(), "q/td_error": td.abs().mean()}

        return LossOutput(q_tm1, grad, td, metrics)

    def _td_error(self, q_tm1: Tensor, networks: Networks, batch: Transitions) -> Tensor:
        q_t = batch.adjust(networks.values(networks.target(*batch.next_obs)))  # (B, A)
        selector = batch.adjust(networks.values(networks.online(*batch.next_obs))) if self.double else q_t  # (B, A)
        step = batch.action, batch.reward, batch.discount
        if self.softmax is not None:
            return expected_sarsa(q_tm1, *step, q_t, self.softmax.probabilities(selector))
        if not self.double:
            return q_learning(q_tm1, *step, q_t)
        return double_q_learning(q_tm1, *step, q_t, selector)
