"""Proportional prioritisation (Schaul et al. 2016, section 3.3), with a sum tree in vectorised NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.errors import ConfigError, RlkitError
from rlkit.types import State

BRANCH = 16  # children of a node: a million leaves have five levels, and an update or a search visits each


@dataclass(frozen=True, slots=True)
class Prioritised:
    """Samples step i with probability proportional to (abs(td) + eps) ** alpha (equation 1, proportional variant).

    A new step gets the largest priority so far, initially 1. alpha = 0 is uniform. Unlike the paper, which draws one
    step from each of B equal parts of the total (appendix B.2.1), the steps of a batch are drawn independently.
    """

    alpha: float = 0.6
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 10 or not 1e-12 <= self.eps < float("inf"):
            raise ConfigError(
                f"prioritised replay: alpha {self.alpha} must lie in 0..10, eps {self.eps} must be 1e-12 or more"
            )


class SumTree:
    """Non-negative float64 leaves that can be drawn with probability proportional to their values.

    Every node is the sum of its children, added from left to right whenever one of them changes. So the tree depends
    only on its leaves, not on their history, and rounding errors do not accumulate.
    """

    def __init__(self, size: int) -> None:
        self.levels: list[NDArray[np.float64]] = []  # (groups, BRANCH) each: leaves first, the root group last
        groups = -(-size // BRANCH)
        self.levels.append(np.zeros((groups, BRANCH)))
        while groups > 1:
            groups = -(-groups // BRANCH)
            self.levels.append(np.zeros((groups, BRANCH)))
        self._flat = [level.reshape(-1) for level in self.levels]  # views
        self.leaves = self._flat[0]  # (size + padding,); written only by `set`

    @staticmethod
    def num_bytes(size: int) -> int:
        total, groups = 0, size
        while True:
            groups = -(-groups // BRANCH)
            total += groups * BRANCH * 8
            if groups == 1:
                return total

    @property
    def total(self) -> float:
        return float(np.cumsum(self._flat[-1])[-1])

    def set(self, slots: NDArray[np.int64], values: NDArray[np.float64] | float) -> None:
        """Sets the leaves `slots` (K,) to `values` (K,); for a slot that occurs twice the last value counts."""
        self.leaves[slots] = values
        self._refresh(slots // BRANCH)

    def _refresh(self, groups: NDArray[np.int64]) -> None:
        for level, above in zip(self.levels[:-1], self._flat[1:], strict=True):
            above[groups] = level[groups].cumsum(axis=1)[:, -1]
            groups = groups // BRANCH

    def load(self, leaves: NDArray[np.float64]) -> None:
        """Sets the first leaves to `leaves` and the others to 0."""
        self.leaves[:] = 0.0
        self.leaves[: len(leaves)] = leaves
        for level, above in pairwise(range(len(self.levels))):
            self._flat[above][: len(self.levels[level])] = self.levels[level].cumsum(axis=1)[:, -1]

    def find(self, mass: NDArray[np.float64]) -> NDArray[np.int64]:
        """The leaves (K,) at which the running sum over all leaves first exceeds `mass` (K,), in 0 .. total.

        If the total is positive, a leaf of value 0 is never returned, even with rounding errors.
        """
        groups = np.zeros(len(mass), np.int64)
        base = BRANCH * np.arange(len(mass))
        for level in reversed(self.levels):
            sums = level[groups].cumsum(axis=1)  # (K, BRANCH)
            mass = np.minimum(mass, np.nextafter(sums[:, -1], 0.0))
            child = (sums <= mass[:, None]).sum(axis=1)
            mass = mass - np.where(child > 0, sums.reshape(-1)[base + child - 1], 0.0)
            groups = groups * BRANCH + child
        return groups


@dataclass(frozen=True, slots=True)
class _Pending:
    """Errors that are being copied from the device."""

    index: NDArray[np.int64]  # (B,)
    td_error: Tensor  # (B,) on the host; complete after `event`
    event: torch.cuda.Event | None

    def wait(self) -> NDArray[np.float64]:
        if self.event is not None:
            self.event.synchronize()
        errors: NDArray[np.float64] = self.td_error.numpy().astype(np.float64)
        return errors


class Priorities:
    """The priority of each slot, and the latest errors, which become priorities with the next call."""

    def __init__(self, options: Prioritised, capacity: int) -> None:
        self._options = options
        self.tree = SumTree(capacity)
        self.largest = 1.0
        self._pending: _Pending | None = None

    def add(self, slots: NDArray[np.int64], lost: NDArray[np.int64]) -> None:
        """Adds new steps in `slots`, and removes those in `lost` unless a new step is stored there."""
        values = np.zeros(len(lost) + len(slots))
        values[len(lost) :] = self.largest
        self.tree.set(np.concatenate((lost, slots)), values)

    def draw(self, batch_size: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(B,) slots drawn independently, each with probability priority / total."""
        return self.tree.find(rng.random(batch_size) * self.tree.total)

    def weights(self, slots: NDArray[np.int64], beta: float) -> NDArray[np.float32]:
        """(B,) importance weights (1 / (len * P)) ** beta, divided by the largest in the batch (section 3.4)."""
        values = self.tree.leaves[slots]
        # the largest weight belongs to the smallest priority; len and the total cancel
        weights: NDArray[np.float32] = ((values.min() / values) ** beta).astype(np.float32)
        return weights

    def exchange(
        self, index: NDArray[np.int64], td_error: Tensor
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """Stores these errors and returns the previous ones as (write numbers, priorities); None at the first call."""
        previous, self._pending = self._pending, self._keep(index, td_error)
        if previous is None:
            return None
        errors = previous.wait()
        if not np.isfinite(errors).all():
            raise RlkitError(
                "prioritised replay: a temporal-difference error is not finite; learning may have diverged"
            )
        priorities = (np.abs(errors) + self._options.eps) ** self._options.alpha
        self.largest = max(self.largest, float(priorities.max(initial=0.0)))
        return previous.index, priorities

    @staticmethod
    def _keep(index: NDArray[np.int64], td_error: Tensor) -> _Pending:
        on_cuda = td_error.device.type == "cuda"
        # on CUDA the copy is queued behind the update that computes the errors, and done by the next call
        host = td_error.detach().to("cpu", torch.float32, non_blocking=on_cuda, copy=True)
        event = torch.cuda.current_stream(td_error.device).record_event() if on_cuda else None
        return _Pending(index.copy(), host, event)

    def state(self, rows: int) -> State:
        pending = self._pending
        return {
            "leaves": self.tree.leaves[:rows],
            "largest": self.largest,
            "pending": None
            if pending is None
            else {"index": pending.index, "td_error": pending.wait().astype(np.float32)},
        }

    def load(self, state: Any, rows: int) -> None:
        leaves, pending = state["leaves"], state["pending"]
        if leaves.shape != (rows,) or not (np.isfinite(leaves) & (leaves >= 0)).all():
            raise ConfigError(f"replay state: priorities {leaves.shape} must be ({rows},), finite and not negative")
        self.tree.load(leaves)
        self.largest = float(state["largest"])
        self._pending = (
            None if pending is None else _Pending(pending["index"].copy(), torch.tensor(pending["td_error"]), None)
        )
