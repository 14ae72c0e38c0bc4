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
from torch import Tensor

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
        self._device = device

    def initial_state(self, num_envs: int) -> ActorState:
        return {MEMORY: np.zeros((num_envs, self._network.state_size), np.float32)}

    def __call__(
        self, observation: Observation, state: ActorState, obs: NDArray[Any] | Tensor | None = None
    ) -> Recalled:
        """obs: the observations (N, *O), if they are on the device already."""
        first = observation.first
        before = np.where(first[:, None], np.float32(0.0), state[MEMORY])
        last = self._last(observation.last_action, observation.last_reward, first) if self._last.size else None
        obs = observation.obs if obs is None else obs
        moved = obs if isinstance(obs, Tensor) else to_tensor(obs, self._device)
        told = None if last is None else to_tensor(last, self._device).unsqueeze(0)
        with torch.inference_mode():
            output, after = self._network.unroll(moved.unsqueeze(0), to_tensor(before, self._device), None, told)
        extras = {MEMORY: before} if last is None else {MEMORY: before, LAST: last}
        return Recalled(output, {MEMORY: after.cpu().numpy()}, extras)

    def observed(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        """The columns of a training step that are known after it: `next_last`, or none."""
        if not self._last.size:
            return {}
        return {NEXT_LAST: self._last(step.action, step.after.last_reward, np.zeros_like(step.before.first))}


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
