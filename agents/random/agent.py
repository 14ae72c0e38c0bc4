"""The random agent: a policy, and an agent's other methods, which do nothing."""

from __future__ import annotations

import numpy as np

from agents.random.policy import RandomPolicy
from rlkit.types import ActorOutput, ActorState, Metrics, Mode, Observation, State, StepBatch


class RandomAgent:
    """Stores and learns nothing."""

    def __init__(self, policy: RandomPolicy) -> None:
        self._policy = policy

    @property
    def updates(self) -> int:
        return 0

    def initial_state(self, num_envs: int) -> ActorState:
        return self._policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return self._policy.act(observation, state, rng, mode)

    def observe(self, step: StepBatch) -> None:
        """A learning agent stores the step here."""

    def learn(self) -> Metrics:
        return {}

    def gauges(self) -> Metrics:
        return {}

    def state_dict(self) -> State:
        return {"policy": {}}

    def load_state_dict(self, state: State) -> None:
        """There is nothing to load."""

    def load_policy_state(self, state: State) -> None:
        self._policy.load_policy_state(state)
