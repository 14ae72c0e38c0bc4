"""The smallest agent: a baseline for scores, and the template for agents of your own."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from agents.random.agent import RandomAgent
from agents.random.config import RandomConfig
from agents.random.policy import RandomPolicy
from rlkit.agent import AgentContext
from rlkit.types import EnvSpec

__all__ = ["RandomAgent", "RandomConfig", "RandomPolicy", "plugin"]


class RandomPlugin:
    """How the engine makes a random agent."""

    config = RandomConfig
    respects_action_masks = True

    def policy(self, config: RandomConfig, spec: EnvSpec, device: torch.device) -> RandomPolicy:
        return RandomPolicy(spec.num_actions)

    def agent(self, config: RandomConfig, spec: EnvSpec, context: AgentContext) -> RandomAgent:
        return RandomAgent(RandomPolicy(spec.num_actions))

    def describe(self, config: RandomConfig, spec: EnvSpec, env_steps: int) -> Mapping[str, str]:
        return {"policy": f"uniform over {spec.num_actions} actions; learns nothing"}


plugin = RandomPlugin()
