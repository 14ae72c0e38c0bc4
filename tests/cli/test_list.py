"""`rlkit list`."""

from __future__ import annotations

from helpers.command import call


def test_names_and_keys_are_listed() -> None:
    listed = call("list").output
    for name in ("dqn", "random", "gymnasium", "tensorboard", "quickstart", "minatar/breakout"):
        assert name in listed
    keys = call("list", "agents", "dqn").output
    assert "learning_rate" in keys
    assert "steps" in call("list", "keys").output
