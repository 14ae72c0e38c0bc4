"""Statistics of options: by goal over the latest options, and intrinsic returns of episodes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.hdqn.options import Bools, Ints
from rlkit.types import Metrics, State

LATEST = 100  # options per goal for its success rate and length
SHARES = 1000  # options for the goals' shares
EPISODES = 1000  # for the visits per episode
SHOWN = 32  # with more goals, no metrics by goal


class OptionStatistics:
    """Ring buffers of the latest options."""

    def __init__(self, names: Sequence[str], num_envs: int) -> None:
        self._names = _metric_names(names)
        goals = len(names)
        self._reached = np.zeros((goals, LATEST), np.bool_)
        self._length = np.zeros((goals, LATEST), np.int64)
        self._count = np.zeros(goals, np.int64)  # options of each goal so far, without idle ones
        self._chosen = np.zeros(SHARES, np.int64)
        self._return = np.zeros(SHARES)  # rewards of the same options, from the environment
        self._intrinsic = np.zeros(SHARES)  # and from the critic
        self._total = 0
        self._visits = np.zeros((num_envs, goals), np.int64)  # how often each goal was achieved in each running episode
        self._visited = np.zeros((EPISODES, goals), np.int64)  # the same in the latest episodes
        self._episodes = 0
        self._option = np.zeros(num_envs)  # (N,) intrinsic reward so far in each option
        self._episode = np.zeros(num_envs)  # (N,) in each episode

    @property
    def options(self) -> int:
        """Options finished so far."""
        return self._total

    def mastered(self, share: float) -> Bools:
        """(G,) which goals were reached in more than `share` of their latest options, once there are LATEST of them."""
        mastered: Bools = (self._count >= LATEST) & (self._reached.mean(1) > share)
        return mastered

    def observe(
        self, first: Bools, begins: Bools, intrinsic: NDArray[np.float64], came: Bools, ended: Bools
    ) -> dict[str, float]:
        """Adds a step: intrinsic rewards (N,), newly achieved goals (N, G). Returns metrics of ended episodes."""
        self._episode[first] = 0.0
        self._visits[first] = 0
        self._option[begins] = 0.0
        self._episode += intrinsic
        self._visits += came
        self._option += intrinsic
        if not ended.any():
            return {}
        for visits in self._visits[ended]:
            self._visited[self._episodes % EPISODES] = visits
            self._episodes += 1
        return {"episode/critic_return": float(self._episode[ended].mean())}

    def finish(
        self, over: Bools, idle: Bools, goal: Ints, length: Ints, reached: Bools, total: NDArray[np.float64]
    ) -> None:
        """Records the options that are `over` (N,): goals, lengths, success, and sums of rewards, (N,) each.

        idle (N,): the goal was achieved when the option began; such options do not count for its success rate.
        """
        for env in np.flatnonzero(over):
            number, place = goal[env], self._total % SHARES
            if not idle[env]:
                slot = self._count[number] % LATEST
                self._reached[number, slot], self._length[number, slot] = reached[env], length[env]
                self._count[number] += 1
            self._chosen[place], self._return[place], self._intrinsic[place] = number, total[env], self._option[env]
            self._total += 1

    def gauges(self) -> Metrics:
        """By goal: success and length over its latest options, its share of options, and visits per episode."""
        known, episodes = min(self._total, SHARES), min(self._episodes, EPISODES)
        readings: dict[str, float] = {"option/count": float(self._total)}
        if known:
            readings["option/return"] = float(self._return[:known].mean())
            readings["option/critic_return"] = float(self._intrinsic[:known].mean())
        for number, name in enumerate(self._names if len(self._names) <= SHOWN else []):
            seen = min(int(self._count[number]), LATEST)
            readings[f"goal_share/{name}"] = float((self._chosen[:known] == number).sum() / max(known, 1))
            if episodes:
                readings[f"goal_visits/{name}"] = float(self._visited[:episodes, number].mean())
            if seen:
                readings[f"goal_success/{name}"] = float(self._reached[number, :seen].mean())
                readings[f"goal_length/{name}"] = float(self._length[number, :seen].mean())
        return readings

    def state_dict(self) -> State:
        return {
            "reached": self._reached,
            "length": self._length,
            "count": self._count,
            "chosen": self._chosen,
            "return": self._return,
            "intrinsic": self._intrinsic,
            "total": self._total,
            "visits": self._visits,
            "visited": self._visited,
            "episodes": self._episodes,
            "option": self._option,
            "episode": self._episode,
        }

    def load_state_dict(self, state: State) -> None:
        self._reached, self._length = state["reached"].copy(), state["length"].copy()
        self._count, self._chosen = state["count"].copy(), state["chosen"].copy()
        self._return, self._intrinsic = state["return"].copy(), state["intrinsic"].copy()
        self._total = int(state["total"])
        self._visits, self._visited = state["visits"].copy(), state["visited"].copy()
        self._episodes = int(state["episodes"])
        self._option, self._episode = state["option"].copy(), state["episode"].copy()


def _metric_names(names: Sequence[str]) -> list[str]:
    """Names without characters that TensorBoard refuses; with numbers if two would be equal."""
    cleaned = [re.sub(r"[^\w.-]+", "_", name) for name in names]
    return [f"{name}_{number}" if cleaned.count(name) > 1 else name for number, name in enumerate(cleaned)]
