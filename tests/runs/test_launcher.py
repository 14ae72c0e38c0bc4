"""Many runs at once: what is finished is skipped, what was interrupted goes on, what fails ends nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlkit
from helpers.command import call
from helpers.here import run_here
from rlkit.cli.progress import last_row
from rlkit.errors import ConfigError
from rlkit.runs.directory import RunDirectory
from rlkit.runs.launcher import LARGEST, Plan, group_name, make_jobs, parse_seeds, plan, small
from rlkit.runs.runner import LocalExecutor, Runner


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-2", [0, 1, 2]), ("7", [7]), ("0,3, 5-6", [0, 3, 5, 6]), ("1,1-2", [1, 2])]
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "3-1", "a", "-1", "1-", "0-99999999", "1.5"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="0-9"):
        parse_seeds(text)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_runs_are_made_collected_skipped_and_added_to(place: Path) -> None:
    done = call("train", "small.toml", "--seeds", "0-1", "--data", "data")
    assert done.exit_code == 0, done.output
    assert "2 runs: 2 to train" in done.output
    assert "Protocol: environment: CartPole-v1" in done.output
    files = sorted((place / "data" / "small").iterdir())
    assert [file.name for file in files] == ["rlkit-seed0.json", "rlkit-seed1.json"]
    content = json.loads(files[1].read_text())
    assert content["config"]["train"]["seed"] == content["seed"] == 1
    for key in ("digest", "experiment", "versions", "machine", "date", "protocol", "curve", "final", "overrides"):
        assert content[key] or key == "overrides", key
    assert files[1].stat().st_size < LARGEST
    stamps = [file.stat().st_mtime_ns for file in files]

    (place / "runs" / "small-seed0" / "result.json").unlink()  # the file in data/ is enough: another machine made it
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch)
        again = call("train", "small.toml", "--seeds", "0-2", "--data", "data")
    assert "3 runs: 2 finished, 1 to train" in again.output
    assert [file.stat().st_mtime_ns for file in files] == stamps
    assert (place / "data" / "small" / "rlkit-seed2.json").exists()
    assert "runs/small-seed2.log" not in [str(path) for path in place.rglob("*")]
    # without --data, a finished run directory counts
    assert "2 runs: 2 finished" in call("train", "small.toml", "--seeds", "1-2").output


def test_a_run_of_the_command_is_a_run_like_any_other(place: Path) -> None:
    assert call("train", "small.toml", "--seeds", "4").exit_code == 0
    assert call("train", "small.toml", "--seed", "4", "--run", "alone").exit_code == 0
    many_, alone = (
        json.loads((place / path / "result.json").read_text()) for path in (Path("runs") / "small-seed4", Path("alone"))
    )
    for key in ("experiment", "digest", "curve", "final", "config"):
        assert many_[key] == alone[key], key


def test_files_of_another_experiment_are_refused_before_anything_runs(place: Path, in_process: None) -> None:
    assert call("train", "small.toml", "--seeds", "0", "--data", "data").exit_code == 0
    change(place / "small.toml", "final_episodes = 3", "final_episodes = 4")
    done = call("train", "small.toml", "--seeds", "0-1", "--data", "data")
    assert done.exit_code == 2
    assert "rlkit-seed0.json is of another experiment: evaluation.final_episodes was 3, is 4" in done.output
    assert not (place / "runs" / "small-seed1").exists()
    without = call("train", "small.toml", "--seeds", "0-1")
    assert without.exit_code == 2
    assert "final_episodes was 3, is 4" in without.output
    (place / "data" / "small" / "rlkit-seed0.json").write_text("{")
    assert "rlkit-seed0.json cannot be read" in call("train", "small.toml", "--seeds", "0", "--data", "data").output


def test_a_file_with_another_seed_is_refused(place: Path, in_process: None) -> None:
    assert call("train", "small.toml", "--seeds", "0", "--data", "data").exit_code == 0
    folder = place / "data" / "small"
    (folder / "rlkit-seed0.json").rename(folder / "rlkit-seed3.json")
    assert "train.seed was 0, is 3" in call("train", "small.toml", "--seeds", "3", "--data", "data").output


def test_other_versions_are_said(place: Path, in_process: None) -> None:
    assert call("train", "small.toml", "--seeds", "0", "--data", "data").exit_code == 0
    file = place / "data" / "small" / "rlkit-seed0.json"
    content = json.loads(file.read_text())
    content["versions"]["numpy"] = "1.0"
    file.write_text(json.dumps(content))
    done = call("train", "small.toml", "--seeds", "0", "--data", "data")
    assert f"small-seed0: made with numpy 1.0 (here {np.__version__}); accepted as finished" in done.output


def test_one_failing_run_ends_no_other(place: Path, in_process: None) -> None:
    """Seed 0's directory is held by another process, seed 1's is no run directory: both fail, each with its reason."""
    assert call("train", "small.toml", "--seeds", "0").exit_code == 0
    held = place / "runs" / "small-seed0"
    (held / "result.json").unlink()
    (place / "runs" / "small-seed1").mkdir()
    (place / "runs" / "small-seed1" / "diary.txt").touch()
    with RunDirectory.open(held).lock():
        done = call("train", "small.toml", "--seeds", "0-2", "--jobs", "2")
    assert done.exit_code == 1
    assert "failed: small-seed0: " in done.output
    assert f"(pid {os.getpid()} on " in done.output
    assert "failed: small-seed1: " in done.output
    assert "small-seed1 exists" in done.output
    assert "2 of 3 runs failed" in done.output
    assert (place / "runs" / "small-seed2" / "result.json").exists()
    assert (place / "runs" / "small-seed1" / "diary.txt").exists()


def test_a_directory_of_before_the_first_checkpoint_is_made_anew_unless_it_is_held(
    place: Path, in_process: None
) -> None:
    assert call("train", "small.toml", "--seeds", "0").exit_code == 0
    run = place / "runs" / "small-seed0"
    (run / "result.json").unlink()
    for path in (run / "checkpoints").glob("[0-9]*"):
        shutil.rmtree(path)
    made = (run / "run.json").stat().st_mtime_ns
    with RunDirectory.open(run).lock():
        held = call("train", "small.toml", "--seeds", "0")
    assert "being written to by another process" in held.output
    assert (run / "run.json").stat().st_mtime_ns == made
    assert call("train", "small.toml", "--seeds", "0").exit_code == 0
    assert (run / "run.json").stat().st_mtime_ns > made


def test_ctrl_c_lets_every_run_write_a_checkpoint_and_the_same_command_goes_on(place: Path) -> None:
    change(place / "small.toml", "steps = 200", "steps = 15_000")
    change(place / "small.toml", "every = 100", "")
    command = [sys.executable, "-m", "rlkit.cli", "train", "small.toml", "--seeds", "0-2", "--jobs", "2"]
    process = subprocess.Popen(
        [*command, "--data", "data"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    metrics = [place / "runs" / f"small-seed{seed}" / "metrics.jsonl" for seed in (0, 1)]
    for _ in range(600):
        if all(last_row(path) for path in metrics):
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "stopped with 0 of 3 runs finished; the same command resumes the others" in output
    assert "Error" not in output
    assert "failed" not in output
    for path in metrics:
        assert 0 < RunDirectory(path.parent).checkpoints.steps()[-1] < 15_000
    assert not (place / "runs" / "small-seed2").exists()

    with pytest.MonkeyPatch.context() as patch:
        run_here(patch)
        done = call("train", "small.toml", "--seeds", "0-1", "--data", "data")
    assert "2 runs: 2 to resume" in done.output
    assert done.exit_code == 0, done.output
    assert call("train", "small.toml", "--seed", "0", "--run", "whole").exit_code == 0
    resumed = json.loads((place / "data" / "small" / "rlkit-seed0.json").read_text())
    assert resumed["final"] == json.loads((place / "whole" / "result.json").read_text())["final"]


def test_a_file_in_place_of_the_data_folder_is_refused_before_anything_runs(place: Path) -> None:
    done = call("train", "small.toml", "--seeds", "0", "--data", "small.toml")
    assert done.exit_code == 2
    assert done.output == "Error: --data: small.toml is a file; name a folder\n"
    assert not (place / "runs").exists()


def test_a_signal_that_comes_when_a_run_has_just_ended_does_not_hide_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process dies of the signal."""
    (job,) = make_jobs("small.toml", {}, [0], Path("runs"), Path("data"))
    rlkit.train(job.config, run=job.run)
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: popen(["sleep", "60"], **options))
    runner = Runner(
        LocalExecutor(1), lambda running: os.kill(os.getpid(), signal.SIGINT) if running else None, every=0.05
    )
    assert runner.run(Plan(to_resume=[job])).finished == [job]
    assert job.data is not None
    assert job.data.exists()
    assert [path.name for path in (place / "runs").iterdir()] == [job.name]


def test_a_signal_while_a_process_is_being_started_reaches_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    popen = subprocess.Popen

    def start(command: list[str], **options: Any) -> Any:
        process = popen(["sleep", "60"], **options)
        os.kill(os.getpid(), signal.SIGINT)
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    begin = time.monotonic()
    outcome = Runner(LocalExecutor(1), lambda running: None, every=0.05).run(
        plan(make_jobs("small.toml", {}, [0], Path("runs"), None))
    )
    assert outcome.stopped_by == signal.SIGINT
    assert time.monotonic() - begin < 30


def test_the_log_that_a_killed_command_left_is_removed(place: Path, in_process: None) -> None:
    assert call("train", "small.toml", "--seeds", "0").exit_code == 0
    log = place / "runs" / "small-seed0.log"
    log.write_text("training")
    assert "1 finished" in call("train", "small.toml", "--seeds", "0").output
    assert not log.exists()


def test_at_most_so_many_at_a_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that do nothing for a while."""
    popen, seen = subprocess.Popen, []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: popen(["sleep", "0.3"], **options))
    found = plan(make_jobs("small.toml", {}, range(3), Path("runs"), None))
    outcome = Runner(LocalExecutor(2), lambda running: seen.append(len(running)), every=0.05).run(found)
    assert len(outcome.finished) == 3
    assert max(seen) == 2


def test_groups_are_named_by_what_was_set() -> None:
    assert group_name({}) == ""
    assert group_name({"train.device": "cpu", "train.threads": 2}) == "", "these change no result's meaning"
    assert group_name({"agent.learning_rate": 1e-3, "agent.double": True}) == "learning_rate=0.001,double=True"
    assert group_name({"train.num_envs": 2, "evaluation.num_envs": 3}) == ("train.num_envs=2,evaluation.num_envs=3")
    assert group_name({"env.id": "a/b c"}) == "id=a-b-c"
    assert re.fullmatch(r"[0-9a-f]{12}", group_name({"env.id": "x" * 300}))
    assert group_name({"env.id": "x" * 300}) != group_name({"env.id": "x" * 301})


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    content = {"curve": [{"env_steps": step, "return_mean": 1.25} for step in range(1, 2001)], "final": {}}
    text = small(content)
    assert len(text) <= LARGEST
    curve = json.loads(text)["curve"]
    assert curve[-1]["env_steps"] == 2000
    assert len(curve) > 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--seeds", "0-1", "--run", "x"), "--run"),
        (("--seeds", "0-1", "--seed", "3"), "--seed"),
        (("--jobs", "2"), "--seeds"),
        (("--seeds", "x"), "0-9"),
        (("--seeds", "0-1", "--set", "agent.nam=1"), "agent.nam"),
    ],
)
def test_what_train_cannot_do(place: Path, arguments: tuple[str, ...], words: str) -> None:
    done = call("train", "small.toml", *arguments)
    assert done.exit_code == 2
    assert words in done.output
    assert not (place / "runs").exists()
