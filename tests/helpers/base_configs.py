"""Base configs of every agent, small enough that an agent lives through forty steps in a twentieth of a second.

Between them every table stands in some config, beside the keys that it needs to make a difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import BaseModel

from agents import dqn, hdqn, ppo, pqn, random
from helpers.line_world import Line, line_spec, live
from rlkit.agent import AgentContext, AgentPlugin
from rlkit.seeding import Streams
from rlkit.testing.states import state_hash
from rlkit.types import EnvSpec

WORLD = "helpers.line_world"
TURNS = 16  # of two environments

BYTES = ({"byte": 0, "min": 0, "size": 2}, {"byte": 1, "min": 3, "size": 20})
LEARNED = {
    "side": 9,
    "codes": 16,
    "levels": 4,
    "penalty": 2.0,
    "batch_size": 4,
    "updates_per_step": 0.3,
    "learning_rate": 0.005,
}
BONUSES: dict[str, tuple[str, dict[str, Any]]] = {
    "counting": (
        "vector",
        {
            "count_of": "successor",
            "beta": 0.4,
            "hash": {"type": "simhash", "bits": 4},
            "counts": {"type": "sketch", "primes": (3, 5)},
            "optimism": {"scale": 0.7},
        },
    ),
    "inserted": ("number", {"timing": "insert", "counts": {"type": "sketch", "primes": (3, 5)}}),
    "pixels": ("image", {"features": {"type": "pixels", "side": 5}, "hash": {"type": "simhash", "bits": 6}}),
    "bass": ("image", {"features": {"type": "bass", "cell": 3, "bins": 8}}),
    "bytes": ("number", {"features": {"type": "bytes", "bytes": BYTES, "source": "memory"}}),
    "episodic": (
        "number",
        {
            "beta": 0.4,
            "count_of": "successor",
            "episodic": "first",
            "anneal": {"steps": 50, "end": 0.1},
            "counts": {"primes": (3, 5)},  # of the sketch that a limit leads to
        },
    ),
    "noveld": (
        "image",
        {
            "beta": 0.4,
            "count_of": "successor",
            "lifelong": "noveld",
            "alpha": 0.3,
            "episodic": "count",
            "features": {"type": "pixels", "side": 5},
            "episodic_codes": {
                "features": {"type": "pixels", "side": 5},
                "hash": {"type": "simhash", "bits": 6, "bias": True},
            },
        },
    ),
    "rnd": (
        "vector",
        {
            "type": "rnd",
            "beta": 0.4,
            "discount": 0.9,
            "outputs": 5,
            "batch_size": 4,
            "share": 0.7,
            "learning_rate": 0.05,
            "hidden": (4,),
        },
    ),
    "pseudo_count": (
        "image",
        {
            "type": "pseudo_count",
            "beta": 0.4,
            "gain": 2.0,
            "side": 5,
            "levels": 4,
            "features": 3,
            "layers": 2,
            "learning_rate": 0.01,
        },
    ),
    "paid": ("vector", {"beta": 0.4, "deviation": 0.3, "until": {"success": 0.3, "episodes": 3}}),
    "function": ("vector", {"features": {"type": "function", "function": f"{WORLD}:tenths"}}),
}
OBSERVED = {"beta": 0.4, "count_of": "successor", "episodic": "first", "observe_counts": {"capacity": 30}}
"""Counts as an input: of agents that observe them."""

LEARNING = {
    "learned": {**LEARNED, "refit_every": 6, "network": {"normalisation": "batch"}},
    "learned by weight": {
        **LEARNED,
        "refit_every": 6,
        "network": {"normalisation": "weight", "weight_norm": {"initial_batch": 6}},
    },
}
"""Codes that are learned: beside an agent with a replay of frames."""

IMPALA = {"encoder": "impala", "width": 0.125, "hidden": (6,), "input": "pixels", "normalisation": "group", "groups": 2}
WEIGHT = {"hidden": (6, 6), "normalisation": "weight", "weight_norm": {"initial_batch": 6}}
REMEMBERING = {"hidden": (6,), "memory": {"size": 4, "horizon": 9, "last_action": True, "last_reward": True}}
LEVEL = {
    "learning_rate": 0.05,
    "batch_size": 4,
    "max_grad_norm": 0.1,
    "network": {"hidden": (8,)},
    "target": {"every": 3},
}
AVERAGED = {"target": {"every": 1, "tau": 0.2}}
EPSILON = {"start": 0.8, "end": 0.1, "steps": 20}
SHALLOW = {"image": {"input": "pixels", "hidden": (4,)}, "vector": {"hidden": (8,)}, "number": {"hidden": ()}}


@dataclass
class Base:
    """A config, and the environments that it is for."""

    plugin: AgentPlugin[Any]
    spec: EnvSpec
    config: BaseModel
    traces: dict[int, str] = field(default_factory=dict)  # of its own config, by seed

    def trace(self, config: BaseModel, seed: int) -> str:
        """A hash of what an agent with this config did in some steps, and learned. Raises what refuses it.

        Of the agent's state its networks alone: counters, statistics and what is stored for learning change with keys
        that nothing is learned from.
        """
        agent = self.plugin.agent(config, self.spec, AgentContext(Streams(seed), torch.device("cpu")))
        actions, metrics = live(agent, Line(self.spec), TURNS, seed)
        policy = agent.state_dict()["policy"]
        networks = {name: part for name, part in policy.items() if name in ("network", "meta", "controller")}
        return state_hash({"networks": networks, "actions": actions, "metrics": sorted(metrics)})

    def unchanged(self, seed: int) -> str:
        """The same of its own config."""
        if seed not in self.traces:
            self.traces[seed] = self.trace(self.config, seed)
        return self.traces[seed]


def dqn_base(shown: str = "vector", **changes: Any) -> Base:
    """DQN, with n-step returns beyond 1, so that everything that limits them does."""
    values = {**LEVEL, "learning_starts": 8, "replay_capacity": 34, "updates_per_step": 0.3, "n_step": 3}
    values |= {"network": SHALLOW[shown], "epsilon": EPSILON, "reward_clip": 2.0}
    return Base(dqn.plugin, line_spec(shown), dqn.DQNConfig(name="dqn", **(values | changes)))


def ppo_base(shown: str = "vector", **changes: Any) -> Base:
    """PPO, with updates large enough that ratios and values are clipped."""
    values = {"rollout_steps": 5, "learning_rate": 0.05, "minibatches": 2, "epochs": 3, "reward_clip": 2.0}
    values |= {"max_grad_norm": 0.1, "network": SHALLOW[shown], "value_clip": 0.1}
    return Base(ppo.plugin, line_spec(shown), ppo.PPOConfig(name="ppo", **(values | changes)))


def pqn_base(shown: str = "vector", **changes: Any) -> Base:
    """PQN, with rollouts long enough that lambda makes a difference."""
    values = {"rollout_steps": 5, "learning_rate": 0.05, "minibatches": 2, "epochs": 3, "reward_clip": 2.0}
    network = {"normalisation": "none"} if shown == "number" else {}
    values |= {"max_grad_norm": 0.1, "network": {**network, **SHALLOW[shown]}, "epsilon": EPSILON}
    return Base(pqn.plugin, line_spec(shown), pqn.PQNConfig(name="pqn", **(values | changes)))


def hdqn_base(
    shown: str = "vector", num_envs: int = 2, controller: Any = None, meta: Any = None, **changes: Any
) -> Base:
    network = SHALLOW[shown]
    tables = {
        "controller": {
            **LEVEL,
            "learning_starts": 8,
            "replay_capacity": 34,
            "updates_per_step": 0.3,
            "n_step": 3,
            "network": network,
            "epsilon": EPSILON,
            "reward": {"step_cost": 0.2, "death": 1.5},
            **(controller or {}),
        },
        "meta": {
            **LEVEL,
            "learning_starts": 2,
            "capacity": 30,
            "network": network,
            "epsilon": EPSILON,
            "updates_per_option": 0.5,
            **(meta or {}),
        },
    }
    values = {"goals": {"name": f"{WORLD}:Places"}, "max_option_steps": 3, **tables, **changes}
    return Base(hdqn.plugin, line_spec(shown, num_envs), hdqn.HDQNConfig(name="hdqn", **values))


def bonus_bases() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, what is shown, and the table `bonus`."""
    for name, (shown, bonus) in BONUSES.items():
        yield name, shown, bonus
    for name, features in LEARNING.items():
        yield name, "image", {"features": {"type": "learned", **features}, "hash": {"type": "simhash"}}


BASES: dict[str, dict[str, Base]] = {
    "random": {"plain": Base(random.plugin, line_spec("vector"), random.RandomConfig(name="random"))},
    "dqn": {
        "plain": dqn_base(prioritised={"beta_updates": 12}),
        "averaged": dqn_base(**AVERAGED, optimizer={"type": "rmsprop"}),
        "soft": dqn_base(softmax={}, optimizer={"type": "radam"}),
        "weight": dqn_base(network=WEIGHT),
        "memory": dqn_base(network=REMEMBERING, sequence_steps=4, burn_in_steps=1),
        "whole memory": dqn_base(network=REMEMBERING),
        "impala": dqn_base("image", network=IMPALA, updates_per_step=0.1),
        **{name: dqn_base(shown, bonus=bonus) for name, shown, bonus in bonus_bases()},
        "returns": dqn_base(monte_carlo=0.4),
        "observed": dqn_base("number", bonus=OBSERVED),
    },
    "ppo": {
        "plain": ppo_base(anneal={"steps": 60}, max_kl=0.001),
        "loose": ppo_base(normalise_advantages="none", optimizer={"type": "rmsprop"}, minibatches=None),
        "sgd": ppo_base(optimizer={"type": "sgd"}),
        "weight": ppo_base(network=WEIGHT),
        "memory": ppo_base(network=REMEMBERING, rollout_steps=6, sequence_steps=3),
        "whole memory": ppo_base(network=REMEMBERING),
        "impala": ppo_base("image", network=IMPALA, epochs=1),
        **{
            name: ppo_base(shown, bonus={key: value for key, value in bonus.items() if key != "optimism"})
            for name, (shown, bonus) in BONUSES.items()
        },
        "observed": ppo_base("number", bonus=OBSERVED),
        "bonus value": ppo_base(bonus=True, bonus_value={"discount": 0.8}),
    },
    "pqn": {
        "plain": pqn_base(anneal={"steps": 60}),
        "soft": pqn_base(softmax={}, minibatches=None),
        "rmsprop": pqn_base(optimizer={"type": "rmsprop"}),
        "sgd": pqn_base(optimizer={"type": "sgd"}),
        "weight": pqn_base(network=WEIGHT),
        "memory": pqn_base(network=REMEMBERING, rollout_steps=6, sequence_steps=3),
        "whole memory": pqn_base(network=REMEMBERING),
        "impala": pqn_base("image", network=IMPALA, epochs=1),
        **{name: pqn_base(shown, bonus=bonus) for name, (shown, bonus) in BONUSES.items()},
        "observed": pqn_base("number", bonus=OBSERVED),
    },
    "hdqn": {
        "plain": hdqn_base(controller={"hindsight": {"share": 0.6}}),
        "averaged": hdqn_base(
            controller={**AVERAGED, "optimizer": {"type": "rmsprop"}}, meta={**AVERAGED, "optimizer": {"type": "sgd"}}
        ),
        "trained before": hdqn_base(
            pretraining_steps=12,
            option_discount="smdp",
            repeat_goals=False,
            meta={"optimizer": {"type": "rmsprop"}},
        ),
        "mastered": hdqn_base(
            num_envs=10,
            max_option_steps=1,
            goals={"name": f"{WORLD}:Places", "kwargs": {"places": (3,)}},
            controller={
                "epsilon_by": "success",
                "mastered": 0.05,
                "replay_capacity": 100,
                "epsilon": {"steps": 10_000, "start": 0.8, "end": 0.1},
            },
        ),
        "weight": hdqn_base(controller={"network": WEIGHT}, meta={"network": WEIGHT}),
        "impala": hdqn_base(
            "image",
            controller={"network": IMPALA, "updates_per_step": 0.1},
            meta={"network": IMPALA, "updates_per_option": 0.2},
        ),
        **{name: hdqn_base(shown, controller={"bonus": bonus}) for name, shown, bonus in bonus_bases()},
        **{
            f"options {name}": hdqn_base(shown, meta={"bonus": bonus})
            for name, (shown, bonus) in BONUSES.items()
            if name != "counting"
        },
    },
}
