"""The count bonus: beta / sqrt(n), n the visits of a state or a pair (Tang et al. 2017), times an episodic factor."""

from __future__ import annotations

from collections.abc import Set
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.exploration.adjustment import Adjustment
from rlkit.exploration.count.counts import LimitedCounts, SketchCounts
from rlkit.exploration.count.episodic import EpisodeCounts, episodic_factor
from rlkit.exploration.count.optimism import CountOptimism
from rlkit.exploration.count.tables import CountTable
from rlkit.exploration.count.visits import Visit, VisitCounter
from rlkit.exploration.protocol import Actor, Bonus
from rlkit.replay import Replay, Trajectory
from rlkit.types import Histogram, Metrics, Observation, State, StepBatch, Window


class CountBonus(Bonus):
    """Pays beta times a factor of the visits in the run, and one of the visits in the episode; `CountTable` has them.

    It also adjusts action values by `CountOptimism` if its config has optimism.

    With timing "sample" the replay stores digests, and counts are looked up when rewards are read. When a fit changes
    the codes, the stored digests are computed again. With timing "insert" the replay stores the lifelong factor itself;
    that of the random warm-up is then computed at its end. The episodic factor is fixed when a step is made, so it is
    always stored; only a fit that changes its codes computes it again.
    """

    def __init__(
        self,
        config: CountTable,
        visits: VisitCounter,
        optimism: CountOptimism | None = None,
        episodes: EpisodeCounts | None = None,
        episodic_codes: VisitCounter | None = None,
        replay: Replay | Trajectory | None = None,
    ) -> None:
        """episodic_codes: makes the codes of `episodes`; None: those of `visits`.

        replay: holds `config.columns()`; None: the agent keeps what `observe` returns, and the columns of the warm-up
        are not computed again.
        """
        self._config = config
        self.visits = visits
        self._optimism = optimism
        self._episodes = episodes
        self._own_codes = episodic_codes
        self._replay = replay
        self._names = list(config.columns())
        self._waiting: list[NDArray[np.float32]] = []  # episodic factors of the steps that `visits` keeps
        self._return = np.zeros(visits.num_envs)  # (N,) the bonus so far in each environment's episode
        self._metrics: dict[str, float] = {}

    @property
    def beta(self) -> float:
        """The beta of now."""
        anneal = self._config.anneal
        return self._config.beta * (1.0 if anneal is None else anneal.factor(self.visits.env_steps))

    @property
    def intrinsic_return(self) -> NDArray[np.float64]:
        """(N,) the bonus so far in each environment's episode, up to its end."""
        return self._return.copy()

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
        factor = self._episodic(visit if self._own_codes is None else self._own_codes.observe(step))
        if visit is not None:
            return self._count(visit, factor)
        if self._own_codes is not None:
            self._waiting.append(factor)
        columns = self._config.columns().items()
        zeros = {name: np.zeros(len(step.action), column.dtype) for name, column in columns}
        return zeros | ({"episodic": factor} if self._episodes is not None else {})

    def _episodic(self, visit: Visit | None) -> NDArray[np.float32]:
        """Counts a step in its episode; (N,) its factor. Without codes yet it is 0."""
        if self._episodes is None:
            return np.ones(self.visits.num_envs, np.float32)
        if visit is None:
            return np.zeros(self.visits.num_envs, np.float32)
        return self._episodic_factor(*self._episodes.add(visit))

    def _episodic_factor(self, before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.float32]:
        """The factor for n_e of the states before and after a step."""
        return episodic_factor(self._config.episodic, after if self._config.count_of == "successor" else before)

    def _count(self, visit: Visit, factor: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Counts a step; returns its columns."""
        config, states = self._config, self.visits.states
        number, distinct = partial(self._number, visit.before, visit.after, visit.action), states.distinct
        earlier = number() if config.count_of == "pair" or not config.count_first else None
        self.visits.count(visit)
        n = number() if earlier is None or config.count_first else earlier
        if config.count_of == "state" and not config.count_first:
            n = n - ~visit.first  # this visit was counted with the step before, if there was one
        lifelong = self._lifelong(n, visit.before)
        new = (states.distinct - distinct) / len(visit.visited)
        if config.count_of == "pair":
            new = float(np.mean(earlier == 0))
        self._measure(lifelong * factor, new, visit)
        if self._episodes is not None:
            self._metrics["explore/episodic_factor"] = float(factor.mean())
        columns: dict[str, NDArray[Any]] = {"digest": visit.before, "next_digest": visit.after}
        columns |= {"bonus": lifelong, "episodic": factor}
        return {name: columns[name] for name in self._names}

    def _number(self, digest: Any, next_digest: Any, action: Any) -> NDArray[np.int64]:
        """n, shaped like the digests; reads only the digest that `count_of` names."""
        if self._config.count_of == "pair":
            assert self.visits.pairs is not None
            return np.take_along_axis(self.visits.pairs.look_up(digest), action[..., None], -1)[..., 0]
        counted = next_digest if self._config.count_of == "successor" else digest
        return self.visits.states.look_up(counted)[..., 0]

    def lifelong(self, number: NDArray[np.int64]) -> NDArray[np.float64]:
        """(K,) beta times the lifelong factor of states with so many visits; "noveld" without the state before."""
        plain = np.ones(len(number)) if self._config.lifelong == "none" else 1 / np.sqrt(np.maximum(number, 1))
        return self.beta * plain

    def _lifelong(self, number: NDArray[np.int64], digest: Any) -> NDArray[np.float32]:
        """beta times the lifelong factor for n; digest: of the states before the steps, for "noveld"."""
        config, beta = self._config, self.beta
        if config.lifelong == "none":
            return np.full(number.shape, beta, np.float32)
        bonus = beta / np.sqrt(np.maximum(number, 1))
        if config.lifelong == "noveld":
            before = self.visits.states.look_up(digest)[..., 0]
            bonus = np.maximum(bonus - config.novelty_alpha * beta / np.sqrt(np.maximum(before, 1)), 0.0)
        return bonus.astype(np.float32)

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
        """Refits the hash, and computes what was stored by its codes again."""
        # lifelong factors stored at insertion stay; those of the warm-up are still to be computed
        names = {name for name in self._names if name != "bonus" or not self.visits.hash.ready}
        metrics, waiting = self.visits.fit()
        for number, visit in enumerate(waiting):
            self._count(visit, self._episodic(visit) if self._own_codes is None else self._waiting[number])
        self._waiting = []
        if self._own_codes is not None:
            names -= {"episodic"}
        if self._replay is not None:
            if self._episodes is not None and "episodic" in names:
                self._episodes.clear()
            stored = self._replay.rewrite(sorted(names), partial(self._stored, names))
            self.visits.count_missing(stored["visited"], stored["before"], stored["action"])
        return metrics

    def _stored(
        self,
        names: Set[str],
        index: NDArray[np.int64],
        obs: NDArray[Any],
        action: NDArray[np.int64],
        next_obs: NDArray[Any],
    ) -> dict[str, NDArray[Any]]:
        """The columns `names` of stored steps, by today's codes and counts, and what `count_missing` needs; (K,)."""
        successor = self._config.count_of == "successor"
        paid = "next_digest" if successor else "digest"
        wanted = {paid, *names} - {"bonus", "episodic"} | ({"digest"} if self.visits.pairs is not None else set())
        if "episodic" in names or self._config.lifelong == "noveld":
            wanted |= {"digest", "next_digest"}
        observations = {"digest": obs, "next_digest": next_obs}
        columns: dict[str, NDArray[Any]] = {name: self.visits.digest(observations[name]) for name in wanted}
        if "bonus" in names:
            number = self._number(columns.get("digest"), columns.get("next_digest"), action)
            columns["bonus"] = self._lifelong(number - (not self._config.count_first), columns.get("digest"))
        if "episodic" in names:
            assert self._episodes is not None
            assert self._replay is not None
            env, first = index % self.visits.num_envs, self._replay.begins(index)
            visited = self._episodes.count(env, first, columns["digest"], columns["next_digest"])
            columns["episodic"] = self._episodic_factor(*visited)
        before = columns.get("digest", columns[paid])
        return {**columns, "visited": columns[paid], "before": before, "action": action}

    def add(self, reward: Tensor, window: Window) -> Tensor:
        bonus = self._looked_up(window).to(reward.device, non_blocking=True)
        if self._episodes is not None:
            bonus = bonus * torch.as_tensor(window.extras["episodic"]).to(reward.device, non_blocking=True)
        return reward + bonus

    def _looked_up(self, window: Window) -> Tensor:
        """(B, n) beta times the lifelong factors of a window."""
        if self._config.lifelong == "none":
            return torch.full_like(window.reward, self.beta)
        if self._config.timing == "insert":
            return torch.as_tensor(window.extras["bonus"])
        action = window.action.cpu().numpy() if self._config.count_of == "pair" else None
        digest = window.extras.get("digest")
        return torch.from_numpy(self._lifelong(self._number(digest, window.extras.get("next_digest"), action), digest))

    def bootstrapping(self, window: Window) -> Adjustment[Tensor] | None:
        return None if self._optimism is None else self._optimism.bootstrapping(window)

    def gauges(self) -> Metrics:
        states, pairs = self.visits.states, self.visits.pairs
        counts = pairs if self._config.count_of == "pair" and pairs is not None else states
        readings: dict[str, Any] = {"explore/distinct_codes": float(states.distinct)}
        if self._config.anneal is not None:
            readings["explore/beta"] = self.beta
        if states.distinct:  # not in the warm-up: TensorBoard refuses an empty histogram
            readings["explore/counts"] = Histogram(counts.values())
        if isinstance(counts, SketchCounts | LimitedCounts) and (load := counts.load()) is not None:
            readings["explore/table_load"] = load
        return readings

    def state_dict(self) -> dict[str, Any]:
        state = {**self.visits.state_dict(), "return": self._return, "metrics": dict(self._metrics)}
        if self._episodes is not None:
            state["episodes"] = self._episodes.state_dict()
        if self._own_codes is not None:
            state |= {"episodic codes": self._own_codes.state_dict(), "waiting factors": np.array(self._waiting)}
        return state

    def load_state_dict(self, state: State) -> None:
        self.visits.load_state_dict(state)
        self._return = state["return"].copy()
        self._metrics = dict(state["metrics"])
        if self._episodes is not None:
            self._episodes.load_state_dict(state["episodes"])
        if self._own_codes is not None:
            self._own_codes.load_state_dict(state["episodic codes"])
            self._waiting = list(state["waiting factors"])
