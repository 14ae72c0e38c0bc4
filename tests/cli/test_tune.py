"""`rlkit tune`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rlkit
from helpers.command import call
from rlkit.runs.tuning.search import Search

pytest.importorskip("optuna", reason="needs the extra `tune`: run `make install`")
HEAD = 'config = "small.toml"\n[set]\nevaluation.every = 50\n'
EPSILON = "[search.keys]\nevaluation.epsilon = [0.0, 0.5, 1.0]\n"


def sweep(place: Path, text: str, name: str = "s") -> Path:
    path = place / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD, "needs one config and the table [search]"),
        (HEAD + "[search]\ntrials = 2", "search.keys"),
        (HEAD + "[search]\n" + EPSILON, "trials is missing"),
        (HEAD + "[search]\ntrials = 2\n[search.keys]\nagent.n_stepp = [1]", "n_stepp"),
        (HEAD + "[search]\ntrials = 2\n[search.keys]\ntrain.num_envs = { low = 3, high = 2 }", "low 3 must be below"),
        (HEAD + "[search]\ntrials = 2\n[search.keys]\nevaluation.epsilon = { low = 0.5, high = 1.5 }", "less than or"),
        (HEAD + "[search]\ntrials = 2\n[search.keys]\nevaluation.epsilon = []", "has no values"),
        (HEAD.replace("50", "0") + "[search]\ntrials = 2\n" + EPSILON, "needs evaluations during training"),
        (HEAD + '[search]\nobjective = "steps_to_solve"\ntrials = 2\n' + EPSILON, "needs evaluation.stop"),
        (HEAD + '[search]\nsampler = "best"\ntrials = 2\n' + EPSILON, "search.sampler"),
        (HEAD + "[grid]\ntrain.steps = [1]\n[search]\ntrials = 2\n" + EPSILON, "not both grid and search"),
    ],
)
def test_a_search_that_is_none(place: Path, text: str, words: str) -> None:
    done = call("tune", sweep(place, text))
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert not (place / "runs").exists()


def test_a_search_ends_in_a_config_that_trains(place: Path, in_process: None) -> None:
    path = sweep(place, HEAD + "[search]\ntrials = 3\n" + EPSILON)
    done = call("tune", path, "--confirm", 2)
    assert done.exit_code == 0, done.output
    assert "3 trials complete, 0 pruned, 0 failed" in done.output
    assert "on 2 other seeds" in done.output
    folder = place / "runs" / "s"
    assert (folder / "search.png").stat().st_size > 5000
    assert rlkit.train(folder / "best.toml", run="again").score == Search.opened(path, None).study.best().value  # type: ignore[union-attr]
    assert not list(folder.glob("trial*/checkpoints"))
    again = call("tune", path)
    assert "3 ended" in again.output
    assert "is optimistic, because it was chosen as the best of 3 scores" in again.output
    (place / "small.toml").write_text((place / "small.toml").read_text().replace("steps = 200", "steps = 250"))
    other = call("tune", path)
    assert other.exit_code == 2
    assert "is of another search: train.steps was 200, is 250" in other.output
    assert "'rlkit tune " in call("sweep", path).output


def test_a_trial_that_fails_ends_no_other(place: Path, in_process: None) -> None:
    """Its environment does not exist, which only making it tells."""
    text = HEAD + '[search]\nsampler = "grid"\n[search.keys]\nenv.id = ["Nowhere-v1", "CartPole-v1"]\n'
    done = call("tune", sweep(place, text))
    assert done.exit_code == 0, done.output
    assert "trial 0: failed: trial0000-seed0: " in done.output
    assert "Nowhere" in done.output
    assert "1 trials complete, 0 pruned, 1 failed" in done.output


def test_without_optuna_the_command_says_what_to_install(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = call("tune", sweep(place, HEAD + "[search]\ntrials = 2\n" + EPSILON))
    assert done.exit_code == 2
    assert done.output == (
        "Error: rlkit tune needs optuna, which is not installed: pip install -c constraints.txt -e '.[tune]'\n"
    )


@pytest.mark.slow
def test_a_search_survives_the_death_of_one_of_its_processes(place: Path) -> None:
    """The other one ends the trial of the dead one, whose result is that of a run by itself."""
    text = HEAD.replace("50", "2_000") + 'train.steps = 20_000\n[search]\npruner = "none"\nsampler = "grid"\n'
    path = sweep(place, text + "[search.keys]\nevaluation.epsilon = [0.0, 0.25, 0.5, 0.75]\n")
    command = [sys.executable, "-m", "rlkit.cli", "tune", str(path), "--jobs", "1"]
    first, second = (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)
    )
    lines = [place / "runs" / "s" / f"trial{number:04d}-seed0" / "metrics.jsonl" for number in (0, 1)]
    deadline = time.monotonic() + 120
    while not all(line.exists() and line.stat().st_size > 500 for line in lines):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    output, _ = second.communicate(timeout=170)
    first.communicate()
    assert second.returncode == 0, output
    assert "4 trials complete, 0 pruned, 0 failed" in output
    for number, epsilon in enumerate((0.0, 0.25, 0.5, 0.75)):
        result = json.loads((lines[0].parents[1] / f"trial{number:04d}-seed0" / "result.json").read_text())
        assert result["config"]["evaluation"]["epsilon"] == epsilon
