"""Epsilon-greedy exploration: a linear schedule, and one coin for each environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rlkit.config.model import Model
from rlkit.exploration.action_mask import random_allowed


class EpsilonConfig(Model):
    """The table `epsilon` of an agent that explores epsilon-greedily."""

    start: float = Field(
        1.0,
        ge=0.0,
        le=1.0,
        description="Probability of a random action at the beginning of the decay. 1: only random actions.",
    )
    end: float = Field(
        0.05,
        ge=0.0,
        le=1.0,
        description="Probability of a random action after the decay. 0: none, so untried actions may stay untried.",
    )
    steps: int = Field(
        10_000,
        ge=0,
        description="Length of the decay in environment steps, over all environments, from learning_starts on (pqn: "
        "from the first step). 0: epsilon is `end` from there.",
    )

    @model_validator(mode="after")
    def _decays(self) -> Self:
        if self.end > self.start:
            raise ValueError(f"epsilon.end = {self.end} must not exceed epsilon.start = {self.start}: epsilon decays")
        return self

    def value(self, env_steps: int) -> float:
        """Epsilon `env_steps` after the beginning of the decay: linear, then constant."""
        if env_steps >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * (max(0, env_steps) / self.steps)


def epsilon_greedy(
    epsilon: float,
    greedy: Callable[[], NDArray[np.int64]],
    num_envs: int,
    num_actions: int,
    rng: np.random.Generator,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Actions (N,): in each environment a uniformly random one with probability `epsilon`, else the greedy one.

    allowed: (N, A) the actions among which the random one is; None for all.

    Always draws 2 N numbers, so that runs with different values use the same random stream. `greedy` returns (N,) and
    is not called if all actions are random.
    """
    coins = rng.random((2, num_envs))
    explore: NDArray[Any] = coins[0] < epsilon
    uniform: NDArray[np.int64] = (coins[1] * num_actions).astype(
        np.int64
    )  # a double below 1 times A stays below A, rounded too
    if allowed is not None:
        uniform = random_allowed(coins[1], allowed)
    exploring = np.count_nonzero(explore)
    if exploring == num_envs:
        return uniform
    return np.where(explore, uniform, greedy()) if exploring else greedy()
