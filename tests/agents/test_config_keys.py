"""Every key of every agent's config matters: with another value an agent acts otherwise, or learns something else.

The keys are found by walking the config's tables, so a key that is added needs no line here but for another value,
where its type (bool, Literal) names none: ALTERNATIVES. A key matters only beside certain others, so there are several
base configs; one in which another value makes a difference is enough. What makes none says why: UNSEEN.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pydantic import ValidationError

from helpers.base_configs import BASES, WORLD
from helpers.config_keys import Key, all_tables, keys, replaced, tables_of, value_at
from rlkit import plugins
from rlkit.errors import ConfigError, SpecError
from rlkit.exploration.bonus import BonusConfig

SEEDS = 1, 2, 3  # the first one shows nearly all that there is to see

ALTERNATIVES: dict[str, list[Any]] = {
    # of both agents that learn
    "learning_rate": [0.003],
    "discount": [0.5],
    "batch_size": [5],
    "updates_per_step": [0.4],
    "learning_starts": [10],
    "replay_capacity": [40],
    "n_step": [2],
    "monte_carlo": [0.8],
    "reward_clip": [0.7],
    "max_grad_norm": [0.02],
    "max_grad_value": [0.003],
    "adjustable_clip": [1e-5],
    "diagnostics_every": [3],
    "precision": ["bfloat16"],
    "target.every": [4],
    "target.tau": [0.5],
    "epsilon.start": [0.2],
    "epsilon.end": [0.3],
    "epsilon.steps": [5],
    "optimizer.eps": [0.1],
    "optimizer.betas": [(0.5, 0.9)],
    "optimizer.decay": [0.5],
    "optimizer.centered": [True],
    "optimizer.momentum": [0.7],
    "softmax.temperature": [1.0],
    "prioritised.alpha": [0.9],
    "prioritised.beta": [0.9],
    "prioritised.beta_updates": [3],
    "prioritised.eps": [0.5],
    # PPO and PQN
    "q_lambda": [0.2],
    "gae_lambda": [0.5],
    "rollout_steps": [4],
    "epochs": [2],
    "minibatches": [3],
    "minibatch_size": [5],
    "sequence_steps": [2],
    "burn_in_steps": [0],
    "clip": [0.05],
    "entropy_weight": [0.5],
    "value_weight": [0.1],
    "value_clip": [0.3],
    "max_kl": [10.0],
    "bonus_value.discount": [0.3],
    "bonus_value.weight": [2.0],
    "anneal.steps": [20],
    "anneal.learning_rate": [0.5],
    "anneal.clip": [0.1],
    # networks
    "network.input": ["raw"],
    "network.layout": ["channels_first"],
    "network.encoder": ["mlp", f"{WORLD}:Doubled"],
    "network.hidden": [(7,), None, ()],
    "network.groups": [1],
    "network.activation": ["leaky_relu", "elu", "tanh"],
    "network.pooling": ["fractional_max"],
    "network.width": [0.25],
    "network.residual_scale": [0.3],
    "weight_norm.initial_batch": [7],
    "weight_norm.output_scale": [0.5],
    "memory.size": [3],
    "memory.horizon": [50],
    # counting
    "bonus.beta": [1.5],
    "hash.bits": [9],
    "counts.type": ["exact"],
    "counts.primes": [(3, 7)],
    "counts.limit": [1],
    "meta.bonus.count_of": ["successor"],
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
    "features.function": [f"{WORLD}:halves"],
    "features.codes": [7],
    "features.levels": [3],
    "features.noise": [0.1],
    "features.penalty": [1.0],
    "features.refit_every": [9],
    "features.network.normalisation": ["weight_mean_batch"],
    "features.network.activation": ["leaky_relu"],
    "bonus.alpha": [0.9],
    "bonus.deviation": [0.9],
    "until.success": [1.0],
    "until.episodes": [1],
    "observe_counts.capacity": [1],
    "PseudoCountConfig.gain": [0.5],
    "PseudoCountConfig.side": [4],
    "PseudoCountConfig.levels": [3],
    "PseudoCountConfig.features": [2],
    "PseudoCountConfig.layers": [1],
    "RNDConfig.share": [0.2],
    "RNDConfig.outputs": [2],
    "RNDConfig.hidden": [(6,)],
    "RNDConfig.encoder": [f"{WORLD}:Doubled"],
    "bonus.anneal.end": [0.9],
    # h-DQN
    "goals.name": [f"{WORLD}:Sides"],
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
    "DQNConfig.name": "says which plug-in it is",
    "HDQNConfig.name": "says which plug-in it is",
    "PPOConfig.name": "says which plug-in it is",
    "PQNConfig.name": "says which plug-in it is",
    "RandomConfig.name": "says which plug-in it is",
    "bonus.type": "says which kind it is; every kind stands in a config here",
    "network.weight_norm": "left out it needs 500 random steps; its own keys make a difference",
    "features.network.input": REFUSED,
    "features.network.layout": REFUSED,
    "features.network.encoder": REFUSED,
    "features.network.hidden": REFUSED,
    "features.network.dueling": REFUSED,
    "features.network.pooling": REFUSED,
    "features.network.width": REFUSED,
    "features.network.groups": REFUSED,
    "features.network.residual_scale": REFUSED,
}
"""Why a key makes no difference here, by an end of its path."""


REFUSED_BY: dict[str, set[str]] = {
    "ppo": {"network.dueling", "LearnedConfig", "OptimismConfig"},
    "pqn": {"LearnedConfig", "NetworkConfig"},  # the latter is of learned codes
    "hdqn": {"MemoryConfig", "ObserveCountsConfig"},
}
"""Keys, by path, and tables an agent refuses: they belong to action values, a replay, actor states, one level."""


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
            if ending(UNSEEN, key) is None and key.path not in REFUSED_BY.get(agent, ()):
                for other in ending(ALTERNATIVES, key) or others or [...]:
                    # the keys of a bonus are fast in dqn alone: the others hand the same table on
                    marks = [pytest.mark.slow] if agent != "dqn" and "bonus." in key.path else []
                    yield pytest.param(agent, key, other, id=f"{agent}-{key}-{other}", marks=marks)


@pytest.mark.parametrize(("agent", "key", "other"), list(cases()))
def test_another_value_makes_a_difference(agent: str, key: Key, other: Any) -> None:
    assert other is not ..., f"{agent}'s key {key} needs another value in ALTERNATIVES, or a reason in UNSEEN"
    configs, held = [], []
    for name, base in BASES[agent].items():
        if key in dict(keys(base.config)):
            tables = base.config.model_dump()
            if value_at(tables, key.path) == other:
                held.append(name)
                continue
            with suppress(ValidationError):
                configs.append((name, base, type(base.config)(**replaced(tables, key.path, other))))
    tried = set()
    for seed in SEEDS:
        for name, base, config in configs:
            with suppress(ConfigError, SpecError):
                if base.trace(config, seed) != base.unchanged(seed):
                    return
                tried.add(name)
    assert not tried, f"{agent}: {key} = {other!r} changes nothing in the configs {sorted(tried)}"
    assert held, f"{agent}: no config here can have {key} = {other!r}"


@pytest.mark.parametrize("agent", BASES)
def test_every_table_stands_in_some_config(agent: str) -> None:
    held = {table for base in BASES[agent].values() for table in tables_of(base.config)}
    bonuses = {BonusConfig: [plugins.load(plugins.BONUSES, name) for name in plugins.installed(plugins.BONUSES)]}
    lacking = all_tables(next(iter(BASES[agent].values())).plugin.config, bonuses) - held
    assert {table.__name__ for table in lacking} <= REFUSED_BY.get(agent, set())


@pytest.mark.parametrize("agent", BASES)
def test_equal_configs_make_equal_agents(agent: str) -> None:
    """Else every key would seem to do something."""
    for base in BASES[agent].values():
        assert base.trace(base.config, SEEDS[0]) == base.unchanged(SEEDS[0])
