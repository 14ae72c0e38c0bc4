"""Every key of every agent's config does something: with another value the same steps leave another agent.

The keys are found by walking the config's tables, so a key that is added needs no line here but for another value,
where its type (bool, Literal) names none: ALTERNATIVES. A key matters only beside certain others, so there are several
base configs; one in which another value makes a difference is enough. What makes none says why: UNSEEN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from key_walk import Key, all_tables, keys, replaced, tables_of, value_at
from line_world import PLACES, Line, line_spec, live
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from agents import dqn, hdqn, random
from rlkit.agent import AgentContext, AgentPlugin
from rlkit.errors import ConfigError, SpecError
from rlkit.seeding import Streams
from rlkit.testing.states import state_hash
from rlkit.types import EnvSpec, Observation

TURNS = 16  # of two environments

ALTERNATIVES: dict[str, list[Any]] = {
    # of both agents that learn
    "learning_rate": [0.003],
    "discount": [0.5],
    "batch_size": [5],
    "updates_per_step": [0.4],
    "learning_starts": [10],
    "replay_capacity": [40],
    "n_step": [2],
    "reward_clip": [0.7],
    "max_grad_norm": [0.02],
    "max_grad_value": [0.003],
    "adjustable_clip": [1e-5],
    "diagnostics_every": [3],
    "precision": ["bfloat16"],
    "target.every": [4],
    "target.tau": [0.5],
    "epsilon.start": [0.6],
    "epsilon.end": [0.3],
    "epsilon.steps": [5],
    "optimizer.eps": [0.1],
    "optimizer.betas": [(0.5, 0.9)],
    "optimizer.decay": [0.5],
    "optimizer.centered": [True],
    "optimizer.momentum": [0.7],
    "prioritised.alpha": [0.9],
    "prioritised.beta": [0.9],
    "prioritised.beta_updates": [3],
    "prioritised.eps": [0.5],
    # networks
    "network.input": ["raw"],
    "network.encoder": ["minatar", f"{__name__}:Doubled"],
    "network.hidden": [(7,), None, ()],
    "network.groups": [1],
    "network.activation": ["leaky_relu", "elu"],
    "network.pooling": ["fractional_max"],
    "network.width": [0.25],
    "network.residual_scale": [0.3],
    "weight_norm.initial_batch": [7],
    "weight_norm.output_scale": [0.5],
    # counting
    "bonus.beta": [1.5],
    "hash.bits": [9],
    "counts.type": ["exact"],
    "counts.primes": [(3, 7)],
    "meta.bonus.of": ["successor"],
    "optimism.scale": [3.0],
    "optimism.exponent": [2.0],
    "VectorConfig.source": ["memory"],
    "PixelsConfig.source": ["screen"],
    "BassConfig.source": ["screen"],
    "BytesConfig.source": ["sums"],
    "features.side": [4],
    "LearnedConfig.side": [8],
    "BassConfig.cell": [4],
    "BassConfig.bins": [3],
    "ByteConfig.byte": [1],
    "ByteConfig.min": [15],
    "ByteConfig.size": [1],
    "features.function": [f"{__name__}:halves"],
    "features.codes": [7],
    "features.levels": [3],
    "features.noise": [0.1],
    "features.penalty": [1.0],
    "features.refit_every": [7],
    "features.network.normalisation": ["weight_mean_batch"],
    "features.network.activation": ["leaky_relu"],
    # h-DQN
    "goals.kwargs": [{"places": (2, 5)}],
    "max_option_steps": [2],
    "pretraining_steps": [18],
    "controller.epsilon_by": ["schedule"],
    "controller.mastered": [0.99],
    "reward.goal": [2.0],
    "reward.step_cost": [0.5],
    "reward.death": [3.0],
    "hindsight.share": [0.1],
    "meta.updates_per_option": [0.4],
    "meta.learning_starts": [4],
    "meta.capacity": [20],
}
"""Other values by the key's path, of which an end is enough, or by its table's class and its name."""

REFUSED = "the table is refused with it: the autoencoder's layers are given"
UNSEEN: dict[str, str] = {
    "name": "says which plug-in it is",
    "network.weight_norm": "left out it needs 500 random steps; its own keys make a difference",
    "features.network.input": REFUSED,
    "features.network.encoder": REFUSED,
    "features.network.hidden": REFUSED,
    "features.network.dueling": REFUSED,
    "features.network.pooling": REFUSED,
    "features.network.width": REFUSED,
    "features.network.groups": REFUSED,
    "features.network.residual_scale": REFUSED,
}
"""Why a key makes no difference here, by an end of its path."""


class Places:
    """Goals of h-DQN here: some places of the line, told by a signal, whatever is shown."""

    def __init__(self, spec: EnvSpec, places: tuple[int, ...] = (2, 4, 5)) -> None:
        self.names = [f"place {place}" for place in places]
        self._places = np.array(places)

    def achieved(self, observation: Observation) -> NDArray[np.bool_]:
        here: NDArray[np.bool_] = observation.signals["memory"][:, :1] == self._places
        return here

    def encode(self, goal: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.eye(len(self.names), dtype=np.float32)[goal]


class Sides(Places):
    """Another goal space: the left, and the right."""

    def __init__(self, spec: EnvSpec, places: tuple[int, ...] = (1, PLACES - 1)) -> None:
        super().__init__(spec, places)


class Doubled(torch.nn.Module):
    """An encoder of a user's own."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.output_size = 2 * int(np.prod(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x, -x), 1).flatten(1)


def tenths(obs: NDArray[Any], signals: Any) -> NDArray[Any]:
    """Features of a user's own."""
    return np.rint(10 * obs.reshape(len(obs), -1)[:, :1])


def halves(obs: NDArray[Any], signals: Any) -> NDArray[Any]:
    return np.rint(2 * obs.reshape(len(obs), -1)[:, :1])


BYTES = ({"byte": 0, "min": 0, "size": 2}, {"byte": 1, "min": 3, "size": 20})
LEARNED = {"side": 9, "codes": 6, "levels": 4, "penalty": 2.0, "batch_size": 4, "updates_per_step": 0.3}
BONUSES: dict[str, tuple[str, dict[str, Any]]] = {
    "counting": (
        "vector",
        {
            "of": "successor",
            "beta": 0.4,
            "hash": {"type": "simhash", "bits": 4},
            "counts": {"type": "sketch", "primes": (3, 5)},
            "optimism": {"scale": 0.7},
        },
    ),
    "inserted": ("number", {"timing": "insert", "counts": {"type": "sketch", "primes": (3, 5)}}),
    "pixels": ("image", {"features": {"type": "pixels", "side": 5}, "hash": {"type": "simhash"}}),
    "bass": ("image", {"features": {"type": "bass", "cell": 3, "bins": 8}}),
    "bytes": ("number", {"features": {"type": "bytes", "bytes": BYTES, "source": "memory"}}),
    "function": ("vector", {"features": {"type": "function", "function": f"{__name__}:tenths"}}),
}
LEARNING = {
    "learned": {**LEARNED, "refit_every": 10, "network": {"normalisation": "batch"}},
    "learned by weight": {
        **LEARNED,
        "refit_every": 10,
        "network": {"normalisation": "weight", "weight_norm": {"initial_batch": 6}},
    },
}
"""Codes that are learned: beside an agent with a replay of frames."""

IMPALA = {"encoder": "impala", "width": 0.125, "hidden": (6,), "input": "pixels", "normalisation": "group", "groups": 2}
WEIGHT = {"hidden": (6, 6), "normalisation": "weight", "weight_norm": {"initial_batch": 6}}
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


@dataclass(frozen=True)
class Base:
    """A config, and the environments that it is for."""

    plugin: AgentPlugin[Any]
    spec: EnvSpec
    config: BaseModel

    def trace(self, config: BaseModel) -> str:
        """A hash of all that an agent with this config is and did after some steps. Raises what refuses it."""
        agent = self.plugin.agent(config, self.spec, AgentContext(Streams(1), torch.device("cpu")))
        actions, names = live(agent, Line(self.spec), TURNS)
        return state_hash({"agent": agent.state_dict(), "actions": actions, "metrics": sorted(names)})

    @property
    def unchanged(self) -> str:
        return _unchanged(id(self))


@cache
def _unchanged(base: int) -> str:
    chosen = next(one for bases in BASES.values() for one in bases.values() if id(one) == base)
    return chosen.trace(chosen.config)


def dqn_base(shown: str = "vector", **changes: Any) -> Base:
    """DQN, with n-step returns beyond 1, so that everything that limits them does."""
    values = {**LEVEL, "learning_starts": 8, "replay_capacity": 34, "updates_per_step": 0.3, "n_step": 3}
    values |= {"network": SHALLOW[shown], "epsilon": EPSILON, "reward_clip": 2.0}
    return Base(dqn.plugin, line_spec(shown), dqn.DQNConfig(name="dqn", **(values | changes)))


def hdqn_base(
    shown: str = "vector", num_envs: int = 2, controller: Any = None, meta: Any = None, **changes: Any
) -> Base:
    network = SHALLOW[shown]
    tables = {
        "controller": {
            **LEVEL,
            **{"learning_starts": 8, "replay_capacity": 34, "updates_per_step": 0.3, "n_step": 3, "network": network},
            **{"epsilon": EPSILON, "reward": {"step_cost": 0.2, "death": 1.5}, **(controller or {})},
        },
        "meta": {
            **LEVEL,
            **{"learning_starts": 2, "capacity": 30, "network": network, "epsilon": EPSILON},
            **{"updates_per_option": 0.5, **(meta or {})},
        },
    }
    values = {"goals": {"name": f"{__name__}:Places"}, "max_option_steps": 3, **tables, **changes}
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
        "weight": dqn_base(network=WEIGHT),
        "impala": dqn_base("image", network=IMPALA, updates_per_step=0.1),
        **{name: dqn_base(shown, bonus=bonus) for name, shown, bonus in bonus_bases()},
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
            goals={"name": f"{__name__}:Places", "kwargs": {"places": (3,)}},
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
        **{f"options {name}": hdqn_base(shown, meta={"bonus": bonus}) for name, (shown, bonus) in BONUSES.items() if name != "counting"},
    },
}


def ending(table: dict[str, Any], key: Key) -> Any:
    """The entry for a key: by its table's class and name, else by the longest end of its path; None for none."""
    parts = key.path.split(".")
    ends = [f"{key.table}.{key.name}", *(".".join(parts[place:]) for place in range(len(parts)))]
    return next((table[end] for end in ends if end in table), None)


def cases() -> Iterator[Any]:
    """Agent, key, and another value: `...` where none is known."""
    for agent, bases in BASES.items():
        found: dict[Key, list[Any]] = {}
        for base in bases.values():
            for key, others in keys(base.config):
                known = found.setdefault(key, [])
                known += [other for other in others if other not in known]
        for key, others in found.items():
            if ending(UNSEEN, key) is None:
                for other in ending(ALTERNATIVES, key) or others or [...]:
                    yield pytest.param(agent, key, other, id=f"{agent}-{key}-{other}")


@pytest.mark.parametrize(("agent", "key", "other"), list(cases()))
def test_another_value_makes_another_agent(agent: str, key: Key, other: Any) -> None:
    assert other is not ..., f"{agent}'s key {key} needs another value in ALTERNATIVES, or a reason in UNSEEN"
    tried, held = [], []
    for name, base in BASES[agent].items():
        if key not in dict(keys(base.config)):
            continue
        tables = base.config.model_dump()
        if value_at(tables, key.path) == other:
            held.append(name)
            continue
        try:
            changed = base.trace(type(base.config)(**replaced(tables, key.path, other)))
        except (ValidationError, ConfigError, SpecError):
            continue
        if changed != base.unchanged:
            return
        tried.append(name)
    assert not tried, f"{agent}: {key} = {other!r} changes nothing in the configs {tried}"
    assert held, f"{agent}: no config here can have {key} = {other!r}"


@pytest.mark.parametrize("agent", BASES)
def test_every_table_stands_in_some_config(agent: str) -> None:
    held = {table for base in BASES[agent].values() for table in tables_of(base.config)}
    lacking = all_tables(next(iter(BASES[agent].values())).plugin.config) - held
    assert not {table.__name__ for table in lacking}


@pytest.mark.parametrize("agent", BASES)
def test_equal_configs_make_equal_agents(agent: str) -> None:
    """Else every key would seem to do something."""
    for base in BASES[agent].values():
        assert base.trace(base.config) == base.unchanged
