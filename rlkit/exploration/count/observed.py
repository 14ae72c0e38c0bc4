"""Visits of the present state in the running episode, counted by a policy itself: arrays of fixed size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlkit.exploration.count.episodic import EpisodicKind, episodic_factor
from rlkit.exploration.count.features import Features
from rlkit.exploration.count.hashing import ExactHash
from rlkit.types import ActorState, Observation


class EpisodeVisits:
    """Gives the episodic factor of the present state, from 0 to 255 for 0 to 1; see `EpisodeInput`.

    It is `EpisodeCounts` for the states of an episode, as long as there are no more than `capacity`. Beyond that the
    oldest ones are forgotten, and count as new when they are visited again.
    """

    def __init__(self, kind: EpisodicKind, features: Features, capacity: int) -> None:
        """features: of observations; states with equal features are the same."""
        self._kind = kind
        self._features = features
        self._hash = ExactHash()
        self._capacity = capacity

    def initial_state(self, num_envs: int) -> ActorState:
        return {
            "codes": np.zeros((num_envs, self._capacity), np.int64),
            "counts": np.zeros((num_envs, self._capacity), np.int32),  # 0: free
            "distinct": np.zeros(num_envs, np.int64),  # codes of the episode so far
        }

    def __call__(self, observation: Observation, state: ActorState) -> tuple[NDArray[np.uint8], ActorState]:
        number, kept = self.visit(self._hash(self._features(observation)), observation.first, state)
        return np.rint(255 * episodic_factor(self._kind, number)).astype(np.uint8), kept

    def visit(
        self, digest: NDArray[np.int64], first: NDArray[np.bool_], state: ActorState
    ) -> tuple[NDArray[np.int64], ActorState]:
        """Counts a visit of each digest (N,); returns its visits so far, (N,). Where `first`, an episode begins."""
        codes, counts, distinct = (state[name].copy() for name in ("codes", "counts", "distinct"))
        codes[first], counts[first], distinct[first] = 0, 0, 0
        rows = np.arange(len(digest))
        same = (codes == digest[:, None]) & (counts > 0)  # (N, capacity)
        slot = same.argmax(1)
        known = same[rows, slot]
        slot = np.where(known, slot, distinct % self._capacity)
        number = np.where(known, counts[rows, slot] + 1, 1)
        codes[rows, slot], counts[rows, slot] = digest, number
        return number.astype(np.int64), {"codes": codes, "counts": counts, "distinct": distinct + ~known}
