"""A small agent with every kind of state that keeps the contract; faults are planted into copies of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rlkit.agent import AgentContext
from rlkit.config.model import PluginConfig
from rlkit.pacing import Ratio
from rlkit.seeding import Streams
from rlkit.types import ActorOutput, ActorState, EnvSpec, Metrics, Mode, Observation, State, StepBatch


class NoiseAgent:
    """Adds noise and rewards to a weight that it acts by; small, but with every kind of state."""

    def __init__(self, spec: EnvSpec, context: AgentContext) -> None:
        self.actions = spec.num_actions
        self.rng = context.streams.generator("noise")
        self.weight = torch.zeros(2)
        self.rewards = np.zeros(1)
        self.env_steps = 0
        self.updates = 0

    def initial_state(self, num_envs: int) -> ActorState:
        return {"age": np.zeros(num_envs, np.int64)}

    def greedy(self, observation: Observation) -> np.ndarray:
        return (observation.obs[:, 2] * 10 + self.weight[0].item() > 0).astype(np.int64)

    def epsilon(self) -> float:
        return 0.5

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        age = np.where(observation.first, 0, state["age"] + 1)
        action = self.greedy(observation)
        if mode is Mode.EXPLORE:
            coin = rng.random(len(age)) < self.epsilon()
            action = np.where(coin, rng.integers(self.actions, size=len(age)), action)
        return ActorOutput(action, {"age": age}, {"age": age.copy()})

    def observe(self, step: StepBatch) -> None:
        self.rewards += step.reward.sum()
        self.env_steps += len(step.action)

    def owed(self) -> int:
        return Ratio(0.5, 10).total(self.env_steps) - self.updates

    def update(self) -> None:
        self.weight = self.weight + torch.tensor([self.rng.normal(), self.rewards[0]])
        self.updates += 1

    def learn(self) -> Metrics:
        for _ in range(self.owed()):
            self.update()
        return {"noise/weight": self.weight[0]}

    def gauges(self) -> Metrics:
        return {"noise/steps": float(self.env_steps)}

    def state_dict(self) -> dict[str, Any]:
        return {
            "policy": {"weight": self.weight},
            "rng": self.rng.bit_generator.state,
            "rewards": self.rewards,
            "env_steps": self.env_steps,
            "updates": self.updates,
        }

    def load_state_dict(self, state: State) -> None:
        self.load_policy_state(state["policy"])
        self.rng.bit_generator.state = state["rng"]
        self.rewards = state["rewards"].copy()
        self.env_steps, self.updates = state["env_steps"], state["updates"]

    def load_policy_state(self, state: State) -> None:
        self.weight = state["weight"].clone()


class NoisePlugin:
    config = PluginConfig

    def __init__(self, kind: type[NoiseAgent] = NoiseAgent) -> None:
        self.kind = kind

    def policy(self, config: PluginConfig, spec: EnvSpec, device: torch.device) -> NoiseAgent:
        return self.kind(spec, AgentContext(Streams(0), device))

    def agent(self, config: PluginConfig, spec: EnvSpec, context: AgentContext) -> NoiseAgent:
        return self.kind(spec, context)

    def describe(self, config: PluginConfig, spec: EnvSpec, env_steps: int) -> Mapping[str, str]:
        return {"policy": "noise"}
