"""`rlkit list`."""

from __future__ import annotations

import pytest

from agents import dqn as agents_dqn
from agents import ppo as agents_ppo
from helpers.command import call
from rlkit.cli.list import keys_of, tables_of


def test_names_and_keys_are_listed() -> None:
    listed = call("list").output
    for name in ("dqn", "random", "gymnasium", "tensorboard", "quickstart", "minatar/breakout"):
        assert name in listed
    keys = call("list", "agents", "dqn").output
    assert "learning_rate" in keys
    assert "steps" in call("list", "keys").output


def test_keys_of_tables_are_listed_below_them() -> None:
    tree = call("list", "agents", "dqn").output
    for key in ("network.normalisation", "bonus.optimism", "bonus.features", "prioritised.alpha", "epsilon.steps"):
        assert key in tree.replace("│", ""), key
    everything = call("list", "keys").output
    for key in ("visits.signal", "stop.at_least", "stop.times"):
        assert key in everything, key


def test_defaults_are_those_that_the_agent_sets_not_those_of_the_tables_class() -> None:
    rows = {key: default for key, default, _ in keys_of(agents_ppo.plugin.config)}
    assert rows["optimizer.eps"] == "1e-05"
    (listed,) = tables_of("agents", "ppo.optimizer").values()
    assert ("eps", "1e-05") in [row[:2] for row in keys_of(*listed)]
    rows = {key: default for key, default, _ in keys_of(agents_dqn.plugin.config)}
    assert rows["target"] == "{ every = 1, tau = 0.01 }"
    assert (rows["target.every"], rows["target.tau"]) == ("250", "1.0")  # those of a table that names one of them


@pytest.mark.parametrize(
    ("arguments", "words", "absent"),
    [
        (("agents", "dqn.bonus"), ("[agent.bonus", "beta", "optimism.scale"), "replay_capacity"),
        (("agents", "dqn.bonus.optimism"), ("[agent.bonus.optimism]", "scale"), "beta"),
        (("bonuses", "count"), ("[agent.bonus]", "beta"), "replay_capacity"),
        (("keys", "train.visits"), ("[train.visits]", "cells"), "threads"),
        (("keys", "evaluation.stop"), ("[evaluation.stop]", "at_least"), "final_episodes"),
    ],
)
def test_one_table_is_listed_alone(arguments: tuple[str, ...], words: tuple[str, ...], absent: str) -> None:
    done = call("list", *arguments)
    assert done.exit_code == 0, done.output
    for word in words:
        assert word in done.output
    assert absent not in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("agents", "dqn.bonos"), "no table 'bonos' (did you mean bonus?)"),
        (("keys", "trian"), "no table 'trian' (did you mean train?)"),
        (("keys", "train.steps"), "no table 'steps'"),
    ],
)
def test_a_table_that_does_not_exist_is_refused(arguments: tuple[str, ...], message: str) -> None:
    done = call("list", *arguments)
    assert done.exit_code == 2
    assert message in done.output
