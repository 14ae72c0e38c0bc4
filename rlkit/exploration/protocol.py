"""The calls of an exploration bonus; `rlkit.exploration.bonus` says when an agent makes them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rlkit.exploration.adjustment import Adjustment
from rlkit.types import ActorState, Metrics, Observation, State, StepBatch, Window


class Actor(Protocol):
    """The part of a bonus that acting reads. It needs no replay and learns nothing, so it goes with a policy alone."""

    def __call__(self, observation: Observation) -> Adjustment[NDArray[np.float32]] | None:
        """The adjustment of action values (N, A) in these observations; None for none."""

    def state_dict(self) -> State:
        """What the adjustments depend on. May share memory."""

    def load_state_dict(self, state: State) -> None: ...


class EpisodeInput(Protocol):
    """A number that a policy sees beside each observation, from what happened in the episode so far."""

    def initial_state(self, num_envs: int) -> ActorState:
        """What is kept from one observation to the next, (num_envs, ...) each."""

    def __call__(self, observation: Observation, state: ActorState) -> tuple[NDArray[np.uint8], ActorState]:
        """The bytes (N,), and what is kept; called once for each observation, in order. Nothing is written to."""


class Bonus(Protocol):
    """Pays for exploration. A subclass must define `observe` and `add`; the other methods default to doing nothing."""

    @property
    def actor(self) -> Actor | None:
        """What acting reads, shared with this bonus; None if the bonus does not change how the agent acts."""
        return None

    def acting(self, observation: Observation) -> Adjustment[NDArray[np.float32]] | None:
        """The adjustment of action values (N, A) in the observations that follow the newest step."""
        return None if self.actor is None else self.actor(observation)

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        """Takes in a training step; returns the columns to store with it, (N, ...) each, as `BonusConfig.columns`."""
        ...

    def learn(self) -> Metrics:
        """Makes the updates that are due before the next update of the agent; returns metrics."""
        return {}

    def add(self, reward: Tensor, window: Window) -> Tensor:
        """The rewards (B, n) with the bonus of each step added."""
        ...

    def bootstrapping(self, window: Window) -> Adjustment[Tensor] | None:
        """The adjustment of the action values (B, A) of `window.next_obs`."""
        return None

    def gauges(self) -> Metrics:
        """Readings of the moment, for the log."""
        return {}

    def state_dict(self) -> State:
        """Everything that future bonuses depend on. May share memory."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Takes over a state_dict of a bonus of the same config."""
        return


class BonusAround(Bonus):
    """A bonus that passes every call on to the one inside; a subclass changes what it needs to."""

    def __init__(self, bonus: Bonus) -> None:
        self.bonus = bonus

    @property
    def actor(self) -> Actor | None:
        return self.bonus.actor

    def acting(self, observation: Observation) -> Adjustment[NDArray[np.float32]] | None:
        return self.bonus.acting(observation)

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        return self.bonus.observe(step)

    def learn(self) -> Metrics:
        return self.bonus.learn()

    def add(self, reward: Tensor, window: Window) -> Tensor:
        return self.bonus.add(reward, window)

    def bootstrapping(self, window: Window) -> Adjustment[Tensor] | None:
        return self.bonus.bootstrapping(window)

    def gauges(self) -> Metrics:
        return self.bonus.gauges()

    def state_dict(self) -> State:
        return self.bonus.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.bonus.load_state_dict(state)


class NoBonus(Bonus):
    """Stands for no bonus: counts nothing and changes nothing."""

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        return {}

    def add(self, reward: Tensor, window: Window) -> Tensor:
        return reward
