"""Acting with a network that has memory: its state from step to step, and what is stored to learn from it.

The state is kept in the actor state "memory", (N, S). The columns that are stored with each step:

    memory     (S,) the state before the step: the one with which its action was chosen, zeros where an episode begins
    last       (P,) last action and last reward, as the network saw them before the step
    next_last  (P,) the same after the step, where the successor is valued

So a sequence can be unrolled again from any of its steps, and each of its outputs is the one of acting as long as the
parameters are those that acted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlkit.agent import Exported
from rlkit.errors import SpecError
from rlkit.nn.config import MemoryConfig
from rlkit.nn.inputs import to_tensor
from rlkit.nn.memory import RecurrentNetwork, last_size, state_size
from rlkit.replay import Column
from rlkit.types import ActorState, Observation, StepBatch

MEMORY, LAST, NEXT_LAST = "memory", "last", "next_last"


def memory_columns(config: MemoryConfig | None, num_actions: int, bodies: int = 1) -> dict[str, Column]:
    """The columns to declare for a network with `bodies` memories; {} for one without."""
    if config is None:
        return {}
    columns = {MEMORY: Column((bodies * state_size(config),), np.float32)}
    size = last_size(config, num_actions)
    return columns | {name: Column((size,), np.float32) for name in (LAST, NEXT_LAST) if size}


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a network answers to observations, and what is kept of it."""

    output: Tensor  # (N, ...)
    state: ActorState
    extras: Mapping[str, NDArray[Any]]  # (N, ...) each, to be stored with the step


class Recall:
    """The forward pass of a network with memory for one step of N environments. It has no state of its own."""

    def __init__(self, network: RecurrentNetwork, num_actions: int, device: torch.device) -> None:
        self._network = network
        self._last = LastInputs(network.config, num_actions)
        self._num_actions = num_actions
        self._device = device

    def initial_state(self, num_envs: int) -> ActorState:
        return {MEMORY: np.zeros((num_envs, self._network.state_size), np.float32)}

    def __call__(
        self, observation: Observation, state: ActorState, obs: NDArray[Any] | Tensor | None = None
    ) -> Recalled:
        """obs: the observations (N, *O), if they are on the device already."""
        before, last = self.before(observation, state)
        obs = observation.obs if obs is None else obs
        moved = obs if isinstance(obs, Tensor) else to_tensor(obs, self._device)
        told = None if last is None else to_tensor(last, self._device).unsqueeze(0)
        with torch.inference_mode():
            output, after = self._network.unroll(moved.unsqueeze(0), to_tensor(before, self._device), None, told)
        extras = {MEMORY: before} if last is None else {MEMORY: before, LAST: last}
        return Recalled(output, {MEMORY: after.cpu().numpy()}, extras)

    def before(
        self, observation: Observation, state: ActorState
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """The network's state (N, S) before the step, and last action and reward (N, P); None if it sees neither."""
        first = observation.first
        before: NDArray[np.float32] = np.where(first[:, None], np.float32(0.0), state[MEMORY])
        last = self._last(observation.last_action, observation.last_reward, first) if self._last.size else None
        return before, last

    def tensors(self, observation: Observation, state: ActorState) -> tuple[Tensor, ...]:
        """What `before` gives, on the network's device."""
        return tuple(to_tensor(part, self._device) for part in self.before(observation, state) if part is not None)

    def exported(self, scores: str, outputs: int | None = None) -> Exported:
        """The network as one step, with its memory as input and output, for export.

        Where an episode begins the inputs are: memory 0, last_action -1, last_reward 0. outputs: the first so many
        outputs are the scores; None: the network's action values.
        """
        config, size = self._network.config, self._network.state_size
        inputs = {MEMORY: torch.zeros(1, size)}
        if config.last_action:
            inputs["last_action"] = torch.full((1,), -1)
        if config.last_reward:
            inputs["last_reward"] = torch.zeros(1)

        def given(observation: Observation, state: ActorState) -> dict[str, NDArray[Any]]:
            first, unknown = observation.first, np.zeros(len(observation.first))
            action = unknown if observation.last_action is None else observation.last_action
            reward = unknown if observation.last_reward is None else observation.last_reward
            known: dict[str, NDArray[Any]] = {
                MEMORY: self.before(observation, state)[0],
                "last_action": np.where(first, -1, action).astype(np.int64),
                "last_reward": np.where(first, 0, reward).astype(np.float32),
            }
            return {name: known[name] for name in inputs}

        module = OneStep(self._network, self._num_actions, outputs)
        return Exported(module, scores, inputs, (f"next_{MEMORY}",), given)

    def observed(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        """The columns of a training step that are known after it: `next_last`, or none."""
        if not self._last.size:
            return {}
        return {NEXT_LAST: self._last(step.action, step.after.last_reward, np.zeros_like(step.before.first))}


class OneStep(nn.Module):
    """Observations (B, *O), memory (B, S), last actions and rewards (B,) if it reads them -> (scores, next memory)."""

    def __init__(self, network: RecurrentNetwork, num_actions: int, outputs: int | None) -> None:
        super().__init__()
        self.network = network
        self._outputs = outputs
        self.numbers: Tensor
        self.register_buffer("numbers", torch.arange(num_actions), persistent=False)

    def forward(self, obs: Tensor, memory: Tensor, *last: Tensor) -> tuple[Tensor, Tensor]:
        config, parts = self.network.config, list(last)
        told = []
        if config.last_action:  # -1 is no action: all zeros
            told.append((parts.pop(0).unsqueeze(1) == self.numbers).to(torch.float32))
        if config.last_reward:
            told.append(parts.pop(0).clamp(-1.0, 1.0).unsqueeze(1))
        joined = torch.cat(told, 1).unsqueeze(0) if told else None
        output, after = self.network.unroll(obs.unsqueeze(0), memory, None, joined)
        return (self.network.values(output) if self._outputs is None else output[:, : self._outputs]), after


class LastInputs:
    """Last action and last reward as inputs of a memory, (N, P) float32; zeros where an episode begins."""

    def __init__(self, config: MemoryConfig, num_actions: int) -> None:
        self.size = last_size(config, num_actions)
        self._config = config
        self._one_hot = np.eye(num_actions, dtype=np.float32)

    def __call__(
        self, action: NDArray[np.int64] | None, reward: NDArray[np.float32] | None, first: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Raises SpecError if one of them is missing although an episode goes on."""
        parts = []
        if self._config.last_action:
            parts.append(self._one_hot[_known("action", action, first)])
        if self._config.last_reward:
            parts.append(_known("reward", reward, first).clip(-1.0, 1.0).astype(np.float32)[:, None])
        values: NDArray[np.float32] = np.where(first[:, None], np.float32(0.0), np.concatenate(parts, 1))
        return values


def _known(name: str, values: NDArray[Any] | None, first: NDArray[np.bool_]) -> NDArray[Any]:
    if values is None:
        if not first.all():
            raise SpecError(
                f"the policy was made with network.memory.last_{name} and needs the last {name} after an "
                f"episode's first step: Observation.last_{name}, or policy(observation, {name}=...) of a loaded policy"
            )
        return np.zeros(len(first), np.int64)
    return values
