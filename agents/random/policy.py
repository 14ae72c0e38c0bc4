"""Uniformly random actions."""

from __future__ import annotations

import numpy as np

from rlkit.exploration.action_mask import allowed_actions, random_allowed
from rlkit.types import ActorOutput, ActorState, Mode, Observation, State


class RandomPolicy:
    """Acts at random in both modes."""

    def __init__(self, num_actions: int) -> None:
        self._num_actions = num_actions

    def initial_state(self, num_envs: int) -> ActorState:
        return {}

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        allowed = allowed_actions(observation)
        if allowed is not None:
            return ActorOutput(random_allowed(rng.random(len(allowed)), allowed), {}, {})
        return ActorOutput(rng.integers(self._num_actions, size=len(observation.first)), {}, {})

    def load_policy_state(self, state: State) -> None:
        """There is nothing to load."""
