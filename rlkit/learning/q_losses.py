"""Q-learning as pure functions of tensors, in the notation of the maths.

Time t-1 is where the action was taken, t where the value is bootstrapped; with n-step returns t lies `steps` later.
`discount_t` holds gamma (to the power of the steps) and is 0 where the value ends: no function here knows of "done".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlkit.learning.returns import check_shapes


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
    """TD errors (B,) where one network selects the next action and another one values it (van Hasselt 2016, eq. 4).

    r_t + discount_t * q_t_value(argmax_a q_t_selector(a)) - q_tm1(a_tm1), the lowest action among equals.
    Args as in `q_learning`; q_t_value (B, A) the target network's, q_t_selector (B, A) the online network's.
    """
    check_shapes("double_q_learning", q_tm1=(q_tm1, 2), q_t_value=(q_t_value, 2), q_t_selector=(q_t_selector, 2))
    check_shapes("double_q_learning", q_tm1=(q_tm1, 2), a_tm1=(a_tm1, 1), r_t=(r_t, 1), discount_t=(discount_t, 1))
    target = r_t + discount_t * select(q_t_value, q_t_selector.argmax(1))
    return target.detach() - select(q_tm1, a_tm1)


def select(q: Tensor, a: Tensor) -> Tensor:
    """q(a), (B,), of q (B, A) and a (B,)."""
    return q.gather(1, a.unsqueeze(1)).squeeze(1)


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss of errors, element by element, and its derivative, which a learner needs at every update."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


def _huber(td: Tensor) -> Tensor:
    return torch.nn.functional.huber_loss(td, torch.zeros_like(td), reduction="none")


HUBER = Loss(_huber, lambda td: td.clamp(-1.0, 1.0))
"""td^2 / 2 up to 1, |td| - 1/2 beyond (Huber 1964): the error clipped to [-1, 1], as Mnih 2015 (Methods) states it."""

SQUARED = Loss(lambda td: 0.5 * td * td, lambda td: td)
"""td^2 / 2: what HUBER is for errors up to 1, so both take the same learning rate."""
