"""Returns as pure functions of tensors, in the notation of the maths."""

from __future__ import annotations

import torch
from torch import Tensor


def clip_reward(reward: Tensor, bound: float) -> Tensor:
    """Rewards limited to [-bound, bound], each by itself, so before any sum over steps; 0 leaves them as they are."""
    return reward.clamp(-bound, bound) if bound > 0 else reward


def n_step_return(reward: Tensor, discount: Tensor, steps: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The discounted sum of a window's rewards and the factor of the value after it, (B,) each.

    return = sum over j < steps of gamma^j * discount_0 ... discount_(j-1) * reward_j, and
    bootstrap = gamma^steps * discount_0 ... discount_(steps-1)  (Sutton and Barto 2018, equation 7.1).

    Args: reward (B, n) and discount (B, n) float32, discount without gamma; steps (B,) int64 in 1..n. What lies beyond
    `steps` is never used, whatever it holds. A discount of 0 inside the window ends the sum after that step's reward.
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
    """Raises ValueError unless ranks are as given, batches are equal, and so are the second axes of matrices.

    Broadcasting would make a plausible and wrong loss of (B,) and (B, 1).
    """
    first = next(iter(arguments.values()))[0].shape
    for name, (tensor, rank) in arguments.items():
        shape = tensor.shape
        if len(shape) != rank or shape != first[:rank]:
            raise ValueError(f"{function}: {name} has shape {tuple(shape)}, expected {tuple(first[:rank])}")
