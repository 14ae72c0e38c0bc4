"""h-DQN: goals chosen by one Q-network and pursued by another. README.md beside this file describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch

from agents.hdqn.agent import HDQNAgent, Level
from agents.hdqn.config import HDQNConfig
from agents.hdqn.network import controller_network, meta_network
from agents.hdqn.options import OptionRules
from agents.hdqn.policy import HDQNPolicy
from rlkit.agent import AgentContext
from rlkit.errors import ConfigError
from rlkit.exploration.action_mask import mask_columns
from rlkit.exploration.bonus import bonus_columns, build_actor, build_bonus
from rlkit.exploration.protocol import Actor, Bonus
from rlkit.goals import build_goals
from rlkit.learning.q_learner import QLearner
from rlkit.nn.modes import refuse_single
from rlkit.nn.qnetwork import QNetwork, describe_network
from rlkit.nn.structured import describe_inputs, observed
from rlkit.nn.summary import summarise
from rlkit.pacing import Ratio
from rlkit.replay import (
    Column,
    Hindsight,
    OptionStore,
    Replay,
    option_bytes,
    placed,
    replay_bytes,
    require_capacity,
    require_memory,
    size_text,
)
from rlkit.seeding import Streams, torch_seeded
from rlkit.types import EnvSpec, LayerSummary

__all__ = ["HDQNAgent", "HDQNConfig", "HDQNPolicy", "plugin"]


class HDQNPlugin:
    """How the engine makes an h-DQN."""

    config = HDQNConfig
    respects_action_masks = True

    def policy(self, config: HDQNConfig, spec: EnvSpec, device: torch.device) -> HDQNPolicy:
        return _policy(config, spec, device, (0, 0), build_actor(config.controller.bonus, spec))

    def agent(self, config: HDQNConfig, spec: EnvSpec, context: AgentContext) -> HDQNAgent:
        streams, device = context.streams, context.device
        count = len(build_goals(config.goals, spec).names)
        extras, columns = _extras(config, spec, count), _columns(config, count)
        _require_room(config, spec, extras, columns, device)
        replay = Replay(
            config.controller.replay_capacity,
            spec,
            steps=config.controller.n_step,
            extras=extras,
            device=device,
            rng=streams.generator("replay"),
            hindsight=_hindsight(config),
        )
        store = OptionStore(config.meta.capacity, spec, extras=columns, device=device, rng=streams.generator("options"))
        starts = config.controller.learning_starts
        meta_bonus = _meta_bonus(config, spec, streams)
        bonus = build_bonus(config.controller.bonus, spec, streams.child("bonus"), replay, starts)
        seeds = streams.seed("meta network"), streams.seed("network")
        policy = _policy(config, spec, device, seeds, bonus.actor)
        rngs = streams.torch_generator("loss", device), streams.torch_generator("meta loss", device)
        controller = Level(QLearner(policy.controller, config.controller.learner(), rngs[0]), bonus)
        meta = Level(QLearner(policy.meta, config.meta.learner(), rngs[1]), meta_bonus)
        rng = streams.generator("hindsight")
        return HDQNAgent(config, spec.num_envs, policy, controller, meta, replay, store, rng, device)

    def describe(self, config: HDQNConfig, spec: EnvSpec, env_steps: int) -> Mapping[str, str]:
        policy = _policy(config, spec, torch.device("cpu"), (0, 0), None)
        names = policy.goals.names
        extras, columns = _extras(config, spec, len(names)), _columns(config, len(names))
        require_capacity(config.controller.replay_capacity, spec, config.controller.n_step)
        size = replay_bytes(config.controller.replay_capacity, spec, extras, hindsight=_hindsight(config))
        options = _option_bytes(config, spec, columns)
        bonuses = {}
        starts = config.controller.learning_starts
        if config.controller.bonus is not None:
            config.controller.bonus.validate_for(spec, starts)
            bonuses["controller's bonus"] = config.controller.bonus.summary()
        if config.meta.bonus is not None:
            _meta_bonus(config, spec, Streams(0))
            bonuses["meta's bonus"] = config.meta.bonus.summary()
        updates = Ratio(config.controller.updates_per_step, starts).total(env_steps)
        inputs = [describe_inputs(observed(spec), level.network, starts) for level in (config.meta, config.controller)]
        return {
            "input": inputs[0] if len(set(inputs)) == 1 else f"meta-controller: {inputs[0]}; controller: {inputs[1]}",
            "goals": f"{len(names)}: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}",
            "meta-controller": describe_network(policy.meta, len(names)),
            "controller": describe_network(cast(QNetwork, policy.controller), spec.num_actions),
            "replay": f"{config.controller.replay_capacity:,} steps, {size_text(size)}",
            "options": f"{config.meta.capacity:,} observations, {size_text(options)}",
            **bonuses,
            "updates": f"{updates:,} of {config.controller.batch_size} windows; and "
            f"{config.meta.updates_per_option:g} of {config.meta.batch_size} options for each option",
        }

    def networks(self, config: HDQNConfig, spec: EnvSpec) -> Mapping[str, list[LayerSummary]]:
        policy = _policy(config, spec, torch.device("cpu"), (0, 0), None)
        obs = torch.as_tensor(np.asarray(spec.observation_space.sample()))[None]
        goal = torch.zeros(1, dtype=torch.int64)
        return {"meta-controller": summarise(policy.meta, obs), "controller": summarise(policy.controller, obs, goal)}


def _policy(
    config: HDQNConfig, spec: EnvSpec, device: torch.device, seeds: tuple[int, int], actor: Actor | None
) -> HDQNPolicy:
    goals = build_goals(config.goals, spec)
    with torch_seeded(seeds[0]):
        meta = meta_network(config.meta.network, spec, goals).to(device)
    with torch_seeded(seeds[1]):
        controller = controller_network(config.controller.network, spec, goals).to(device)
    refuse_single(meta, config.meta.batch_size)
    refuse_single(controller, config.controller.batch_size)
    rules = OptionRules(config.max_option_steps, config.repeat_goals)
    return HDQNPolicy(meta, controller, goals, rules, spec.num_actions, device, actor)


def _meta_bonus(config: HDQNConfig, spec: EnvSpec, streams: Streams) -> Bonus:
    """Built without warm-up and replay, so that a hash that has to be fitted is refused."""
    try:
        return build_bonus(config.meta.bonus, spec, streams.child("meta bonus"), None, 0)
    except ConfigError as error:
        raise ConfigError(
            f"agent.meta.bonus: options keep the codes they were stored with, so codes must not change: {error}"
        ) from error


def _extras(config: HDQNConfig, spec: EnvSpec, goals: int) -> dict[str, Column]:
    """The controller's columns: goals, achieved ones after each step and before it, those of bonus and action mask."""
    before = {"achieved_before": Column((goals,), np.bool_, host=True)} if config.controller.hindsight else {}
    goal, achieved = Column((), np.int64, host=True), Column((goals,), np.bool_)
    own = {"goal": goal, "achieved": achieved, **before}
    return {**own, **bonus_columns(config.controller.bonus), **mask_columns(spec)}


def _columns(config: HDQNConfig, goals: int) -> dict[str, Column]:
    """The meta-controller's columns: which goals may follow an option."""
    return {"allowed": Column((goals,), np.bool_, host=True), **bonus_columns(config.meta.bonus)}


def _hindsight(config: HDQNConfig) -> Hindsight | None:
    hindsight = config.controller.hindsight
    return Hindsight("achieved", hindsight.which) if hindsight else None


def _option_bytes(config: HDQNConfig, spec: EnvSpec, columns: Mapping[str, Column]) -> int:
    """Bytes of the store of options. Raises ConfigError if its capacity is too small."""
    try:
        return option_bytes(config.meta.capacity, spec, columns)
    except ConfigError as error:
        raise ConfigError(f"agent.meta.capacity: {error}") from error


def _require_room(
    config: HDQNConfig, spec: EnvSpec, extras: Mapping[str, Column], columns: Mapping[str, Column], device: torch.device
) -> None:
    """Raises CapacityError unless both replays fit into memory, together if they are on the same device."""
    options = _option_bytes(config, spec, columns)
    steps = replay_bytes(config.controller.replay_capacity, spec, extras, hindsight=_hindsight(config))
    host, where = torch.device("cpu"), placed(steps, device)
    what = "the controller's replay (agent.controller.replay_capacity)"
    require_memory(options, "the store of options (agent.meta.capacity)", host, config.meta.capacity)
    if where == host:
        require_memory(steps + options, f"{what} with the store of options", host)
    else:
        require_memory(steps, what, where, config.controller.replay_capacity)


plugin = HDQNPlugin()
