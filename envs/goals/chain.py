"""Goal space for the chain of the h-DQN paper: its states (Kulkarni et al. 2016, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rlkit.errors import SpecError
from rlkit.goals import one_hot
from rlkit.types import EnvSpec, Observation


class States:
    """One goal per state of a Discrete observation space. A goal is achieved while the agent is in its state.

    states: the states that are goals, counted from 1 as in the paper. Default: all states. The authors' code uses 1, 3,
    4, 5 and 6.
    """

    def __init__(self, spec: EnvSpec, states: Sequence[int] | None = None) -> None:
        space = spec.observation_space
        if not isinstance(space, spaces.Discrete):
            raise SpecError(f"goals chain-states need Discrete observations, such as rlkit/Chain-v0's, not {space}")
        chosen = list(range(1, int(space.n) + 1)) if states is None else list(states)
        if any(not isinstance(number, int) or not 1 <= number <= space.n for number in chosen):
            raise SpecError(f"goals chain-states: states {chosen} must be integers in 1..{space.n}")
        self.names = [f"s{number}" for number in chosen]
        self._codes = np.array(chosen, np.int64) - 1 + int(space.start)

    def achieved(self, observation: Observation) -> NDArray[np.bool_]:
        here: NDArray[np.bool_] = observation.obs[:, None] == self._codes
        return here

    def encode(self, goal: NDArray[np.int64]) -> NDArray[np.float32]:
        return one_hot(goal, len(self.names))
