"""`rlkit check`."""

from __future__ import annotations

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
    for word in ("Box", "8, 50,000 steps", "parameters", "MiB", "updates", "episodes", "CartPole-v1", "[agent]"):
        assert word in checked, word
