"""A policy loaded from a run."""

from __future__ import annotations

from pathlib import Path

import pytest

import rlkit


def test_three_lines_of_python(small_run: Path) -> None:
    import gymnasium as gym

    env = gym.make("CartPole-v1")
    policy = rlkit.load_policy(small_run)
    observation, _ = env.reset(seed=1)
    assert policy(observation) in (0, 1)
    with pytest.raises(rlkit.errors.SpecError, match=r"\(3,\).*\(4,\)"):
        policy(observation[:3])
