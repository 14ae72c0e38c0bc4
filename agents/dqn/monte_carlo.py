"""Mixed Monte Carlo targets (Ostrovski et al. 2017): returns of finished episodes, stored with their steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.learning.returns import discounted_returns
from rlkit.replay import Column, Replay
from rlkit.types import State, StepBatch, Window

COLUMN = "return"
UNKNOWN = np.float32(np.nan)


def return_columns(weight: float | None) -> dict[str, Column]:
    """What the replay stores: the return from each step to the end of its episode, nan if it is not known."""
    return {} if weight is None else {COLUMN: Column((), np.float32)}


class EpisodeReturns:
    """Stores the returns of an episode's steps when it terminates; those of a truncated episode stay unknown."""

    def __init__(self, replay: Replay, gamma: float, rewards: Callable[[Window], Tensor]) -> None:
        """rewards: of windows, (B, n), as they are learned from."""
        self._replay = replay
        self._gamma = gamma
        self._rewards = rewards
        self._length: NDArray[np.int64] = np.zeros(len(replay.latest()), np.int64)  # (N,) of the running episodes

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns of a new step, (N,)."""
        return {COLUMN: np.full(len(self._length), UNKNOWN)}

    def observe(self, step: StepBatch) -> None:
        """Takes in a step that the replay has stored."""
        self._length = np.where(step.before.first, 1, self._length + 1)
        for env in np.flatnonzero(step.terminated).tolist():
            self._store(self._replay.latest(env, int(self._length[env])))

    def _store(self, index: NDArray[np.int64]) -> None:
        """Stores the returns of the last steps `index` (K,) of a terminated episode, in their order."""
        window = self._replay.window(index)
        reward, discount = self._rewards(window)[:, 0], window.discount[:, 0]
        self._replay.store(index, {COLUMN: discounted_returns(reward, discount, self._gamma).cpu().numpy()})

    def state_dict(self) -> State:
        return {"length": self._length}

    def load_state_dict(self, state: State) -> None:
        self._length = state["length"].copy()


def mixed(total: Tensor, discount: Tensor, window: Window, weight: float) -> tuple[Tensor, Tensor]:
    """n-step return and bootstrap factor (B,) of the target (1 - weight) * (total + discount * value) + weight * G.

    Where the return G of the rest of the episode is not known, they stay as they are.
    """
    known = torch.as_tensor(window.extras[COLUMN])[:, 0]
    share = torch.where(known.isnan(), 0.0, weight)
    return (1.0 - share) * total + share * known.nan_to_num(0.0), (1.0 - share) * discount
