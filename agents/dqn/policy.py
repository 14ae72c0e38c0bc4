"""The policy of a Q-network: greedy, or exploring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.exploration.adjustment import Adjustment
from rlkit.exploration.bonus import Actor
from rlkit.exploration.epsilon import epsilon_greedy
from rlkit.nn.host import HostNetwork
from rlkit.nn.inputs import to_tensor
from rlkit.nn.parameters import load_parameters, parameter_state
from rlkit.nn.qnetwork import QNetwork
from rlkit.types import ActorOutput, ActorState, Mode, Observation, State


class DQNPolicy:
    """Takes the action of the highest value, the lowest action of equals; explores epsilon-greedily."""

    def __init__(self, network: QNetwork, num_actions: int, device: torch.device, actor: Actor | None) -> None:
        """actor: what exploring reads of the agent's bonus."""
        self.network = network
        self.actor = actor
        self.epsilon: float | None = 1.0  # the probability of a random action when exploring; None: not known
        self._num_actions = num_actions
        self._device = device
        self._host = HostNetwork.of(network)

    def initial_state(self, num_envs: int) -> ActorState:
        return {}

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        if mode is Mode.EVALUATE:
            return ActorOutput(self.greedy(observation.obs), {}, {})
        adjustment = None if self.actor is None else self.actor(observation)
        return self.explore(lambda: self.greedy(observation.obs, adjustment), len(observation.obs), rng)

    def explore(self, greedy: Callable[[], NDArray[np.int64]], count: int, rng: np.random.Generator) -> ActorOutput:
        """Epsilon-greedy actions (count,). Raises ValueError if epsilon is not known."""
        if self.epsilon is None:
            raise ValueError("this policy was saved by rlkit 0.1.0, without what exploring needs: use Mode.EVALUATE")
        return ActorOutput(epsilon_greedy(self.epsilon, greedy, count, self._num_actions, rng), {}, {})

    def greedy(
        self, obs: NDArray[Any] | Tensor, adjustment: Adjustment[NDArray[np.float32]] | None = None
    ) -> NDArray[np.int64]:
        """Actions (N,) of the highest adjusted value for observations (N, *O)."""
        q = self._values(obs)
        action: NDArray[np.int64] = (q if adjustment is None else adjustment(q)).argmax(1)
        return action

    def action_values(self, observation: Observation, state: ActorState) -> NDArray[np.float32]:
        """Values (N, A), for display."""
        return self._values(observation.obs)

    def _values(self, obs: NDArray[Any] | Tensor) -> NDArray[np.float32]:
        """(N, A)"""
        if self._host is not None and not isinstance(obs, Tensor) and self._host.supports(len(obs)):
            return self._host(obs)
        with torch.inference_mode():
            moved = obs if isinstance(obs, Tensor) else to_tensor(obs, self._device)
            values: NDArray[np.float32] = self.network.values(self.network(moved)).cpu().numpy()
        return values

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": parameter_state(self.network),
            "epsilon": self.epsilon,
            "actor": None if self.actor is None else self.actor.state_dict(),
        }

    def load_policy_state(self, state: State) -> None:
        load_parameters(self.network, state["network"], "the policy's state")
        self.epsilon = state.get("epsilon")
        if self.actor is not None and state.get("actor") is not None:
            self.actor.load_state_dict(state["actor"])
