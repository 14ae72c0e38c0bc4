"""The count bonus of #Exploration (Tang et al. 2017): beta / sqrt(n), n the visits of a state or a pair."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.exploration.adjustment import Adjustment
from rlkit.exploration.bonus import Actor, Bonus
from rlkit.exploration.count.counts import SketchCounts
from rlkit.exploration.count.optimism import CountOptimism
from rlkit.exploration.count.tables import CountTable
from rlkit.exploration.count.visits import Visit, VisitCounter
from rlkit.replay import Replay
from rlkit.types import Histogram, Metrics, Observation, State, StepBatch, Window


class CountBonus(Bonus):
    """Pays beta / sqrt(n), and adjusts action values by `CountOptimism` if its config has optimism.

    With timing "sample" the replay stores digests, and counts are looked up when rewards are read. When a fit changes
    the codes, the stored digests are computed again. With timing "insert" the replay stores the bonus itself; the
    bonuses of the random warm-up are then computed at its end.
    """

    def __init__(
        self, config: CountTable, visits: VisitCounter, optimism: CountOptimism | None, replay: Replay | None
    ) -> None:
        """replay: holds `config.columns()`; None: the agent keeps what `observe` returns, and warm-up values are not
        rewritten."""
        self._config = config
        self.visits = visits
        self._optimism = optimism
        self._replay = replay
        self._names = list(config.columns())
        self._return = np.zeros(visits.num_envs)  # (N,) the bonus so far in each environment's episode
        self._metrics: dict[str, float] = {}

    @property
    def actor(self) -> Actor | None:
        return self._optimism

    def acting(self, observation: Observation) -> Adjustment[NDArray[np.float32]] | None:
        """As `actor` gives it; the digests of the newest observations are known already."""
        if self._optimism is None or not self.visits.hash.ready:
            return None
        return self._optimism.of(self.visits.current(observation))

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        visit = self.visits.observe(step)
        if visit is not None:
            return self._count(visit)
        columns = self._config.columns().items()
        return {name: np.zeros(len(step.action), column.dtype) for name, column in columns}

    def _count(self, visit: Visit) -> dict[str, NDArray[Any]]:
        """Counts a step; returns its columns."""
        config, states = self._config, self.visits.states
        number, distinct = partial(self._number, visit.before, visit.after, visit.action), states.distinct
        earlier = number() if config.count_of == "pair" or not config.count_first else None
        self.visits.count(visit)
        n = number() if earlier is None or config.count_first else earlier
        if config.count_of == "state" and not config.count_first:
            n = n - ~visit.first  # this visit was counted with the step before, if there was one
        bonus = self._bonus(n)
        new = (states.distinct - distinct) / len(visit.visited)
        if config.count_of == "pair":
            new = float(np.mean(earlier == 0))
        self._measure(bonus, new, visit)
        columns: dict[str, NDArray[Any]] = {"digest": visit.before, "next_digest": visit.after, "bonus": bonus}
        return {name: columns[name] for name in self._names}

    def _number(self, digest: Any, next_digest: Any, action: Any) -> NDArray[np.int64]:
        """n, shaped like the digests; reads only the digest that `count_of` names."""
        if self._config.count_of == "pair":
            assert self.visits.pairs is not None
            return np.take_along_axis(self.visits.pairs.look_up(digest), action[..., None], -1)[..., 0]
        counted = next_digest if self._config.count_of == "successor" else digest
        return self.visits.states.look_up(counted)[..., 0]

    def _bonus(self, number: NDArray[np.int64]) -> NDArray[np.float32]:
        return (self._config.beta / np.sqrt(np.maximum(number, 1))).astype(np.float32)

    def _measure(self, bonus: NDArray[np.float32], new: float, visit: Visit) -> None:
        """Records the bonus (N,) and the fraction `new` of first visits."""
        self._return[visit.first] = 0.0
        self._metrics = {"explore/bonus": float(bonus.sum()) / len(bonus), "explore/first_visits": new}
        self._return += bonus
        if np.count_nonzero(visit.ended):
            self._metrics["episode/intrinsic_return"] = float(self._return[visit.ended].mean())

    def learn(self) -> Metrics:
        """Refits the hash if due; returns metrics."""
        metrics = dict(self.visits.learn())
        if self.visits.due:
            metrics |= self._fit()
        metrics |= self._metrics
        self._metrics = {}
        return metrics

    def _fit(self) -> Metrics:
        """Refits the hash, and computes stored digests again."""
        # a bonus stored at insertion stays; the bonuses of the warm-up are still to be computed
        names = [name for name in self._names if name != "bonus" or not self.visits.hash.ready]
        metrics, waiting = self.visits.fit()
        for visit in waiting:
            self._count(visit)
        if self._replay is not None:
            stored = self._replay.rewrite(names, partial(self._stored, names))
            self.visits.count_missing(stored["visited"], stored["before"], stored["action"])
        return metrics

    def _stored(
        self, names: Sequence[str], obs: NDArray[Any], action: NDArray[np.int64], next_obs: NDArray[Any]
    ) -> dict[str, NDArray[Any]]:
        """The columns `names` of stored steps, by today's codes and counts, and what `count_missing` needs; (K,)."""
        paid = "next_digest" if self._config.count_of == "successor" else "digest"
        wanted = {paid, *names} - {"bonus"} | ({"digest"} if self.visits.pairs is not None else set())
        observations = {"digest": obs, "next_digest": next_obs}
        columns: dict[str, NDArray[Any]] = {name: self.visits.digest(observations[name]) for name in wanted}
        if "bonus" in names:
            number = self._number(columns.get("digest"), columns.get("next_digest"), action)
            columns["bonus"] = self._bonus(number - (not self._config.count_first))
        before = columns.get("digest", columns[paid])
        return {**columns, "visited": columns[paid], "before": before, "action": action}

    def add(self, reward: Tensor, window: Window) -> Tensor:
        if self._config.timing == "insert":
            return reward + torch.as_tensor(window.extras["bonus"]).to(reward.device, non_blocking=True)
        action = window.action.cpu().numpy() if self._config.count_of == "pair" else None
        number = self._number(window.extras.get("digest"), window.extras.get("next_digest"), action)
        return reward + torch.from_numpy(self._bonus(number)).to(reward.device, non_blocking=True)

    def bootstrapping(self, window: Window) -> Adjustment[Tensor] | None:
        return None if self._optimism is None else self._optimism.bootstrapping(window)

    def gauges(self) -> Metrics:
        states, pairs = self.visits.states, self.visits.pairs
        counts = pairs if self._config.count_of == "pair" and pairs is not None else states
        readings: dict[str, Any] = {"explore/distinct_codes": float(states.distinct)}
        if states.distinct:  # not in the warm-up: TensorBoard refuses an empty histogram
            readings["explore/counts"] = Histogram(counts.values())
        if isinstance(counts, SketchCounts):
            readings["explore/table_load"] = counts.load()
        return readings

    def state_dict(self) -> dict[str, Any]:
        return {**self.visits.state_dict(), "return": self._return, "metrics": dict(self._metrics)}

    def load_state_dict(self, state: State) -> None:
        self.visits.load_state_dict(state)
        self._return = state["return"].copy()
        self._metrics = dict(state["metrics"])
