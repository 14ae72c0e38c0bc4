"""Visit counts: features of observations, their hash, and counts of states and of state-action pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.exploration.count.counts import Counts
from rlkit.exploration.count.features import Features
from rlkit.exploration.count.hashing import Hash
from rlkit.exploration.count.moments import Moment, pack, unpack
from rlkit.types import Metrics, Observation, State, StepBatch


@dataclass(frozen=True, slots=True)
class Visit:
    """One step of N environments, as digests."""

    before: NDArray[np.int64]  # (N,) of the states acted in
    after: NDArray[np.int64]  # (N,) of the states that followed
    first: NDArray[np.bool_]  # (N,) an episode began with this step
    action: NDArray[np.int64]  # (N,)
    ended: NDArray[np.bool_]  # (N,)

    @property
    def visited(self) -> NDArray[np.int64]:
        """Digests of the states to count: first states of episodes, and every successor."""
        return np.concatenate((self.before[self.first], self.after))


class VisitCounter:
    """Counts each visited state once: the first state of each episode, and the successor of each step.

    If the hash has to be fitted first (its centre, or an encoder), the steps of the random warm-up are kept as features
    until `fit`. When a later fit changes the codes, counts stay with the codes that they were made for.
    """

    def __init__(
        self, features: Features, hash_: Hash, states: Counts, pairs: Counts | None, num_envs: int, warm_up: int
    ) -> None:
        """pairs: a table of a column for each action; None: pairs are not counted.

        warm_up: environment steps before the first fit.
        """
        self.features, self.hash = features, hash_
        self.states, self.pairs = states, pairs
        self.num_envs = num_envs
        self._warm_up = warm_up
        self.env_steps = 0
        self._waiting: list[Moment] = []
        self.newest: NDArray[Any] = np.zeros((num_envs, features.size))  # features of the newest observations
        self.latest = np.zeros(num_envs, np.int64)  # (N,) their digests

    def digest(self, obs: NDArray[Any]) -> NDArray[np.int64]:
        """(K,) digests of stored observations (K, *O), which come without signals."""
        return self.hash(self.features(Observation(obs, {}, np.zeros(len(obs), np.bool_))))

    def current(self, observation: Observation) -> NDArray[np.int64]:
        """(N,) digests of the observations that follow the newest step; only those that begin episodes are encoded."""
        return self._before(observation.first, self._begun(observation))

    def _begun(self, observation: Observation) -> NDArray[Any] | None:
        """(F, d) features of the observations that begin an episode; None if there are none."""
        rows = np.flatnonzero(observation.first)
        if not len(rows):
            return None
        signals = {name: signal[rows] for name, signal in observation.signals.items()}
        return self.features(Observation(observation.obs[rows], signals, observation.first[rows]))

    def _before(self, first: NDArray[np.bool_], begun: NDArray[Any] | None) -> NDArray[np.int64]:
        before = self.latest.copy()
        if begun is not None:
            before[first] = self.hash(begun)
        return before

    def observe(self, step: StepBatch) -> Visit | None:
        """The step as digests, not yet counted; None if it is kept for the first fit."""
        self.env_steps += len(step.action)
        first = step.before.first
        moment = Moment(first, self._begun(step.before), self.features(step.after), step.action, step.ended)
        self.newest = moment.after
        if self.hash.ready:
            return self._visit(moment)
        self._waiting.append(moment)
        return None

    def _visit(self, moment: Moment) -> Visit:
        before, after = self._before(moment.first, moment.begun), self.hash(moment.after)
        self.latest = after
        return Visit(before, after, moment.first, moment.action, moment.ended)

    def count(self, visit: Visit) -> None:
        """Counts the states, and pairs, of a step."""
        visited = visit.visited
        self.states.add(visited, np.zeros(len(visited), np.int64))
        if self.pairs is not None:
            self.pairs.add(visit.before, visit.action)

    def count_missing(self, visited: NDArray[np.int64], before: NDArray[np.int64], action: NDArray[np.int64]) -> None:
        """Seeds the counts of new codes from stored steps, (K,) each, so that they do not look unvisited."""
        _count_missing(self.states, visited, np.zeros_like(action))
        if self.pairs is not None:
            _count_missing(self.pairs, before, action)

    @property
    def due(self) -> bool:
        """Whether the hash is to be fitted now."""
        after_warm_up = self.env_steps - self._warm_up
        return after_warm_up >= 0 and self.hash.due(after_warm_up)

    def learn(self) -> Metrics:
        """Makes the hash's scheduled updates."""
        return self.hash.learn(self.env_steps)

    def fit(self) -> tuple[Metrics, Sequence[Visit]]:
        """Refits the hash. Returns its metrics, and the steps of the warm-up as digests, not yet counted."""
        seen = [rows for moment in self._waiting for rows in (moment.begun, moment.after) if rows is not None]
        metrics = self.hash.fit(np.concatenate([self.newest[:0], *seen]))
        visits = [self._visit(moment) for moment in self._waiting]
        self._waiting = []
        self.latest = self.hash(self.newest)
        return metrics, visits

    def state_dict(self) -> dict[str, Any]:
        return {
            "hash": self.hash.state_dict(),
            "states": self.states.state_dict(),
            "pairs": None if self.pairs is None else self.pairs.state_dict(),
            "waiting": pack(self._waiting),
            "env_steps": self.env_steps,
            "newest": self.newest,
            "latest": self.latest,
        }

    def load_state_dict(self, state: State) -> None:
        self.hash.load_state_dict(state["hash"])
        self.states.load_state_dict(state["states"])
        if self.pairs is not None:
            self.pairs.load_state_dict(state["pairs"])
        self._waiting = unpack(state["waiting"])
        self.env_steps = int(state["env_steps"])
        self.newest, self.latest = state["newest"].copy(), state["latest"].copy()


def _count_missing(counts: Counts, digest: NDArray[np.int64], column: NDArray[np.int64]) -> None:
    missing = np.take_along_axis(counts.look_up(digest), column[:, None], 1)[:, 0] == 0
    if missing.any():
        counts.add(digest[missing], column[missing])
