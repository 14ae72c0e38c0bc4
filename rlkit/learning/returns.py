"""Returns as pure functions of tensors, in the notation of the maths."""

from __future__ import annotations

import torch
from torch import Tensor


def clip_reward(reward: Tensor, bound: float) -> Tensor:
    """Limits each reward to [-bound, bound]; call it before summing over steps. A bound of 0 sets no limit."""
    return reward.clamp(-bound, bound) if bound > 0 else reward


def n_step_return(reward: Tensor, discount: Tensor, steps: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The discounted sum of a window's rewards and the factor of the value after it, (B,) each.

    return = sum over j < steps of gamma^j * discount_0 ... discount_(j-1) * reward_j, and
    bootstrap = gamma^steps * discount_0 ... discount_(steps-1)  (Sutton and Barto 2018, equation 7.1).

    Args: reward (B, n) and discount (B, n) float32, discount without gamma; steps (B,) int64 in 1..n. Entries beyond
    `steps` are ignored, even nan. A discount of 0 inside the window ends the sum after that step's reward.
    """
    check_shapes("n_step_return", reward=(reward, 2), discount=(discount, 2), steps=(steps, 1))
    n = reward.shape[1]
    if n == 1:
        return reward[:, 0], gamma * discount[:, 0]
    counts = torch.arange(n, device=steps.device) < steps.unsqueeze(1)  # (B, n)
    decay = torch.where(counts, gamma * discount, 1.0).cumprod(1)  # (B, n) up to and with step j
    rewards = torch.where(counts, reward, 0.0)
    total = rewards[:, 0] + (decay[:, :-1] * rewards[:, 1:]).sum(1)
    return total, decay[:, -1]


def discounted_returns(reward: Tensor, discount: Tensor, gamma: float) -> Tensor:
    """G_k = r_k + gamma d_k G_{k+1}, (K,), of K consecutive steps with G_K = 0: all rewards to the last of them.

    Args: reward and discount (K,) float32, discount without gamma.
    """
    check_shapes("discounted_returns", reward=(reward, 1), discount=(discount, 1))
    return _backward_sum(reward[:, None], gamma * discount[:, None])[:, 0]


def lambda_return(
    reward: Tensor, discount: Tensor, ended: Tensor, next_values: Tensor, gamma: float, lambda_: float
) -> Tensor:
    """The lambda-returns (T, N) of a trajectory (Sutton and Barto 2018, equation 12.20).

    G_t = r_t + gamma d_t ((1 - lambda) v_t + lambda G_{t+1}), and where an episode or the trajectory ends
    G_t = r_t + gamma d_t v_t, with v_t the value of the true successor of step t. A truncated step (ended, discount 1)
    therefore bootstraps from its own successor, a terminated one (discount 0) from nothing. lambda_ = 0 gives one-step
    returns, lambda_ = 1 sums rewards to the end of the episode or of the trajectory. With v_t = max_a Q(s_{t+1}, a) it
    is the Q(lambda) of Peng and Williams 1994 and of Gallici et al. 2024.

    Args: reward, discount and next_values (T, N) float32, discount without gamma; ended (T, N) bool: row t + 1 belongs
    to another episode. `TrajectoryBatch.next_values` gives the values of the true successors.
    """
    check_shapes(
        "lambda_return", reward=(reward, 2), discount=(discount, 2), ended=(ended, 2), next_values=(next_values, 2)
    )
    decay = gamma * discount
    carried = _carried(ended, lambda_)
    return _backward_sum(reward + decay * (1.0 - carried) * next_values, decay * carried)


def gae(
    reward: Tensor,
    discount: Tensor,
    ended: Tensor,
    values: Tensor,
    next_values: Tensor,
    gamma: float,
    lambda_: float,
) -> Tensor:
    """Generalised advantage estimates (T, N) (Schulman et al. 2016, equation 16), which end where episodes end.

    A_t = delta_t + gamma d_t lambda A_{t+1} with delta_t = r_t + gamma d_t v_t - v_{t-1}, and A_t = delta_t where an
    episode or the trajectory ends. v_{t-1} is the value of the observation before step t (`values`), v_t that of its
    true successor (`next_values`), equal to the next row's v_{t-1} within an episode. A_t + v_{t-1} is the
    `lambda_return`.

    Args: values (T, N) float32, the others as of `lambda_return`.
    """
    check_shapes("gae", reward=(reward, 2), discount=(discount, 2), ended=(ended, 2))
    check_shapes("gae", reward=(reward, 2), values=(values, 2), next_values=(next_values, 2))
    decay = gamma * discount
    return _backward_sum(reward + decay * next_values - values, decay * _carried(ended, lambda_))


def _carried(ended: Tensor, lambda_: float) -> Tensor:
    """(T, N) the weight of what comes after each step: lambda, and 0 where an episode or the trajectory ends."""
    carried = torch.where(ended, 0.0, lambda_)
    carried[-1] = 0.0
    return carried


def _backward_sum(terms: Tensor, factors: Tensor) -> Tensor:
    """(T, N) with sum_t = terms_t + factors_t sum_{t+1}."""
    following, sums = torch.zeros_like(terms[0]), []
    for term, factor in zip(reversed(terms.unbind()), reversed(factors.unbind()), strict=True):
        following = torch.addcmul(term, factor, following)
        sums.append(following)
    return torch.stack(sums[::-1])


def check_shapes(function: str, **arguments: tuple[Tensor, int]) -> None:
    """Raises ValueError unless all ranks are as given, and the shapes agree with the first argument's.

    Broadcasting (B,) with (B, 1) would give a plausible but wrong loss.
    """
    first = next(iter(arguments.values()))[0].shape
    for name, (tensor, rank) in arguments.items():
        shape = tensor.shape
        if len(shape) != rank or shape != first[:rank]:
            raise ValueError(f"{function}: {name} has shape {tuple(shape)}, expected {tuple(first[:rank])}")
