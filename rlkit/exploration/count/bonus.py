"""Count-based exploration (Tang et al. 2017, "#Exploration"): features → hash → counts → bonus, as one object.

An agent with a replay makes a `CountBonus` beside it and calls

    q = bonus.acting(observation)(q)           in `act` while exploring; None where there is no optimism
    extras = bonus.observe(step)               in `observe`, to be stored: replay.add(step, extras)
    metrics = bonus.learn()                    in `learn`, before it samples
    reward = bonus.add(reward, window)         after rewards are clipped, before they are summed
    q = bonus.bootstrapping(window)(q)         where the value of `next_obs` is estimated; None as above

`NoBonus` stands where none is configured. Evaluation never comes here, and rewards in steps stay as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.exploration.adjustment import Optimism
from rlkit.exploration.count.config import BonusConfig, OptimismConfig
from rlkit.exploration.count.counts import SketchCounts
from rlkit.exploration.count.warm_up import Moment, pack, unpack
from rlkit.replay import Column, Replay
from rlkit.seeding import Streams
from rlkit.types import EnvSpec, Histogram, Metrics, Observation, State, StepBatch, Window


def bonus_extras(config: BonusConfig | None) -> dict[str, Column]:
    """The replay's columns that a bonus needs: digests to look up, or the bonus itself."""
    if config is None:
        return {}
    names = set()
    if config.timing == "insert":
        names.add("bonus")
    else:
        names.add("next_digest" if config.of == "successor" else "digest")
    if config.optimism:
        names.add("next_digest")
    return {
        name: Column((), np.float32) if name == "bonus" else Column((), np.int64, host=True) for name in sorted(names)
    }


class CountBonus:
    """beta / sqrt(n), and optimism about actions, from counts of all states that were visited.

    Every visited state is counted once: those that episodes begin with, and the successor of each step, the last one
    of an episode too; where pairs are counted, every executed pair. Where the hash has to be fitted first (a centre,
    an encoder), the random steps of the warm-up are kept as features and counted when it ends. Where codes change
    again later, counts stay with the codes that they were made for, and stored digests are made anew.

    replay: holds the columns `bonus_extras(config)`; None: the agent itself keeps what `observe` gives, and nobody
    mends what was given in the warm-up. warm_up: environment steps of random play before the first update.
    Raises SpecError where the features do not suit the observations, ConfigError for impossible combinations.
    """

    def __init__(
        self, config: BonusConfig, spec: EnvSpec, streams: Streams, replay: Replay | None, warm_up: int
    ) -> None:
        self._config = config
        self._replay = replay
        self._warm_up = warm_up
        self._names = list(bonus_extras(config))
        self._visited = "next_digest" if config.of == "successor" else "digest"  # of the state that the bonus is of
        self._features = config.features.build(spec)
        self._hash = config.build_hash(self._features, streams, replay, warm_up)
        self._states = config.counts.build(1)
        self._pairs = config.counts.build(spec.num_actions) if config.of == "pair" or config.optimism else None
        self._waiting: list[Moment] = []
        self._env_steps = 0
        self._newest: NDArray[Any] = np.zeros((spec.num_envs, self._features.size))  # of the newest observations
        self._latest = np.zeros(spec.num_envs, np.int64)  # (N,) their digests
        self._return = np.zeros(spec.num_envs)  # (N,) the bonus so far in each environment's episode
        self._metrics: dict[str, float] = {}

    def acting(self, observation: Observation) -> Optimism[NDArray[np.float32]] | None:
        """Optimism about the actions now, (N, A), of observations that follow the newest step or begin an episode."""
        if self._config.optimism is None or not self._hash.ready:
            return None
        return self._optimism(self._before(observation.first, self._begun(observation)), self._config.optimism)

    def _begun(self, observation: Observation) -> NDArray[Any] | None:
        """(F, d) features of the observations that begin an episode; None if there are none."""
        rows = np.flatnonzero(observation.first)
        if not len(rows):
            return None
        signals = {name: signal[rows] for name, signal in observation.signals.items()}
        return self._features(Observation(observation.obs[rows], signals, observation.first[rows]))

    def _before(self, first: NDArray[np.bool_], begun: NDArray[Any] | None) -> NDArray[np.int64]:
        """(N,) digests: of the newest observations, or of those with which episodes begin."""
        before = self._latest.copy()
        if begun is not None:
            before[first] = self._hash(begun)
        return before

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        """Counts what the step visited; gives the columns to store with it, (N,) each."""
        self._env_steps += len(step.action)
        moment = Moment(
            step.before.first, self._begun(step.before), self._features(step.after), step.action, step.ended
        )
        self._newest = moment.after
        if self._hash.ready:
            return self._count(moment)
        self._waiting.append(moment)
        return {name: np.zeros(len(step.action), np.float32 if name == "bonus" else np.int64) for name in self._names}

    def _count(self, moment: Moment) -> dict[str, NDArray[Any]]:
        before, after = self._before(moment.first, moment.begun), self._hash(moment.after)
        visited = np.concatenate((before[moment.first], after))
        read, distinct = partial(self._number, before, after, moment.action), self._states.distinct
        earlier = read() if self._config.of == "pair" or not self._config.count_first else None
        self._states.add(visited, np.zeros(len(visited), np.int64))
        if self._pairs is not None:
            self._pairs.add(before, moment.action)
        number = read() if earlier is None or self._config.count_first else earlier
        if self._config.of == "state" and not self._config.count_first:
            number = number - ~moment.first  # the visit was counted with the step before, where there was one
        bonus = self._bonus(number)
        self._latest = after
        self._return[moment.first] = 0.0
        new = (self._states.distinct - distinct) / len(visited)
        if self._config.of == "pair":
            new = float(np.mean(earlier == 0))
        self._measure(bonus, new, moment.ended)
        columns: dict[str, NDArray[Any]] = {"digest": before, "next_digest": after, "bonus": bonus}
        return {name: columns[name] for name in self._names}

    def _number(self, digest: Any, next_digest: Any, action: Any) -> NDArray[np.int64]:
        """n, shaped like the digests, of which only the one that the bonus is of is read."""
        if self._config.of == "pair":
            assert self._pairs is not None
            return np.take_along_axis(self._pairs.look_up(digest), action[..., None], -1)[..., 0]
        return self._states.look_up(next_digest if self._config.of == "successor" else digest)[..., 0]

    def _bonus(self, number: NDArray[np.int64]) -> NDArray[np.float32]:
        return (self._config.beta / np.sqrt(np.maximum(number, 1))).astype(np.float32)

    def _measure(self, bonus: NDArray[np.float32], new: float, ended: NDArray[np.bool_]) -> None:
        """A step was paid `bonus` (N,), and of what it counted the share `new` had never been there."""
        self._metrics = {"explore/bonus": float(bonus.sum()) / len(bonus), "explore/first_visits": new}
        self._return += bonus
        if np.count_nonzero(ended):
            self._metrics["episode/intrinsic_return"] = float(self._return[ended].mean())

    def learn(self) -> Metrics:
        """What is to be done before the next update: fits the hash when that is due; the newest step's metrics."""
        metrics = dict(self._hash.learn(self._env_steps))
        after_warm_up = self._env_steps - self._warm_up
        if after_warm_up >= 0 and self._hash.due(after_warm_up):
            metrics |= self._fit()
        metrics |= self._metrics
        self._metrics = {}
        return metrics

    def _fit(self) -> Metrics:
        """Changes the codes, and all digests that are kept."""
        # A bonus stored at insertion stays; those of the warm-up are still to be put in
        names = [name for name in self._names if name != "bonus" or not self._hash.ready]
        visited = [rows for moment in self._waiting for rows in (moment.begun, moment.after) if rows is not None]
        metrics = self._hash.fit(np.concatenate([self._newest[:0], *visited]))
        for moment in self._waiting:
            self._count(moment)
        self._waiting = []
        self._latest = self._hash(self._newest)
        if self._replay is not None:
            self._count_anew(self._replay.rewrite(names, partial(self._columns, names)))
        return metrics

    def _count_anew(self, stored: Mapping[str, NDArray[np.int64]]) -> None:
        """Seeds the counts of new codes from stored visits, (K,) each, so that they do not look unvisited."""
        action = stored["action"]
        tables = [(self._states, stored[self._visited], np.zeros_like(action))]
        if self._pairs is not None:
            tables.append((self._pairs, stored["digest"], action))
        for counts, digest, column in tables:
            lacking = np.take_along_axis(counts.look_up(digest), column[:, None], 1)[:, 0] == 0
            if lacking.any():
                counts.add(digest[lacking], column[lacking])

    def _columns(
        self, names: Sequence[str], obs: NDArray[Any], action: NDArray[np.int64], next_obs: NDArray[Any]
    ) -> dict[str, NDArray[Any]]:
        """The columns `names` of stored steps by today's codes and counts, and what `_count_anew` reads; (K,) each."""
        wanted = {self._visited, *names} - {"bonus"} | ({"digest"} if self._pairs is not None else set())
        observations = {"digest": obs, "next_digest": next_obs}
        columns: dict[str, NDArray[Any]] = {
            name: self._hash(self._features(Observation(observations[name], {}, np.zeros(len(obs), np.bool_))))
            for name in wanted
        }
        if "bonus" in names:
            number = self._number(columns.get("digest"), columns.get("next_digest"), action)
            columns["bonus"] = self._bonus(number - (not self._config.count_first))
        return columns | {"action": action}

    def add(self, reward: Tensor, window: Window) -> Tensor:
        """The rewards (B, n) with the bonus of each step."""
        if self._config.timing == "insert":
            return reward + torch.as_tensor(window.extras["bonus"]).to(reward.device, non_blocking=True)
        action = window.action.cpu().numpy() if self._config.of == "pair" else None
        number = self._number(window.extras.get("digest"), window.extras.get("next_digest"), action)
        return reward + torch.from_numpy(self._bonus(number)).to(reward.device, non_blocking=True)

    def _optimism(self, digest: NDArray[np.int64], config: OptimismConfig) -> Optimism[NDArray[np.float32]]:
        """About each action, (*digest.shape, A)."""
        assert self._pairs is not None
        fading = (self._pairs.look_up(digest) + 1.0) ** config.exponent
        keep = (1.0 - 1.0 / fading).astype(np.float32) if config.bounded else None
        return Optimism((config.scale / fading).astype(np.float32), keep)

    def bootstrapping(self, window: Window) -> Optimism[Tensor] | None:
        """The optimism about the actions in `next_obs`, (B, A)."""
        if self._config.optimism is None:
            return None
        optimism = self._optimism(np.asarray(window.extras["next_digest"]), self._config.optimism)  # (B, n, A)
        # The last step of a window is known on its device only, where waiting for it would be dear
        last = (window.steps - 1)[:, None, None].expand(-1, 1, optimism.added.shape[2])

        def of_last(values: NDArray[np.float32]) -> Tensor:
            return torch.from_numpy(values).to(last.device, non_blocking=True).gather(1, last).squeeze(1)

        return Optimism(of_last(optimism.added), None if optimism.keep is None else of_last(optimism.keep))

    def gauges(self) -> Metrics:
        counts = self._pairs if self._config.of == "pair" and self._pairs is not None else self._states
        readings: dict[str, Any] = {"explore/distinct_codes": float(self._states.distinct)}
        if self._states.distinct:  # not in the warm-up: TensorBoard refuses a histogram of nothing
            readings["explore/counts"] = Histogram(counts.values())
        if isinstance(counts, SketchCounts):
            readings["explore/table_load"] = counts.load()
        return readings

    def state_dict(self) -> dict[str, Any]:
        return {
            "hash": self._hash.state_dict(),
            "states": self._states.state_dict(),
            "pairs": None if self._pairs is None else self._pairs.state_dict(),
            "waiting": pack(self._waiting),
            "env_steps": self._env_steps,
            "newest": self._newest,
            "latest": self._latest,
            "return": self._return,
            "metrics": dict(self._metrics),
        }

    def load_state_dict(self, state: State) -> None:
        self._hash.load_state_dict(state["hash"])
        self._states.load_state_dict(state["states"])
        if self._pairs is not None:
            self._pairs.load_state_dict(state["pairs"])
        self._waiting = unpack(state["waiting"])
        self._env_steps = int(state["env_steps"])
        self._newest, self._latest = state["newest"].copy(), state["latest"].copy()
        self._return = state["return"].copy()
        self._metrics = dict(state["metrics"])


class NoBonus:
    """Stands for no bonus: counts nothing and changes nothing."""

    def acting(self, observation: Observation) -> None:
        return None

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        return {}

    def learn(self) -> Metrics:
        return {}

    def add(self, reward: Tensor, window: Window) -> Tensor:
        return reward

    def bootstrapping(self, window: Window) -> None:
        return None

    def gauges(self) -> Metrics:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: State) -> None:
        """Nothing to load."""


def build_bonus(
    config: BonusConfig | None, spec: EnvSpec, streams: Streams, replay: Replay | None, warm_up: int
) -> CountBonus | NoBonus:
    """The bonus of a config; see `CountBonus` for the arguments and what it raises."""
    return NoBonus() if config is None else CountBonus(config, spec, streams, replay, warm_up)
