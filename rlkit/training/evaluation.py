"""Evaluation: episodes of a policy from fixed seeds, in environments of its own, under a stated protocol."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.agent import Policy
from rlkit.environments import Environments
from rlkit.exploration.action_mask import allowed_actions, random_allowed
from rlkit.seeding import Streams
from rlkit.training.rollout import Rollout
from rlkit.types import ActorOutput, ActorState, Mode, Observation, RawStep, State, StepBatch


class EvaluationStopped(Exception):
    """The evaluation was asked to stop; it has no scores."""


class RandomActions:
    """A policy each of whose actions is replaced by a uniformly random one with probability `epsilon`."""

    def __init__(self, policy: Policy, epsilon: float, num_actions: int, rng: np.random.Generator) -> None:
        self._policy = policy
        self._epsilon = epsilon
        self._num_actions = num_actions
        self._rng = rng

    def initial_state(self, num_envs: int) -> ActorState:
        return self._policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output = self._policy.act(observation, state, rng, mode)
        coin = self._rng.random(len(output.action)) < self._epsilon
        uniform = self._rng.integers(0, self._num_actions, len(output.action))
        allowed = allowed_actions(observation)
        if allowed is not None:
            uniform = random_allowed(uniform / self._num_actions, allowed)
        return replace(output, action=np.where(coin, uniform, output.action))

    def load_policy_state(self, state: State) -> None:
        self._policy.load_policy_state(state)


class EpisodeSeeds:
    """Seeds the k-th episode of environment e by a function of (root, e, k), whatever the policy does."""

    def __init__(self, streams: Streams, num_envs: int) -> None:
        self._streams = streams
        self._episode = np.zeros(num_envs, dtype=np.int64)

    def first_seeds(self) -> NDArray[np.int64]:
        return self.seeds_after(np.ones(len(self._episode), dtype=np.bool_))

    def seeds_after(self, ended: NDArray[np.bool_]) -> NDArray[np.int64]:
        seeds = np.full(len(ended), -1, dtype=np.int64)
        for env in np.flatnonzero(ended):
            seeds[env] = self._streams.seed("episode", int(env), int(self._episode[env]))
            self._episode[env] += 1
        return seeds

    def seeds_after_crash(self, crashed: NDArray[np.bool_]) -> NDArray[np.int64]:
        return self.seeds_after(crashed)

    def add_reset(self, observation: Observation, mask: NDArray[np.bool_]) -> None:
        pass

    def add_step(self, action: NDArray[np.int64], step: RawStep) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Scores:
    """Raw returns and lengths of evaluated episodes, ordered by environment, then by episode."""

    returns: NDArray[np.float64]  # (episodes,)
    lengths: NDArray[np.int64]  # (episodes,) in environment steps
    successes: NDArray[np.bool_] | None = None  # (episodes,) the signal "success" at the end; None: no such signal
    distinct: int = 0  # number of different episodes, told apart by return, length, first and last observation

    @property
    def repeated(self) -> bool:
        """Whether all episodes are the same one: the number of episodes and an interval then mean nothing."""
        return self.distinct == 1 < len(self.returns)

    def summary(self) -> dict[str, float]:
        solved = {} if self.successes is None else {"success_rate": float(self.successes.mean())}
        return {
            "return_mean": float(self.returns.mean()),
            "return_median": float(np.median(self.returns)),
            "return_iqm": iqm(self.returns),
            "return_min": float(self.returns.min()),
            "return_max": float(self.returns.max()),
            "length_mean": float(self.lengths.mean()),
            **solved,
        }

    def episodes(self) -> dict[str, list[Any]]:
        """All episodes, as lists of equal length."""
        solved = {} if self.successes is None else {"successes": self.successes.astype(int).tolist()}
        return {"returns": self.returns.tolist(), "lengths": self.lengths.tolist(), **solved}


def iqm(values: NDArray[Any]) -> float:
    """Interquartile mean: the mean of the middle half (Agarwal et al. 2021)."""
    cut = len(values) // 4
    return float(np.sort(values)[cut : len(values) - cut].mean())


def bootstrap_interval(
    values: NDArray[Any],
    statistic: Callable[[NDArray[Any]], float] = iqm,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic of independent `values` (n,); deterministic."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(values), size=(resamples, len(values)))
    estimates = np.array([statistic(values[row]) for row in draws])
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(estimates, [tail, 100 - tail])
    return float(low), float(high)


def evaluate(
    policy: Policy,
    environments: Environments,
    streams: Streams,
    episodes: int,
    epsilon: float,
    on_step: Callable[[StepBatch], None] = lambda step: None,
    *,
    mode: Mode = Mode.EVALUATE,
    stopped: Callable[[], bool] = lambda: False,
) -> Scores:
    """Plays `episodes` episodes. The first episodes/N of each environment count, so short ones are not preferred.

    Raises EvaluationStopped after the step at which `stopped()` is true.
    """
    num_envs = environments.spec.num_envs
    if epsilon > 0:
        policy = RandomActions(policy, epsilon, environments.spec.num_actions, streams.generator("random actions"))
    rollout = Rollout(environments, EpisodeSeeds(streams, num_envs), streams.generator("act"), mode)
    rollout.start(policy)
    quota = np.array([episodes // num_envs + (env < episodes % num_envs) for env in range(num_envs)])
    played: list[list[tuple[float, int, bool]]] = [[] for _ in range(num_envs)]
    seen: set[tuple[Any, ...]] = set()
    began = [row.tobytes() for row in rollout.observation.obs]
    running, length = np.zeros(num_envs), np.zeros(num_envs, dtype=np.int64)
    while any(len(done) < due for done, due in zip(played, quota, strict=True)):
        rollout.act(policy)
        rollout.send()
        step = rollout.receive()
        on_step(step)
        if stopped():
            raise EvaluationStopped
        running += step.reward
        length += 1
        for env in np.flatnonzero(step.ended):
            crashed = rollout.crashed is not None and rollout.crashed[env]  # such an episode has no score
            if len(played[env]) < quota[env] and not crashed:
                success = step.after.signals.get("success", np.zeros(num_envs, np.bool_))[env]
                played[env].append((float(running[env]), int(length[env]), bool(success)))
                seen.add((*played[env][-1], hash(began[env]), hash(step.after.obs[env].tobytes())))
            running[env], length[env] = 0, 0
        rollout.reset_ended()
        for env in np.flatnonzero(step.ended):
            began[env] = rollout.observation.obs[env].tobytes()
    returns, lengths, successes = (np.array(column) for column in zip(*itertools.chain(*played), strict=True))
    return Scores(returns, lengths, successes if "success" in environments.spec.signals else None, len(seen))


def protocol_of(
    environment: Mapping[str, str],
    episodes: int,
    epsilon: float,
    mode: Mode,
    parameters: str,
    seeds: str = "fixed seeds",
) -> dict[str, str]:
    """What a score depends on, in words."""
    actions = {"actions": "sampled from the policy"} if mode is Mode.SAMPLE else {}
    return {
        **environment,
        "evaluation": f"{episodes} separate episodes, {seeds}",
        "evaluation epsilon": f"{epsilon:g}",
        **actions,
        "parameters": parameters,
        "return": "raw, undiscounted, not clipped",
    }
