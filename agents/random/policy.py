"""Uniformly random actions."""

from __future__ import annotations

import numpy as np

from rlkit.types import ActorOutput, ActorState, Mode, Observation, State


class RandomPolicy:
    """Acts at random in both modes."""

    def __init__(self, num_actions: int) -> None:
        self._num_actions = num_actions

    def initial_state(self, num_envs: int) -> ActorState:
        return {}

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return ActorOutput(rng.integers(self._num_actions, size=len(observation.first)), {}, {})

    def load_policy_state(self, state: State) -> None:
        """There is nothing to load."""
