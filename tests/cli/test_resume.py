"""`rlkit resume`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rlkit
from helpers.command import call
from rlkit.runs.directory import RunDirectory


def test_resuming_a_finished_run_says_how_to_extend_it(small_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run, copy)
    done = call("resume", copy)
    assert done.exit_code == 2
    assert "--steps N" in done.output
    assert call("resume", copy, "--steps", 500).exit_code == 0
    assert json.loads((copy / "result.json").read_text())["env_steps"] == 500


def test_one_process_at_a_time_may_write(small_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "locked"
    shutil.copytree(small_run, copy)
    with RunDirectory.open(copy).lock():
        done = call("resume", copy, "--steps", 500)
    assert done.exit_code == 2
    assert f"pid {os.getpid()}" in done.output
    assert call("resume", copy, "--steps", 500).exit_code == 0


def test_a_run_of_a_gpu_can_be_resumed_without_one(small_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "gpu"
    shutil.copytree(small_run, copy)
    path = copy / "config.toml"
    path.write_text(path.read_text().replace('device = "auto"', 'device = "cuda:7"'))
    done = call("resume", copy, "--steps", 500)
    assert done.exit_code == 2
    assert "--device cpu" in done.output
    assert call("resume", copy, "--steps", 500, "--device", "cpu").exit_code == 0
    assert RunDirectory.open(copy).config().train.device == "cpu"


def test_a_run_of_another_agent_is_refused(small_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other"
    shutil.copytree(small_run, copy)
    path = copy / "config.toml"
    path.write_text(path.read_text().replace("n_step = 3", "n_step = 2"))
    done = call("resume", copy, "--steps", 500)
    assert done.exit_code == 2
    assert "agent.n_step was 3, is 2" in done.output


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda agent: agent.pop("replay"), "KeyError: 'replay'"),
        (lambda agent: agent["policy"]["network"].popitem(), "does not fit: "),
        (lambda agent: agent.update(env_steps="many"), "ValueError: "),
    ],
    ids=["missing", "parameters", "type"],
)
def test_a_checkpoint_that_does_not_fit_is_one_line_with_the_versions(
    damage: Callable[[dict[str, Any]], Any], reason: str, small_run: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "older"
    shutil.copytree(small_run, copy)
    run = RunDirectory.open(copy)
    run.amend(versions={**run.info()["versions"], "rlkit": "0.0.9"})
    state = run.checkpoints.load(400)
    damage(state["agent"])
    run.checkpoints.save(400, state, keep=1)
    done = call("resume", copy, "--steps", 500)
    assert done.exit_code == 2
    message = done.output[done.output.index("Error:") :].strip()
    assert len(message.splitlines()) == 1
    assert f"{copy}: the checkpoint does not fit: " in message
    assert reason in message
    assert f"the run was made by rlkit 0.0.9, and this is {rlkit.__version__}" in message
