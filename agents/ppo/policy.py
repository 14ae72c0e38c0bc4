"""The policy of an actor-critic network: samples actions in training, takes the likeliest in evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlkit.agent import Exported, ScoreFunction
from rlkit.exploration.action_mask import allowed_actions
from rlkit.exploration.adjustment import mask
from rlkit.learning.recall import Recall
from rlkit.learning.softmax import draw
from rlkit.nn.actor_critic import ActorCritic
from rlkit.nn.host import HostNetwork
from rlkit.nn.inputs import to_tensor
from rlkit.nn.memory import RecurrentNetwork
from rlkit.nn.parameters import load_parameters, parameter_state
from rlkit.nn.scores import actor_critic_scores
from rlkit.types import ActorOutput, ActorState, Mode, Observation, State, StepBatch


class _Logits(nn.Module):
    """Maps raw observations (B, *O) to logits (B, A), for export."""

    def __init__(self, network: ActorCritic, num_actions: int) -> None:
        super().__init__()
        self.network = network
        self._num_actions = num_actions

    def forward(self, obs: Tensor) -> Tensor:
        return self.network.forward_with_hooks(obs)[:, : self._num_actions]


class PPOPolicy:
    """Samples from the softmax of the logits; Mode.EVALUATE takes the likeliest action, the lowest of equals.

    Actions that an action mask forbids have probability 0.
    """

    def __init__(self, network: ActorCritic | RecurrentNetwork, num_actions: int, device: torch.device) -> None:
        self.network = network
        self._num_actions = num_actions
        self._device = device
        self._host = None if isinstance(network, RecurrentNetwork) else HostNetwork.of(network)
        self.recall = Recall(network, num_actions, device) if isinstance(network, RecurrentNetwork) else None

    def initial_state(self, num_envs: int) -> ActorState:
        return {} if self.recall is None else self.recall.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output, state, remembered = self._answer(observation, state)  # (N, A + V)
        logits = self._logits(output, observation)
        if mode is Mode.EVALUATE:
            return ActorOutput(logits.argmax(1), state, {})
        action, log_probability = draw(logits, rng.random(len(logits)))
        if mode is Mode.SAMPLE:
            return ActorOutput(action, state, {})
        value = output[:, self._num_actions :].copy()
        return ActorOutput(action, state, {"log_probability": log_probability, "value": value, **remembered})

    def _answer(
        self, observation: Observation, state: ActorState
    ) -> tuple[NDArray[np.float32], ActorState, Mapping[str, NDArray[Any]]]:
        """The network's output (N, A + V), the next state, and what is stored of the memory."""
        if self.recall is None:
            return self._output(observation.obs), {}, {}
        recalled = self.recall(observation, state)
        return recalled.output.cpu().numpy(), recalled.state, recalled.extras

    def observed(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        """What is stored of the memory once a training step is made."""
        return {} if self.recall is None else self.recall.observed(step)

    def action_probabilities(
        self, observation: Observation, state: ActorState
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (N, A) and state values (N,), for display; with `bonus_value` the values of rewards."""
        output, _, _ = self._answer(observation, state)
        logits, value = self._logits(output, observation), output[:, self._num_actions]
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True), value

    def score_functions(self, observation: Observation, state: ActorState) -> Sequence[ScoreFunction]:
        """The logits of the actions, and the state's value; see `HasScores`."""
        memory = () if self.recall is None else self.recall.tensors(observation, state)
        return actor_critic_scores(self.network, to_tensor(observation.obs, self._device), self._num_actions, memory)

    def _logits(self, output: NDArray[np.float32], observation: Observation) -> NDArray[np.float32]:
        """(N, A) the logits of an output (N, A + V), -inf for actions that are not allowed."""
        logits, allowed = output[:, : self._num_actions], allowed_actions(observation)
        return logits if allowed is None else mask(allowed)(logits)

    def _output(self, obs: NDArray[Any]) -> NDArray[np.float32]:
        """(N, A + V)"""
        if self._host is not None and self._host.supports(len(obs)):
            return self._host(obs)
        with torch.inference_mode():
            output: NDArray[np.float32] = self.network(to_tensor(obs, self._device)).cpu().numpy()
        return output

    def exported(self) -> Exported:
        if isinstance(self.network, RecurrentNetwork):
            return Recall(self.network, self._num_actions, self._device).exported("logits", self._num_actions)
        return Exported(_Logits(self.network, self._num_actions), "logits")

    def state_dict(self) -> dict[str, Any]:
        return {"network": parameter_state(self.network)}

    def take(self, state: State) -> None:
        """Takes over what was learned by another policy."""
        load_parameters(self.network, state["network"], "its policy")

    def load_policy_state(self, state: State) -> None:
        load_parameters(self.network, state["network"], "the policy's state")
