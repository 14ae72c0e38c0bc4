"""Visit counts within the running episode of each environment, and the factor of a bonus that follows from them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlkit.exploration.count.visits import Visit
from rlkit.types import State

EpisodicKind: TypeAlias = Literal["none", "first", "count"]

LARGEST_EPISODE = 1_000_000
"""Distinct codes that are counted in one episode, about 100 bytes each; a state beyond them never is a first visit."""


class EpisodeCounts:
    """n_e, the visits of a state in the running episode of its environment.

    Counts are cleared where an episode begins, and its first state is counted once, then each successor.
    """

    def __init__(self, num_envs: int) -> None:
        self._counts: list[dict[int, int]] = [{} for _ in range(num_envs)]
        self._latest = np.zeros(num_envs, np.int64)  # (N,) n_e of the newest states

    def add(self, visit: Visit) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts one step of all N environments; returns n_e of the states before and after it, (N,) each."""
        return self.count(np.arange(len(self._counts)), visit.first, visit.before, visit.after)

    def clear(self) -> None:
        """Forgets all counts."""
        self._counts = [{} for _ in self._counts]

    def count(
        self,
        env: NDArray[np.int64],
        first: NDArray[np.bool_],
        before: NDArray[np.int64],
        after: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts steps (K,) of the environments `env`, in the order in which they were made; returns as `add`.

        To count stored steps anew, `clear` first: an episode whose beginning is no longer stored then begins with its
        oldest step.
        """
        visits: list[tuple[int, int]] = []
        rows = zip(env.tolist(), first.tolist(), before.tolist(), after.tolist(), strict=True)
        latest = self._latest.tolist()
        for e, begins, old, new in rows:
            if begins or not self._counts[e]:
                self._counts[e] = {old: 1}
                latest[e] = 1
            counts = self._counts[e]
            n = counts.get(new, 0) + 1
            if n > 1 or len(counts) < LARGEST_EPISODE:
                counts[new] = n
            else:
                n = 2
            visits.append((latest[e], n))
            latest[e] = n
        self._latest = np.array(latest, np.int64)
        pairs = np.array(visits, np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def state_dict(self) -> State:
        return {
            "size": np.array([len(counts) for counts in self._counts], np.int64),  # (N,)
            "digest": np.array([code for counts in self._counts for code in counts], np.int64),
            "count": np.array([n for counts in self._counts for n in counts.values()], np.int64),
            "latest": self._latest,
        }

    def load_state_dict(self, state: State) -> None:
        ends = np.cumsum(state["size"])[:-1]
        codes, numbers = np.split(state["digest"], ends), np.split(state["count"], ends)
        self._counts = [dict(zip(c.tolist(), n.tolist(), strict=True)) for c, n in zip(codes, numbers, strict=True)]
        self._latest = state["latest"].copy()


def episodic_factor(kind: EpisodicKind, number: NDArray[np.int64]) -> NDArray[np.float32]:
    """The factor for n_e: "first" pays first visits only (Henaff et al. 2023), "count" 1 / sqrt(n_e)."""
    factor: NDArray[np.float32]
    factor = (number == 1 if kind == "first" else 1.0 / np.sqrt(np.maximum(number, 1))).astype(np.float32)
    return factor
