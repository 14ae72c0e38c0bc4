"""PPO: proximal policy optimisation with generalised advantages. README.md beside this file describes it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import torch

from agents.ppo.agent import PPOAgent
from agents.ppo.config import PPOConfig
from agents.ppo.learner import PPOLearner
from agents.ppo.policy import PPOPolicy
from rlkit.agent import Agent, AgentContext, Pacing, Policy
from rlkit.errors import ConfigError
from rlkit.exploration.action_mask import ACTED, mask_columns
from rlkit.exploration.bonus import bonus_columns
from rlkit.exploration.observed import build_seen_bonus, observing, observing_policy, seen_spec
from rlkit.learning.background import Background
from rlkit.learning.recall import memory_columns
from rlkit.nn.actor_critic import build_actor_critic, describe_actor_critic
from rlkit.nn.modes import refuse_single
from rlkit.nn.structured import describe_inputs, observed
from rlkit.nn.summary import example, summarise
from rlkit.replay import Column, Trajectory, size_text, trajectory_bytes
from rlkit.seeding import torch_seeded
from rlkit.types import EnvSpec, LayerSummary

__all__ = ["PPOAgent", "PPOConfig", "PPOPolicy", "plugin"]


class PPOPlugin:
    """How the engine makes a PPO agent."""

    config = PPOConfig
    pacing: Pacing = "rollouts"
    respects_action_masks = True

    def samples(self, config: PPOConfig) -> bool:
        return True

    def policy(self, config: PPOConfig, spec: EnvSpec, device: torch.device) -> Policy:
        return observing_policy(_policy(config, seen_spec(config.bonus, spec), device, 0), config.bonus, spec)

    def agent(self, config: PPOConfig, spec: EnvSpec, context: AgentContext) -> Agent:
        seen = seen_spec(config.bonus, spec)
        parts = _minibatches(config, spec)
        streams, device = context.streams, context.device
        length = config.length(spec.num_envs)
        trajectory = Trajectory(length, seen, extras=_columns(config, seen), device=device)
        steps = length * spec.num_envs
        bonus = build_seen_bonus(config.bonus, spec, streams.child("bonus"), trajectory, steps)
        policy = _policy(config, seen, device, streams.seed("network"))
        refuse_single(policy.network, steps // parts)
        network = deepcopy(policy.network) if config.overlap else policy.network
        learner = PPOLearner(config, network, parts, streams.generator("minibatches"))
        background = Background(policy.network, network) if config.overlap else None
        agent = PPOAgent(config, policy, learner, trajectory, bonus, background)
        return observing(agent, config.bonus, spec)

    def describe(self, config: PPOConfig, spec: EnvSpec, env_steps: int) -> Mapping[str, str]:
        parts, steps = _minibatches(config, spec), config.length(spec.num_envs) * spec.num_envs
        seen = seen_spec(config.bonus, spec)
        network = _policy(config, seen, torch.device("cpu"), 0).network
        bonus = {}
        if config.bonus is not None:
            config.bonus.validate_for(spec, steps)
            bonus = {"bonus": config.bonus.summary()}
        size = size_text(trajectory_bytes(steps // spec.num_envs, seen, _columns(config, seen)))
        return {
            "input": describe_inputs(observed(seen), config.network, steps),
            "network": describe_actor_critic(network, spec.num_actions, config.num_values),
            "rollout": f"{steps // spec.num_envs:,} steps of {spec.num_envs} environments, {size}",
            **bonus,
            "updates": config.updates_text(spec.num_envs, env_steps, parts, memory=config.network.memory is not None),
        }

    def networks(self, config: PPOConfig, spec: EnvSpec) -> Mapping[str, list[LayerSummary]]:
        seen = seen_spec(config.bonus, spec)
        network = _policy(config, seen, torch.device("cpu"), 0).network
        layers = summarise(network, *example(network, seen.observation_space))
        return {"policy and value": layers}


def _policy(config: PPOConfig, spec: EnvSpec, device: torch.device, seed: int) -> PPOPolicy:
    with torch_seeded(seed):
        network = build_actor_critic(
            config.network,
            observed(spec),
            spec.num_actions,
            config.num_values,
            separate=config.separate_networks,
            orthogonal=config.initialisation == "orthogonal",
        )
    return PPOPolicy(network.to(device), spec.num_actions, device)


def _columns(config: PPOConfig, spec: EnvSpec) -> dict[str, Column]:
    """The columns of a trajectory: what acting computes, and those of memory, bonus and action mask."""
    acted = {"log_probability": Column((), np.float32), "value": Column((config.num_values,), np.float32)}
    remembered = memory_columns(config.network.memory, spec.num_actions, 1 + config.separate_networks)
    return {**acted, **remembered, **bonus_columns(config.bonus), **mask_columns(spec, ACTED)}


def _minibatches(config: PPOConfig, spec: EnvSpec) -> int:
    """The number of minibatches of an epoch. Raises ConfigError for a config that PPO cannot learn with."""
    if config.bonus is not None and config.bonus.build_actor(spec) is not None:
        raise ConfigError("bonus: optimism adjusts action values, which PPO does not learn; leave out bonus.optimism")
    return config.parts(spec.num_envs)


plugin = PPOPlugin()
