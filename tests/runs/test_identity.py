"""Which values tell experiments, runs and checkpoints apart, and how an earlier version's configs are read."""

from __future__ import annotations

from typing import Any

import pytest

from rlkit.config.load import override, resolve
from rlkit.config.tables import TrainConfig, WarmStartConfig
from rlkit.runs.identity import SAME_EXPERIMENT, differences, digest, of_checkpoint, of_experiment, of_run, understood

SMALL: dict[str, Any] = {
    "env": {"name": "gymnasium", "id": "CartPole-v1"},
    "agent": {"name": "dqn"},
    "train": {"steps": 100},
}


def tables(**changes: Any) -> dict[str, Any]:
    return resolve("small", override(SMALL, {key.replace("__", "."): value for key, value in changes.items()})).tables()


@pytest.mark.parametrize(
    ("key", "value", "tells"),
    [
        ("train.device", "cpu", ""),
        ("train.threads", 2, ""),
        ("train.sinks", [], ""),
        ("train.log_every", 7, ""),
        ("train.checkpoint_every", 7, ""),
        ("train.keep_checkpoints", 7, ""),
        ("train.seed", 5, "run checkpoint"),
        ("train.steps", 101, "run experiment"),
        ("train.reseed_after", 7, "run experiment"),
        ("evaluation.epsilon", 0.5, "run experiment"),
        ("train.num_envs", 2, "run experiment checkpoint"),
        ("agent.learning_rate", 0.5, "run experiment checkpoint"),
        ("env.max_episode_steps", 9, "run experiment checkpoint"),
    ],
)
def test_which_keys_tell_what_apart(key: str, value: object, tells: str) -> None:
    changed = override(SMALL, {key: value})
    first, second = resolve("x", SMALL), resolve("y", changed)
    then, now = first.tables(), second.tables()
    seen = {
        "run": of_run(then) != of_run(now),
        "experiment": of_experiment(then) != of_experiment(now),
        "checkpoint": of_checkpoint(then) != of_checkpoint(now),
    }
    assert {name for name, differs in seen.items() if differs} == set(tells.split())
    assert (digest(first) != digest(second)) == seen["experiment"]


def test_the_keys_exist() -> None:
    """Else a renamed key would silently begin to tell experiments apart."""
    keys = {key.removeprefix("train.") for key in SAME_EXPERIMENT} - {"warm_start.run"}
    assert keys <= set(TrainConfig.model_fields)
    assert "run" in WarmStartConfig.model_fields


def test_differences_name_both_values() -> None:
    then, now = {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "d": "x"}
    assert differences(then, now) == ["b was 2, is 5", "c was 3, is 'unset'", "d was 'unset', is 'x'"]
    assert differences(then, then) == []


def test_missing_keys_of_a_saved_config_have_their_defaults() -> None:
    assert understood(SMALL) == tables()
    assert of_run(understood(SMALL)) == of_run(tables())


def test_a_saved_config_that_cannot_be_resolved_keeps_its_values() -> None:
    saved = {**SMALL, "agent": {"name": "not_installed:plugin", "rate": 3}}
    assert understood(saved) == saved
