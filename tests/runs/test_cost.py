"""Estimates of how long training takes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rlkit.config.load import load
from rlkit.errors import CapacityError
from rlkit.runs.cost import Remaining, learning_speed
from rlkit.runs.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 seconds"), (40, "40 seconds"), (300, "5 minutes"), (86_400, "24 hours"), (864_000, "10 days")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_remaining_time_is_estimated_from_the_speed_of_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random play is ten times as fast here."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    remaining = Remaining(10_000)
    told = []
    for at, env_steps, updates in ((0, 1000, 0), (1, 2000, 0), (11, 3000, 100), (21, 4000, 350), (31, 5000, 600)):
        clock[0] = at
        told.append(remaining.text(env_steps, updates))
    assert told[0] == told[2] == ""
    assert told[1] == "8 seconds left at the speed of random play, learning is slower"
    assert told[3:] == ["60 seconds left", "50 seconds left"]


def test_speed_is_that_of_learning_even_if_it_starts_late(small_config: Path) -> None:
    late = load(small_config, {"agent.learning_starts": 10_000})
    assert learning_speed(late, 0.5) is not None
    assert learning_speed(load(small_config, {"agent.name": "random"}), 0.1) is None


def test_what_only_a_whole_agent_refuses_is_refused(small_config: Path) -> None:
    with pytest.raises(CapacityError, match="GiB"):
        learning_speed(load(small_config, {"agent.replay_capacity": 10**12}), 0.1)
