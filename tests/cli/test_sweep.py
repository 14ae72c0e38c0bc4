"""`rlkit sweep`."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.command import call


def sweep(place: Path, text: str) -> Path:
    path = place / "sweep.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("config = ", "not valid TOML"),
        ("seeds = 1", "config"),
        ('config = "a"\n[gird]\nx = [1]', "grid"),
        ('config = "a"\n[grid]\nagent.n_step = 3', "grid.agent.n_step"),
        ('config = "a"\n[grid]\nagent.n_step = []', "agent.n_step has no values"),
        ('config = "a"\n[grid]\nx = [1]\n[random]\ndraws = 1\nkeys = {}', "not both"),
        ('config = "a"\n[random]\ndraws = 1\n[random.keys]\nx = { low = 2, high = 1 }', "below"),
        ('config = "a"\n[random]\ndraws = 1\n[random.keys]\nx = { low = 0, high = 1, log = true }', "above 0"),
        ('config = "small.toml"\n[grid]\nagent.n_stepp = [1]', "n_stepp"),
        ('config = "nowhere"', "no config"),
    ],
)
def test_a_sweep_that_is_none(place: Path, text: str, words: str) -> None:
    done = call("sweep", sweep(place, text))
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert not (place / "runs").exists()


def test_a_sweep_runs_and_is_compared(place: Path, in_process: None) -> None:
    path = sweep(place, 'config = "small.toml"\nseeds = "0-1"\n[grid]\nevaluation.epsilon = [0.0, 0.5]\n')
    done = call("sweep", path, "--data", "data")
    assert done.exit_code == 0, done.output
    names = sorted(file.name for file in (place / "data" / "small").iterdir())
    assert names == [f"epsilon={value}-seed{seed}.json" for value in ("0", "0.5") for seed in (0, 1)]
    assert "epsilon 0.5" in done.output
    assert "neither averaged" in done.output, "another evaluation epsilon is another protocol"
    assert call("sweep", "nowhere.toml").exit_code == 2


def test_a_named_sweep_tells_its_runs_apart_by_what_varies(place: Path, in_process: None) -> None:
    text = (
        'config = "small.toml"\nname = "two"\n[set]\nagent.name = "random"\n[grid]\nevaluation.epsilon = [0.0, 0.5]\n'
    )
    assert call("sweep", sweep(place, text), "--data", "data").exit_code == 0
    assert sorted(file.name for file in (place / "data" / "two").iterdir()) == [
        "epsilon=0-seed0.json",
        "epsilon=0.5-seed0.json",
    ]
