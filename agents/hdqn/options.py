"""When an option ends, which goals may be chosen, and the return of an option: pure functions of arrays.

N environments, G goals. An option pursues one goal, for at least one step and at most `max_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlkit.types import State, StepBatch

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OptionRules:
    """When options end, and which goals may follow."""

    max_steps: int  # 0: no limit
    repeat_goals: bool  # whether the same goal may be chosen twice in a row

    def over(self, goal: Ints, age: Ints, achieved: Bools, ended: Bools) -> Bools:
        """(N,); see `option_over`."""
        return option_over(goal, age, achieved, ended, self.max_steps)

    def allowed(self, achieved: Bools, previous: Ints) -> Bools:
        """(N, G); see `allowed_goals`."""
        return allowed_goals(achieved, previous, self.repeat_goals)


def reaches(goal: Ints, achieved: Bools) -> Bools:
    """(N,): whether each goal (N,) is among the achieved ones (N, G)."""
    hit: Bools = achieved[np.arange(len(goal)), goal]
    return hit


def option_over(goal: Ints, age: Ints, achieved: Bools, ended: Bools, max_steps: int) -> Bools:
    """(N,): whether options that have run for `age` >= 1 steps towards `goal`, (N,) each, are over.

    An option ends at its goal, at the end of the episode, and after `max_steps` steps (0: no limit). `achieved` (N, G)
    describes the observation after the latest step, so a goal achieved when the option began does not end it.
    """
    over: Bools = reaches(goal, achieved) | ended
    return over | (age >= max_steps) if max_steps else over


def allowed_goals(achieved: Bools, previous: Ints, repeat: bool) -> Bools:
    """(N, G): which goals may be chosen: those not achieved already, and unless `repeat` not the `previous` one.

    previous (N,): the goal of the preceding option in the same episode, -1 if there was none. If no other goal is left,
    the previous one may be chosen again. If all goals are achieved, any may be chosen; its option then lasts one step,
    unless that step undoes the goal.
    """
    free = ~achieved
    free[~free.any(1)] = True
    if repeat:
        return free
    other = free & (np.arange(achieved.shape[1]) != previous[:, None])
    return np.where(other.any(1, keepdims=True), other, free)


def pick(allowed: Bools, coin: NDArray[np.float64]) -> Ints:
    """(N,): the allowed choice (N, C) at quantile `coin` (N,) in [0, 1); 0 if none is allowed."""
    place = (coin * allowed.sum(1)).astype(np.int64)  # below the number of allowed ones
    choice: Ints = (allowed.cumsum(1) > place[:, None]).argmax(1)
    return choice


def explore(
    epsilon: NDArray[np.float64], greedy: Callable[[], Ints], allowed: Bools, coins: NDArray[np.float64]
) -> Ints:
    """(N,) choices: uniform among the allowed ones (N, C) with probability `epsilon` (N,), else the greedy ones.

    coins (2, N) in [0, 1): whether to choose at random, and which; `greedy` is not called if all choices are random.
    """
    random = coins[0] < epsilon
    uniform = pick(allowed, coins[1])
    return uniform if random.all() else np.where(random, uniform, greedy())


@dataclass
class OptionReturn:
    """The returns F of the options in progress, and the factors of the values that follow, (N,) each.

    discount_by "paper": F = sum of f_i, factor gamma (Kulkarni et al. 2016, the equation of Q2, which discounts an
    option once). "smdp": F = sum of gamma^i f_i, factor gamma^k after k steps (Sutton et al. 1999). After a step whose
    discount is 0, rewards no longer count, and the factor is 0.
    """

    gamma: float
    discount_by: Literal["paper", "smdp"]
    total: NDArray[np.float64]  # (N,)
    decay: NDArray[np.float64]  # (N,) the factor of the next reward

    def add(self, begins: Bools, reward: NDArray[Any], discount: NDArray[np.float32]) -> None:
        """Adds a step: rewards and discounts (N,); `begins` (N,): whether an option begins with it."""
        self.total[begins], self.decay[begins] = 0.0, 1.0
        self.total += self.decay * reward
        self.decay *= discount * self.gamma if self.discount_by == "smdp" else discount

    def factor(self) -> NDArray[np.float64]:
        """(N,) factor of the value after the option, if it ends now."""
        return self.decay * (1.0 if self.discount_by == "smdp" else self.gamma)

    def state_dict(self) -> State:
        return {"total": self.total, "decay": self.decay}

    def load_state_dict(self, state: State) -> None:
        self.total, self.decay = state["total"].copy(), state["decay"].copy()


def clipped(step: StepBatch, bound: float) -> NDArray[np.float32]:
    """(N,) the step's rewards clipped to [-bound, bound]; 0 leaves them unchanged."""
    return step.reward.clip(-bound, bound) if bound > 0 else step.reward
