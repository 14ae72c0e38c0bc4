"""Learning from sequences: what a network with memory learns from a batch of them (Kapturowski et al. 2019).

The learner and its loss are those of single transitions. They get the valid steps of all sequences as a batch; the
network's arguments say how to unroll the sequences, and which of its outputs these steps are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.devices import to_device
from rlkit.exploration.action_mask import where_valued
from rlkit.exploration.adjustment import Adjustment
from rlkit.exploration.protocol import Bonus
from rlkit.learning.recall import LAST, MEMORY, NEXT_LAST
from rlkit.learning.returns import clip_reward, n_step_return
from rlkit.learning.sequences import device_column
from rlkit.learning.value_loss import Transitions
from rlkit.replay import Replay
from rlkit.types import Sequences, Window

LARGEST_SHARE = 0.9  # weight of the largest error in a sequence's priority, beside the mean (Kapturowski et al. 2019)


@dataclass(frozen=True, slots=True)
class SequenceRules:
    """How sequences are cut and learned from."""

    burn_in: int
    steps: int  # learned from
    n_step: int
    gamma: float
    reward_clip: float

    def fetch(self, replay: Replay, index: NDArray[np.int64]) -> Sequences:
        """The sequences whose first learned step is `index` (B,), with the steps that n-step returns need."""
        return replay.sequences(index, self.steps + self.n_step - 1, self.burn_in)

    def arguments(self, sequences: Sequences, steps: int, rows: Tensor | None, burn_in: int) -> tuple[Any, ...]:
        """The network's arguments for burn-in and `steps` observations; rows: of its output, t * B + sequence."""
        total = self.burn_in + steps
        memory, starts = device_column(sequences.extras[MEMORY])[:, 0], self.burn_in - sequences.before  # (B, S), (B,)
        resets = np.zeros((total, len(starts)), np.bool_)
        resets[starts, np.arange(len(starts))] = True  # the first valid step begins with the stored state
        last = None if LAST not in sequences.extras else self._last(sequences)[:, :total].transpose(0, 1)
        obs = sequences.obs[:, :total].transpose(0, 1)
        return obs, memory, torch.from_numpy(resets), last, memory, rows, burn_in

    def _last(self, sequences: Sequences) -> Tensor:
        """(B, T + 1, P) last action and reward before each observation; that after the last step has its own."""
        own, following = (device_column(sequences.extras[name]) for name in (LAST, NEXT_LAST))
        goes_on = torch.cat((sequences.mask, torch.zeros_like(sequences.mask[:, :1])), 1)
        goes_on[:, : self.burn_in] = True
        own, following = torch.cat((own, own[:, -1:]), 1), torch.cat((following[:, :1], following), 1)
        return torch.where(goes_on.unsqueeze(2), own, following)

    def transitions(self, sequences: Sequences, weight: Tensor, bonus: Bonus) -> tuple[Transitions, Tensor]:
        """The learned steps of all sequences as one batch, and the number of the sequence (M,) of each.

        weight: (B,) importance weights.
        """
        count, lead = len(sequences.steps), self.burn_in
        step, sequence = np.nonzero(np.arange(self.steps)[:, None] < sequences.steps)  # (M,) each
        ahead = np.minimum(self.n_step, sequences.steps[sequence] - step)  # (M,) steps of each return
        host = np.stack((step, sequence, ahead))
        t, b, n = to_device(host, sequences.obs.device).unbind()
        valid = np.arange(self.steps + self.n_step - 1) < sequences.steps[:, None]  # (B, steps + n - 1)
        reward, adjustment = self._paid(sequences, np.flatnonzero(valid), bonus)
        window = t[:, None] + torch.arange(self.n_step, device=t.device)  # (M, n) places after the burn-in
        window = torch.minimum(window, (t + n - 1)[:, None])
        discounts = sequences.discount[:, lead:]
        total, discount = n_step_return(reward[b[:, None], window], discounts[b[:, None], window], n, self.gamma)
        if adjustment is not None:
            places = (np.cumsum(valid) - 1).reshape(valid.shape)[sequence, step + ahead - 1]
            places = to_device(places, reward.device)
            keep = None if adjustment.keep is None else adjustment.keep.index_select(0, places)
            adjustment = Adjustment(adjustment.added.index_select(0, places), keep)
        batch = Transitions(
            self.arguments(sequences, self.steps, t * count + b, lead),
            sequences.action[:, lead:][b, t],
            total,
            discount,
            self.arguments(sequences, self.steps + self.n_step, (t + n) * count + b, lead),
            weight.index_select(0, b),
            adjustment,
        )
        return batch, b

    def _paid(
        self, sequences: Sequences, rows: NDArray[np.int64], bonus: Bonus
    ) -> tuple[Tensor, Adjustment[Tensor] | None]:
        """Rewards after the burn-in, clipped and with bonus, (B, T), and the adjustment where valid steps lead, (K, A).

        rows: (K,) the valid ones of these B * T steps; a bonus is not asked about the others, which are repetitions.
        """
        lead = self.burn_in
        reward = clip_reward(sequences.reward[:, lead:], self.reward_clip)
        obs = sequences.obs[:, lead:]
        chosen = to_device(rows, reward.device)

        def columns(values: Tensor | NDArray[Any]) -> Any:
            flat = values[:, lead:].reshape(-1, 1, *values.shape[2:])
            return flat.index_select(0, chosen) if isinstance(flat, Tensor) else flat[rows]

        window = Window(
            obs=obs[:, :-1].flatten(0, 1).index_select(0, chosen),
            action=columns(sequences.action),
            reward=reward.reshape(-1, 1).index_select(0, chosen),
            discount=columns(sequences.discount),
            steps=torch.ones(len(rows), dtype=torch.int64, device=reward.device),
            next_obs=obs[:, 1:].flatten(0, 1).index_select(0, chosen),
            extras={name: columns(values) for name, values in sequences.extras.items()},
        )
        paid = torch.zeros(reward.numel(), device=reward.device)
        paid.index_copy_(0, chosen, bonus.add(window.reward, window)[:, 0])
        return paid.view_as(reward), where_valued(bonus.bootstrapping(window), window)


def priorities(errors: Tensor, sequence: Tensor, count: int) -> Tensor:
    """(B,) 0.9 max + 0.1 mean of the absolute errors (M,) of each of `count` sequences (equation 1 of the paper)."""
    empty = torch.zeros(count, device=errors.device)
    size = errors.abs()
    largest = empty.scatter_reduce(0, sequence, size, "amax", include_self=False)
    mean = empty.scatter_reduce(0, sequence, size, "mean", include_self=False)
    return LARGEST_SHARE * largest + (1.0 - LARGEST_SHARE) * mean
