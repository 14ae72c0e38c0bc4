"""What an agent is: the protocols that the trainer, the evaluation and the plug-in registry know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch

from rlkit.config.model import PluginConfig
from rlkit.seeding import Streams
from rlkit.types import ActorOutput, ActorState, EnvSpec, LayerSummary, Metrics, Mode, Observation, State, StepBatch

C = TypeVar("C", bound=PluginConfig)


class Policy(Protocol):
    """Enough to evaluate, play and export: no replay, no optimizer."""

    def initial_state(self, num_envs: int) -> ActorState:
        """The actor state before the first act, (num_envs, ...) each; {} where the policy has no memory."""

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        """Actions for all N environments. Pure but for `rng`: the policy itself does not change."""

    def load_policy_state(self, state: State) -> None:
        """Loads the subtree "policy" of an agent's state_dict. Raises ConfigError where it does not fit."""


class Agent(Policy, Protocol):
    """A policy that learns."""

    @property
    def updates(self) -> int:
        """Gradient updates so far."""

    def observe(self, step: StepBatch) -> None:
        """Takes in one training step of all environments; called once for each, in order."""

    def learn(self) -> Metrics:
        """Makes as many updates as are owed for the steps observed so far, perhaps none, and says how they went."""

    def gauges(self) -> Metrics:
        """Readings of the moment (epsilon, replay fill); asked for only when metrics are written."""

    def state_dict(self) -> State:
        """Everything that influences the future; "policy" is what a Policy needs. May share memory with the agent."""

    def load_state_dict(self, state: State) -> None:
        """Takes over a state_dict of an agent of the same config and spec. Raises ConfigError where it does not fit."""


@dataclass(frozen=True, slots=True)
class AgentContext:
    """What the engine gives an agent besides its config and the environment's spec."""

    streams: Streams  # named random streams; draw from them in the constructor, keep generators in the state
    device: torch.device


class AgentPlugin(Protocol[C]):
    """How an agent plugs in: name it in the entry-point group ``rlkit.agents`` or as "package.module:attr"."""

    config: type[C]

    def policy(self, config: C, spec: EnvSpec, device: torch.device) -> Policy:
        """A policy with arbitrary parameters; `load_policy_state` follows."""

    def agent(self, config: C, spec: EnvSpec, context: AgentContext) -> Agent:
        """A fresh agent. Raises SpecError where the spec does not suit, CapacityError where memory does not suffice."""

    def describe(self, config: C, spec: EnvSpec, env_steps: int) -> Mapping[str, str]:
        """What `rlkit check` prints for a run of `env_steps`: network, replay's memory, updates; makes no replay."""


@runtime_checkable
class HasNetworks(Protocol):
    """An agent's plug-in, besides, where the agent has networks to show."""

    def networks(self, config: PluginConfig, spec: EnvSpec) -> Mapping[str, list[LayerSummary]]:
        """Each network by its name, layer by layer, for `rlkit describe`. Raises as `AgentPlugin.agent` does."""
