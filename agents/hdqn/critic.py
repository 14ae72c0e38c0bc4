"""The intrinsic critic: rewards of the controller under any goal, as pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.hdqn.config import RewardConfig
from agents.hdqn.options import pick
from rlkit.exploration.action_mask import where_valued
from rlkit.exploration.protocol import Bonus
from rlkit.learning.returns import n_step_return
from rlkit.learning.value_loss import Transitions
from rlkit.types import Batch


def intrinsic_reward(reached: Any, discount: Any, config: RewardConfig) -> Any:
    """Intrinsic rewards, shaped like `reached` (bool) and `discount` (0 at terminations): arrays or tensors.

    `config.goal` if the goal is reached, minus `config.step_cost` for every step, minus `config.death` if the episode
    terminates without the goal.
    """
    died = (discount == 0) & ~reached
    return config.goal * reached - config.death * died - config.step_cost


def relabel(
    goal: NDArray[np.int64], candidates: NDArray[np.bool_], coins: NDArray[np.float64], share: float
) -> NDArray[np.int64]:
    """(B,): goals (B,), replaced with probability `share` by one of the candidates (B, G), drawn uniformly.

    coins (2, B) in [0, 1): whether, and by which. Without candidates the goal stays (Andrychowicz et al. 2017).
    """
    exchanged = (coins[0] < share) & candidates.any(1)
    return np.where(exchanged, pick(candidates, coins[1]), goal)


def transitions(batch: Batch, goal: Tensor, gamma: float, config: RewardConfig, bonus: Bonus) -> Transitions:
    """What a controller learns from windows under the goals `goal` (B,), the original ones or others.

    At the goal the controller's return ends: no value is bootstrapped there, although the episode continues.
    """
    window = batch.window
    achieved = torch.as_tensor(window.extras["achieved"])  # (B, n, G)
    reached = achieved.gather(2, goal[:, None, None].expand(-1, achieved.shape[1], 1)).squeeze(2)  # (B, n)
    reward = bonus.add(intrinsic_reward(reached, window.discount, config), window)
    total, discount = n_step_return(reward, window.discount * ~reached, window.steps, gamma)  # (B,) each
    adjustment = where_valued(bonus.bootstrapping(window), window)
    action = window.action[:, 0]
    return Transitions((window.obs, goal), action, total, discount, (window.next_obs, goal), batch.weight, adjustment)
