"""The greedy policy of a Q-network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.exploration.adjustment import Optimism
from rlkit.nn.host import HostNetwork
from rlkit.nn.inputs import to_tensor
from rlkit.nn.parameters import load_parameters, parameter_state
from rlkit.nn.qnetwork import QNetwork
from rlkit.types import ActorOutput, ActorState, Mode, Observation, State


class DQNPolicy:
    """Takes the action of the highest value, the lowest action among equals."""

    def __init__(self, network: QNetwork, device: torch.device) -> None:
        self.network = network
        self._device = device
        self._host = HostNetwork.of(network)

    def initial_state(self, num_envs: int) -> ActorState:
        return {}

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        """Greedy; only an agent explores, so Mode.EXPLORE raises ValueError."""
        if mode is not Mode.EVALUATE:
            raise ValueError("a bare DQN policy does not explore; ask the agent, or use Mode.EVALUATE")
        return ActorOutput(self.greedy(observation.obs), {}, {})

    def greedy(
        self, obs: NDArray[Any] | Tensor, optimism: Optimism[NDArray[np.float32]] | None = None
    ) -> NDArray[np.int64]:
        """Actions (N,) for observations (N, *O), of the highest value, as an optimist sees it where there is one."""
        q = self._values(obs)
        action: NDArray[np.int64] = (q if optimism is None else optimism(q)).argmax(1)
        return action

    def action_values(self, observation: Observation, state: ActorState) -> NDArray[np.float32]:
        """Values (N, A), for people to look at."""
        return self._values(observation.obs)

    def _values(self, obs: NDArray[Any] | Tensor) -> NDArray[np.float32]:
        """(N, A)"""
        if self._host is not None and not isinstance(obs, Tensor) and self._host.supports(len(obs)):
            return self._host(obs)
        with torch.inference_mode():
            moved = obs if isinstance(obs, Tensor) else to_tensor(obs, self._device)
            values: NDArray[np.float32] = self.network(moved).cpu().numpy()
        return values

    def state_dict(self) -> dict[str, Any]:
        return {"network": parameter_state(self.network)}

    def load_policy_state(self, state: State) -> None:
        load_parameters(self.network, state["network"], "the policy's state")
