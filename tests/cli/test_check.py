"""`rlkit check`."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from helpers.command import call


@pytest.mark.parametrize(
    ("name", "row"),
    [
        (
            "atari/hash-pixels",
            "0.01 / sqrt(n) of the state; pixels of observations, simhash of 256 bits; sketch counts, 24.0 MB",
        ),
        ("hdqn/doorkey", "no bonus; vector of state; exact counts; values of untried actions interpolated towards 0.3"),
    ],
)
def test_check_says_what_is_counted_and_paid(name: str, row: str) -> None:
    shown = " ".join(call("check", name).output.replace("│", " ").split())
    assert row in shown


def test_check_says_what_a_run_would_be() -> None:
    checked = call("check", "cartpole", "--set", "train.num_envs=8").output
    for word in (
        "Box",
        "8, 50,000 steps",
        "parameters",
        "MiB",
        "updates",
        "episodes",
        "CartPole-v1",
        "[agent]",
        "resuming is exact",
    ):
        assert word in checked, word
    seen = " ".join(checked.replace("│", " ").split())
    for words in ("200 random steps, twice from one seed", "a second with learning", "terminated"):
        assert words in seen, words


NUMBER = itertools.count()


def outliving(env: gym.Env) -> dict[str, Any]:
    """A signal that no reset sets back."""
    return {"calls": np.int64(next(NUMBER))}


@pytest.mark.parametrize(("signals", "code"), [("envs.deep_sea:state", 0), (f"{__name__}:outliving", 1)])
def test_thorough_checks_run_the_conformance_suite(signals: str, code: int) -> None:
    settings = ("env.kwargs.size=3", f"env.signals={signals}", "agent.bonus=false", "train.visits=false")
    done = call("check", "deep-sea", "--thorough", *(word for setting in settings for word in ("--set", setting)))
    assert done.exit_code == code, done.output
    assert "passed  description" in done.output
    assert ("failed  seeded_reset: " in done.output) == bool(code)
    assert ("Error: " in done.output) == bool(code)


@pytest.mark.parametrize(("name", "key"), [("cartpole", "agent"), ("hdqn/chain", "agent.controller")])
def test_check_refuses_a_replay_that_training_would_refuse(name: str, key: str) -> None:
    done = call("check", name, "--set", f"{key}.replay_capacity=40", "--set", "train.num_envs=20")
    assert done.exit_code == 2
    assert "replay_capacity: 40 with windows of" in done.output
