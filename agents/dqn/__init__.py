"""DQN and its refinements: double, dueling, n-step, prioritised. README.md beside this file describes them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from agents.dqn.agent import DQNAgent
from agents.dqn.config import DQNConfig
from agents.dqn.monte_carlo import return_columns
from rlkit.agent import Agent, AgentContext, Policy
from rlkit.exploration.action_mask import mask_columns
from rlkit.exploration.bonus import bonus_columns, build_actor
from rlkit.exploration.observed import build_seen_bonus, observing, observing_policy, seen_spec
from rlkit.exploration.protocol import Actor
from rlkit.exploration.q_policy import QPolicy
from rlkit.learning.q_learner import QLearner
from rlkit.learning.recall import memory_columns
from rlkit.learning.softmax import build_softmax
from rlkit.nn.modes import refuse_single
from rlkit.nn.qnetwork import build_value_network, describe_network
from rlkit.nn.structured import describe_inputs, observed
from rlkit.nn.summary import example, summarise
from rlkit.pacing import Ratio
from rlkit.replay import Column, Prioritised, Replay, placed, replay_bytes, require_capacity, require_memory, size_text
from rlkit.seeding import torch_seeded
from rlkit.types import EnvSpec, LayerSummary

__all__ = ["DQNAgent", "DQNConfig", "plugin"]


class DQNPlugin:
    """How the engine makes a DQN."""

    config = DQNConfig
    respects_action_masks = True

    def samples(self, config: DQNConfig) -> bool:
        return config.softmax is not None

    def policy(self, config: DQNConfig, spec: EnvSpec, device: torch.device) -> Policy:
        seen, actor = seen_spec(config.bonus, spec), build_actor(config.bonus, spec)
        return observing_policy(_policy(config, seen, device, 0, actor), config.bonus, spec)

    def agent(self, config: DQNConfig, spec: EnvSpec, context: AgentContext) -> Agent:
        seen = seen_spec(config.bonus, spec)
        priorities = _priorities(config)
        extras = _columns(config, spec)
        size = replay_bytes(config.replay_capacity, seen, extras, priorities)
        require_memory(size, "the replay (agent.replay_capacity)", placed(size, context.device), config.replay_capacity)
        replay = Replay(
            config.replay_capacity,
            seen,
            steps=config.n_step,
            extras=extras,
            device=context.device,
            rng=context.streams.generator("replay"),
            prioritised=priorities,
        )
        bonus = build_seen_bonus(config.bonus, spec, context.streams.child("bonus"), replay, config.learning_starts)
        policy = _policy(config, seen, context.device, context.streams.seed("network"), bonus.actor)
        learner = QLearner(
            policy.network, config.learner(policy.softmax), context.streams.torch_generator("loss", context.device)
        )
        return observing(DQNAgent(config, policy, learner, replay, bonus), config.bonus, spec)

    def describe(self, config: DQNConfig, spec: EnvSpec, env_steps: int) -> Mapping[str, str]:
        seen = seen_spec(config.bonus, spec)
        network = _policy(config, seen, torch.device("cpu"), 0, None).network
        require_capacity(config.replay_capacity, seen, config.n_step)
        extras = _columns(config, spec)
        size = replay_bytes(config.replay_capacity, seen, extras, _priorities(config))
        bonus = {}
        if config.bonus is not None:
            config.bonus.validate_for(spec, config.learning_starts)
            bonus = {"bonus": config.bonus.summary()}
        updates = Ratio(config.updates_per_step, config.learning_starts).total(env_steps)
        return {
            "input": describe_inputs(observed(seen), config.network, config.learning_starts),
            "network": describe_network(network, spec.num_actions),
            "replay": f"{config.replay_capacity:,} steps, {size_text(size)}",
            **bonus,
            "updates": f"{updates:,} of {config.batch_size} {_samples(config)}, "
            f"{config.updates_per_step:g} a step after the first {config.learning_starts:,}",
        }

    def networks(self, config: DQNConfig, spec: EnvSpec) -> Mapping[str, list[LayerSummary]]:
        seen = seen_spec(config.bonus, spec)
        network = _policy(config, seen, torch.device("cpu"), 0, None).network
        return {"Q-network": summarise(network, *example(network, seen.observation_space))}


def _policy(config: DQNConfig, spec: EnvSpec, device: torch.device, seed: int, actor: Actor | None) -> QPolicy:
    with torch_seeded(seed):
        network = build_value_network(config.network, observed(spec), spec.num_actions)
    refuse_single(network, config.batch_size)
    softmax = build_softmax(config.softmax, device)
    return QPolicy(network.to(device), spec.num_actions, device, actor, softmax)


def _samples(config: DQNConfig) -> str:
    burn_in, steps = config.sequence
    return "windows" if config.network.memory is None else f"sequences of {steps} steps after {burn_in} of burn-in"


def _columns(config: DQNConfig, spec: EnvSpec) -> dict[str, Column]:
    """What is stored with each step for bonus, action mask, Monte Carlo returns and memory."""
    remembered = memory_columns(config.network.memory, spec.num_actions)
    return {**bonus_columns(config.bonus), **mask_columns(spec), **return_columns(config.monte_carlo), **remembered}


def _priorities(config: DQNConfig) -> Prioritised | None:
    return Prioritised(config.prioritised.alpha, config.prioritised.eps) if config.prioritised else None


plugin = DQNPlugin()
