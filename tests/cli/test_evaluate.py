"""`rlkit evaluate`."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

import rlkit
from helpers.command import call
from rlkit.runs.pack import pack


@pytest.mark.parametrize(("checkpoint", "steps"), [("last", 400), ("best", None), ("400", 400)])
def test_evaluate_states_the_protocol_and_writes_json(small_run: Path, checkpoint: str, steps: int | None) -> None:
    done = call("evaluate", small_run, "--checkpoint", checkpoint, "--episodes", 7)
    assert done.exit_code == 0
    assert "Protocol: " in done.output
    written = json.loads((small_run / "evaluation.json").read_text())
    assert len(written["returns"]) == 7
    assert steps in (None, written["env_steps"])
    assert written["return_mean"] == pytest.approx(np.mean(written["returns"]))
    low, high = written["return_iqm_interval_95"]
    assert low <= written["return_iqm"] <= high


def test_evaluating_again_gives_the_final_score(small_run: Path) -> None:
    call("evaluate", small_run)
    result = json.loads((small_run / "result.json").read_text())
    assert json.loads((small_run / "evaluation.json").read_text())["returns"] == result["final"]["returns"]


def test_the_best_policy_is_scored_in_other_episodes_than_those_that_chose_it(small_run: Path, tmp_path: Path) -> None:
    """Also after it was packed. The last policy is scored as it was at the end of training."""
    best = rlkit.evaluate_run(small_run, checkpoint="best")
    stop = best.env_steps  # the same policy as a checkpoint
    curve = [row for row in json.loads((small_run / "result.json").read_text())["curve"] if row["env_steps"] == stop]
    overrides = {"evaluation.final_episodes": 2}
    chosen_by = rlkit.evaluate_run(small_run, checkpoint="best", overrides=overrides).scores.returns.mean()
    assert curve[0]["return_mean"] != chosen_by
    assert "none of those that chose the policy" in best.protocol["evaluation"]
    last = rlkit.evaluate_run(small_run)
    assert last.protocol["evaluation"] == "5 separate episodes, fixed seeds"
    pack(small_run, tmp_path / "best.zip", "best")
    with zipfile.ZipFile(tmp_path / "best.zip") as archive:
        archive.extractall(tmp_path)
    packed = rlkit.evaluate_run(tmp_path / "best")
    assert packed.scores.returns.tolist() == best.scores.returns.tolist() != last.scores.returns.tolist()


def test_a_folder_of_runs_is_refused_with_their_names(small_run: Path, tmp_path: Path) -> None:
    done = call("evaluate", small_run.parent)
    assert done.exit_code == 2
    assert f"it is a folder of runs, name one of them: {small_run}" in done.output
    assert "it does not exist" in call("evaluate", tmp_path / "nowhere").output


def test_all_kept_checkpoints_make_a_curve(small_run: Path, tmp_path: Path) -> None:
    done = call("evaluate", small_run, "--checkpoint", "all", "--episodes", 3, "--out", tmp_path / "curve.json")
    assert done.exit_code == 0, done.output
    curve = json.loads((tmp_path / "curve.json").read_text())["curve"]
    kept = sorted(int(path.name) for path in (small_run / "checkpoints").iterdir() if path.name.isdigit())
    assert [each["env_steps"] for each in curve] == kept
    assert all(len(each["returns"]) == 3 for each in curve)
    assert call("evaluate", small_run, "--checkpoint", "all", "--video", "x.mp4").exit_code == 2


def test_an_unknown_checkpoint_is_refused_with_the_known_ones(small_run: Path) -> None:
    done = call("evaluate", small_run, "--checkpoint", "123")
    assert done.exit_code == 2
    assert "last, best, 400" in done.output


@pytest.mark.parametrize(
    ("name", "episodes", "least"),
    [("cartpole", 10, 400), ("minatar-breakout", 30, 3), ("doorkey", 20, 0.9), ("doorkey-hdqn", 1, 0.9)],
)
def test_the_trained_policies_in_the_repository_play(name: str, episodes: int, least: float, tmp_path: Path) -> None:
    run = Path(__file__).parents[2] / "pretrained" / name
    assert sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) < 1_000_000
    done = call("evaluate", run, "--episodes", episodes, "--out", tmp_path / "scores.json")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "scores.json").read_text())["return_mean"] >= least


@pytest.mark.parametrize("command", ["evaluate", "explain", "attack", "probe", "episodes"])
def test_what_cannot_be_written_is_not_played(
    command: str, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only run, also for a user who may write everywhere."""

    def refused(path: Path, mode: int) -> bool:
        return mode != os.W_OK

    def played(*arguments: object, **options: object) -> None:
        raise AssertionError("it was played")

    monkeypatch.setattr(os, "access", refused)
    monkeypatch.setattr("rlkit.runs.policy.load_policy", played)
    monkeypatch.setattr("rlkit.runs.evaluate.evaluate_run", played)
    monkeypatch.setattr("rlkit.look.playing.load_policy", played)
    monkeypatch.setattr("rlkit.look.episodes.list_episodes", played)
    done = call(command, small_run, *(["--json", tmp_path / "all.json"] if command == "episodes" else []))
    assert done.exit_code == 2, done.output
    assert "cannot be written; name another file" in done.output
