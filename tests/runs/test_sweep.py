"""Sweep files: which settings they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlkit.config.load import load
from rlkit.errors import ConfigError
from rlkit.runs.sweep import load_sweep


def sweep(place: Path, text: str) -> Path:
    path = place / "sweep.toml"
    path.write_text(text)
    return path


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    found = load_sweep(
        sweep(
            tmp_path,
            'config = ["a", "b"]\n[set]\ntrain.steps = 9\n[grid]\nagent.learning_rate = [1e-3, 1e-4]\n'
            '"agent.double" = [true, false]\n',
        )
    )
    assert found.configs() == ["a", "b"]
    assert found.settings() == [
        {"train.steps": 9, "agent.learning_rate": rate, "agent.double": double}
        for rate in (1e-3, 1e-4)
        for double in (True, False)
    ]


def test_random_draws_come_from_the_stated_seed_and_lie_in_their_ranges(tmp_path: Path) -> None:
    text = (
        'config = "a"\n[random]\ndraws = 300\nseed = 1\n[random.keys]\n'
        "agent.learning_rate = { low = 1e-5, high = 1e-1, log = true }\n"
        "agent.n_step = { low = 1, high = 5 }\nagent.loss = ['huber', 'mse']\n"
    )
    points = load_sweep(sweep(tmp_path, text)).settings()
    assert points == load_sweep(sweep(tmp_path, text)).settings()
    assert points != load_sweep(sweep(tmp_path, text.replace("seed = 1", "seed = 2"))).settings()
    rates = np.array([point["agent.learning_rate"] for point in points])
    assert 1e-5 <= rates.min() < rates.max() <= 1e-1
    assert 0.4 < (rates < 1e-3).mean() < 0.6, "as many below the middle decade as above"
    assert {point["agent.n_step"] for point in points} == {1, 2, 3, 4, 5}
    assert {point["agent.loss"] for point in points} == {"huber", "mse"}


def test_a_key_called_low_outside_of_ranges_is_a_key(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text('config = "deep-sea"\n[set]\ntrain.visits.low = [0, 0]\ntrain.visits.high = [4, 5]\n')
    assert load_sweep(path).settings() == [{"train.visits.low": [0, 0], "train.visits.high": [4, 5]}]


def test_a_point_overrides_what_is_set_for_all(tmp_path: Path) -> None:
    text = 'config = "cartpole"\n[set]\nagent.double = false\ntrain.steps = 5\n[grid]\nagent.double = [true]\n'
    assert load_sweep(sweep(tmp_path, text)).settings() == [{"agent.double": True, "train.steps": 5}]


def test_an_empty_table_replaces_that_of_the_base(tmp_path: Path) -> None:
    text = 'config = "memory/chain"\n[set]\nenv.kwargs = {}\ntrain.steps = 9\n[grid]\nagent.learning_rate = [1e-3]\n'
    (values,) = load_sweep(sweep(tmp_path, text)).settings()
    assert values == {"env.kwargs": {}, "train.steps": 9, "agent.learning_rate": 1e-3}
    assert load("memory/chain", {"env.id": "CartPole-v1", **values}).env.kwargs == {}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ("{ low = 1e-2, high = 1e-5 }", "low 0.01 must be below high 1e-05"),
        ("{ low = 1e-2 }", "high: missing"),
        ("5", "give a table with low and high, or a list of choices, got 5"),
    ],
)
def test_values_that_are_no_range_and_no_list_are_refused(values: str, problem: str, tmp_path: Path) -> None:
    text = f'config = "a"\n[random]\ndraws = 3\n[random.keys]\nagent.learning_rate = {values}\n'
    with pytest.raises(ConfigError, match=rf"random\.keys\.agent\.learning_rate.*{problem}") as refused:
        load_sweep(sweep(tmp_path, text))
    assert "\n" not in str(refused.value)
