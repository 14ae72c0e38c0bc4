"""A policy loaded from a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import rlkit
from rlkit.errors import RunError
from rlkit.runs.directory import RunDirectory


def test_three_lines_of_python(small_run: Path) -> None:
    import gymnasium as gym

    env = gym.make("CartPole-v1")
    policy = rlkit.load_policy(small_run)
    observation, _ = env.reset(seed=1)
    assert policy(observation) in (0, 1)
    with pytest.raises(rlkit.errors.SpecError, match=r"\(3,\).*\(4,\)"):
        policy(observation[:3])


def test_a_policy_that_does_not_fit_is_refused_with_the_versions(small_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(small_run, copy)
    run = RunDirectory.open(copy)
    run.save_policy("final", {}, env_steps=400)
    with pytest.raises(
        RunError, match=rf"run: the policy does not fit: .*made by rlkit .* this is {rlkit.__version__}"
    ):
        rlkit.load_policy(copy)
