"""A packed policy plays as the run's does, from another folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import rlkit
from helpers.command import call
from rlkit.config.load import resolve


def test_a_packed_policy_plays_as_the_runs_does(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("pack", small_run, "--out", "small.zip")
    assert done.exit_code == 0, done.output
    assert "the policy of step 400" in done.output
    assert "modules" not in done.output
    with zipfile.ZipFile("small.zip") as archive:
        names = archive.namelist()
        archive.extractall()
    assert all(name.startswith("small/") for name in names)
    assert {"small/config.toml", "small/run.json", "small/result.json"} <= set(names)
    assert not [name for name in names if "checkpoints" in name or "tapes" in name]
    packed, own = rlkit.evaluate_run("small"), rlkit.evaluate_run(small_run)
    assert packed.scores.returns.tolist() == own.scores.returns.tolist()
    again = call("pack", small_run, "--out", "small.zip")
    assert again.exit_code == 2
    assert "small.zip exists" in again.output
    assert ".zip" in call("pack", small_run, "--out", "small.tar").output


def test_modules_that_it_needs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tables = {
        "env": {
            "name": "gymnasium",
            "id": "MiniGrid-Empty-5x5-v0",
            "register": ["minigrid"],
            "wrappers": ["minigrid.wrappers:ImgObsWrapper"],
        },
        "agent": {"name": "dqn", "learning_starts": 10},
        "train": {"steps": 20, "sinks": []},
        "evaluation": {"final_episodes": 1},
    }
    run = rlkit.train(resolve("door", tables), run=tmp_path / "run")
    assert "needs these modules too: minigrid, minigrid.wrappers" in call("pack", run.path).output
    assert (tmp_path / "run.zip").is_file()
