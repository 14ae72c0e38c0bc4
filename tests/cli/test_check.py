"""`rlkit check`."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
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


class Unseeded(gym.Env):
    """Ignores the seed of reset, and each step takes `seconds`."""

    observation_space = gym.spaces.Box(0, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        return np.random.default_rng().random(2).astype(np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        time.sleep(self.seconds)
        return np.random.default_rng().random(2).astype(np.float32), 1.0, False, False, {}


def checked(tmp_path: Path, *settings: str) -> str:
    if "Unseeded-v0" not in gym.registry:
        gym.register("Unseeded-v0", Unseeded, max_episode_steps=9)
    path = tmp_path / "unseeded.toml"
    path.write_text('[env]\nname = "gymnasium"\nid = "Unseeded-v0"\n[agent]\nname = "dqn"\n[train]\nsteps = 100_000\n')
    words = (word for setting in settings for word in ("--set", setting))
    return " ".join(call("check", path, *words).output.replace("│", " ").split())


def test_the_protocol_says_that_seeds_are_not_followed(tmp_path: Path) -> None:
    shown = checked(tmp_path)
    assert "100 separate episodes, different at each evaluation: the environment ignores seeds" in shown
    assert "fixed seeds;" not in shown
    assert "hours" not in shown


def test_more_than_a_day_of_steps_is_said(tmp_path: Path) -> None:
    shown = checked(tmp_path, "env.kwargs.seconds=0.01", "train.steps=20_000_000")
    assert re.search(
        "20,000,000 steps take about [0-9]+ days without any learning: a step of the environment takes 0.0", shown
    )
