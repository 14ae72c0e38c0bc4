"""`rlkit train`: what a run prints and leaves behind, and one clear line for every mistake."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from helpers.command import call


def test_a_run_ends_with_its_score_and_what_to_do_next(small_training: tuple[Path, str]) -> None:
    run, output = small_training
    for word in ("interquartile mean", "Protocol:", "CartPole-v1", "500 steps", "final score"):
        assert word in output
    for command in ("view", "evaluate", "resume"):
        assert f"rlkit {command} {run}" in output


def test_what_a_run_leaves_behind(small_run: Path) -> None:
    info = json.loads((small_run / "run.json").read_text())
    assert info["seed"] == 3
    assert info["threads"] == 1
    assert info["device"] in ("cpu", "cuda", "mps")
    assert {"python", "torch", "gymnasium", "numpy", "rlkit"} <= set(info["versions"])
    result = json.loads((small_run / "result.json").read_text())
    assert result["env_steps"] == 400
    assert result["updates"] == (400 - 50) // 4
    assert len(result["final"]["returns"]) == 5
    assert [row["env_steps"] for row in result["curve"]] == [200, 400]
    assert result["protocol"]["evaluation epsilon"] == "0"
    assert (small_run / "result.json").stat().st_size < 20_000


def test_the_written_config_repeats_the_run(small_run: Path, tmp_path: Path) -> None:
    assert call("train", small_run / "config.toml", "--run", tmp_path / "again").exit_code == 0
    first, second = (json.loads((path / "result.json").read_text()) for path in (small_run, tmp_path / "again"))
    for key in ("experiment", "digest", "curve", "final", "updates", "config"):
        assert first[key] == second[key], key


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("agent.learnig_rate=1", "learning_rate"),
        ("agent.replay_capacity=-1", "agent.replay_capacity"),
        ("env.id=NoSuch-v0", "NoSuch-v0"),
        ("env.id=Pendulum-v1", "Discrete"),
        ("env.name=atarri", "atarri"),
        ("agent.replay_capacity=9999999999999", "GiB"),
        ("agent.network.encoder=nature", "(4,)"),
        ("train.device=cuda:7", "cuda:7"),
        ("train.sinks=[\"nowhere\"]", "nowhere"),
        ("env.wrappers=[\"gymnasium.wrappers:NormalizeReward\"]", "NormalizeReward"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_writes_nothing(small_config: Path, tmp_path: Path, setting: str, words: str) -> None:
    folder = tmp_path / "never"
    done = call("train", small_config, "--run", folder, "--set", setting)
    assert done.exit_code == 2, done.output
    message = done.output[done.output.index("Error:") :].strip()
    assert words in message
    assert len(message.splitlines()) == 1
    assert "Traceback" not in done.output
    assert not folder.exists()


def test_a_run_is_never_overwritten(small_run: Path, small_config: Path) -> None:
    before = (small_run / "result.json").read_text()
    done = call("train", small_config, "--run", small_run)
    assert done.exit_code == 2
    assert f"rlkit resume {small_run}" in done.output
    assert (small_run / "result.json").read_text() == before


def test_the_cost_of_a_long_run_is_said_before_it_starts(
    small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["rlkit.cli.train"], "LONG", 60)
    output = call("train", small_config, "--steps", 60, "--run", tmp_path / "run").output
    assert "60 steps: about 1 seconds on this machine; replay: 50,000 steps, " in " ".join(output.split())


def test_default_names_are_free_ones(small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("small-seed0", "small-seed0-2"):
        done = call("train", small_config, "--steps", 60)
        assert done.exit_code == 0
        assert ("runs/small-seed0 exists" in done.output) == (name == "small-seed0-2")
        assert (tmp_path / "runs" / name / "result.json").exists()


def test_a_run_that_ended_early_says_so_and_shows_its_pictures(tmp_path: Path) -> None:
    """Going on would end at once."""
    changes = ["env.kwargs.size=3", "agent.learning_starts=50", "evaluation.every=60", "evaluation.stop.at_least=-1"]
    changes += ["evaluation.episodes=2", "evaluation.final_episodes=3"]
    settings = [word for change in changes for word in ("--set", change)]
    output = call("train", "deep-sea", "--run", str(tmp_path / "run"), *settings).output
    assert "solved after 180 steps" in output
    assert "the first 2 of the 3 episodes decided that" in output
    assert "rlkit resume" not in output
    assert "images/train-visits.png" in output.replace("\n", "")
