"""Atari as a whole: the packaged experiments, and what a million frames take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import rlkit
from rlkit import memory
from rlkit.config.load import load
from rlkit.errors import CapacityError
from rlkit.pacing import Ratio

MEMORY = Path(__file__).parents[2] / "benchmarks" / "memory.py"
EXPERIMENTS = ["atari/dqn", "atari/dqn-dopamine", "atari/double-dqn", "atari/per"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_published_settings(name: str) -> None:
    """200 million frames, a million transitions, 32 of them every four steps; another game by one override."""
    config = load(name, {"env.game": "breakout"})
    agent, env = config.agent, config.env
    assert env.game == "breakout"  # type: ignore[attr-defined]
    assert env.protocol == ("dopamine" if "dopamine" in name else "nature")  # type: ignore[attr-defined]
    assert config.train.steps * 4 == 200_000_000
    assert (agent.replay_capacity, agent.batch_size, agent.reward_clip) == (1_000_000, 32, 1.0)  # type: ignore[attr-defined]
    assert agent.double == (name in ("atari/double-dqn", "atari/per"))  # type: ignore[attr-defined]
    if agent.prioritised is not None:  # type: ignore[attr-defined]
        updates = Ratio(agent.updates_per_step, agent.learning_starts).total(config.train.steps)  # type: ignore[attr-defined]
        assert agent.prioritised.beta_at(updates - 1) < 1.0 == agent.prioritised.beta_at(updates)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "num_envs", [pytest.param(1, marks=pytest.mark.slow), 8, pytest.param(64, marks=pytest.mark.slow)]
)
def test_a_transition_takes_at_most_7250_bytes_of_the_process(num_envs: int) -> None:
    command = [sys.executable, str(MEMORY), "--num-envs", str(num_envs), "--rows", "30000", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["transitions"] > 29_000
    assert 84 * 84 < found["bytes_per_transition"] <= 7250
    assert found["projected_for_a_million"] == pytest.approx(found["asked_for_a_million"], rel=0.02)


def test_a_million_frames_are_refused_where_they_do_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: 6 * memory.GIB)
    with pytest.raises(
        CapacityError, match=r"agent.replay_capacity.* needs 6\.59 GiB, but 6\.00 .*a capacity of 910,"
    ) as caught:
        rlkit.train("atari/dqn", run=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
