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


def check_shapes(function: str, **arguments: tuple[Tensor, int]) -> None:
    """Raises ValueError unless all ranks are as given, and the shapes agree with the first argument's.

    Broadcasting (B,) with (B, 1) would give a plausible but wrong loss.
    """
    first = next(iter(arguments.values()))[0].shape
    for name, (tensor, rank) in arguments.items():
        shape = tensor.shape
        if len(shape) != rank or shape != first[:rank]:
            raise ValueError(f"{function}: {name} has shape {tuple(shape)}, expected {tuple(first[:rank])}")
