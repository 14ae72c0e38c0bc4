"""PQN: Q(lambda) from rollouts, without a replay and a target network. README.md beside this file describes it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from agents.pqn.agent import PQNAgent
from agents.pqn.config import PQNConfig
from agents.pqn.learner import PQNLearner
from rlkit.agent import Agent, AgentContext, Pacing, Policy
from rlkit.exploration.action_mask import mask_columns
from rlkit.exploration.bonus import bonus_columns, build_actor
from rlkit.exploration.observed import build_seen_bonus, observing, observing_policy, seen_spec
from rlkit.exploration.protocol import Actor
from rlkit.exploration.q_policy import QPolicy
from rlkit.learning.recall import memory_columns
from rlkit.learning.softmax import build_softmax
from rlkit.nn.modes import refuse_single
from rlkit.nn.qnetwork import build_value_network, describe_network
from rlkit.nn.structured import describe_inputs, observed
from rlkit.nn.summary import example, summarise
from rlkit.replay import Column, Trajectory, size_text, trajectory_bytes
from rlkit.seeding import torch_seeded
from rlkit.types import EnvSpec, LayerSummary

__all__ = ["PQNAgent", "PQNConfig", "plugin"]


class PQNPlugin:
    """How the engine makes a PQN agent."""

    config = PQNConfig
    pacing: Pacing = "rollouts"
    respects_action_masks = True

    def samples(self, config: PQNConfig) -> bool:
        return config.softmax is not None

    def policy(self, config: PQNConfig, spec: EnvSpec, device: torch.device) -> Policy:
        seen, actor = seen_spec(config.bonus, spec), build_actor(config.bonus, spec)
        return observing_policy(_policy(config, seen, device, 0, actor), config.bonus, spec)

    def agent(self, config: PQNConfig, spec: EnvSpec, context: AgentContext) -> Agent:
        seen = seen_spec(config.bonus, spec)
        parts = config.parts(spec.num_envs)
        streams, device = context.streams, context.device
        length = config.length(spec.num_envs)
        trajectory = Trajectory(length, seen, extras=_columns(config, spec), device=device)
        steps = length * spec.num_envs
        bonus = build_seen_bonus(config.bonus, spec, streams.child("bonus"), trajectory, steps)
        policy = _policy(config, seen, device, streams.seed("network"), bonus.actor)
        refuse_single(policy.network, steps // parts)
        learner = PQNLearner(config, policy.network, policy.softmax, parts, streams.generator("minibatches"))
        return observing(PQNAgent(config, policy, learner, trajectory, bonus), config.bonus, spec)

    def describe(self, config: PQNConfig, spec: EnvSpec, env_steps: int) -> Mapping[str, str]:
        parts, steps = config.parts(spec.num_envs), config.length(spec.num_envs) * spec.num_envs
        seen = seen_spec(config.bonus, spec)
        network = _policy(config, seen, torch.device("cpu"), 0, None).network
        bonus = {}
        if config.bonus is not None:
            config.bonus.validate_for(spec, steps)
            bonus = {"bonus": config.bonus.summary()}
        size = size_text(trajectory_bytes(steps // spec.num_envs, seen, _columns(config, spec)))
        return {
            "input": describe_inputs(observed(seen), config.network, steps),
            "network": describe_network(network, spec.num_actions),
            "rollout": f"{steps // spec.num_envs:,} steps of {spec.num_envs} environments, {size}",
            **bonus,
            "updates": config.updates_text(spec.num_envs, env_steps, parts, memory=config.network.memory is not None),
        }

    def networks(self, config: PQNConfig, spec: EnvSpec) -> Mapping[str, list[LayerSummary]]:
        seen = seen_spec(config.bonus, spec)
        network = _policy(config, seen, torch.device("cpu"), 0, None).network
        return {"Q-network": summarise(network, *example(network, seen.observation_space))}


def _policy(config: PQNConfig, spec: EnvSpec, device: torch.device, seed: int, actor: Actor | None) -> QPolicy:
    with torch_seeded(seed):
        network = build_value_network(config.network.plain(), observed(spec), spec.num_actions)
    softmax = build_softmax(config.softmax, device)
    return QPolicy(network.to(device), spec.num_actions, device, actor, softmax, tells_values=True)


def _columns(config: PQNConfig, spec: EnvSpec) -> dict[str, Column]:
    """What is stored with each step: the action values when acting, and the columns of memory, bonus and mask."""
    remembered = memory_columns(config.network.memory, spec.num_actions)
    own = {"values": Column((spec.num_actions,), np.float32), **remembered}
    return {**own, **bonus_columns(config.bonus), **mask_columns(spec)}


plugin = PQNPlugin()
