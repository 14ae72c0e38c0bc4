"""Aggregate scores and their intervals, against values by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from helpers.command import call
from helpers.result_files import ResultWriter
from rlkit.errors import ConfigError
from rlkit.report import scores
from rlkit.training.evaluation import bootstrap_interval, iqm


def test_scores_by_hand() -> None:
    values = np.array([[1.0], [2.0], [3.0], [4.0], [100.0]])
    found = scores.aggregate(values)
    assert found["interquartile mean"].value == 3
    assert found["mean"].value == 22
    assert found["median"].value == 3
    games = np.array([[0.0, 2.0], [1.0, 4.0], [0.5, 0.0]])  # the tasks' means are 0.5 and 2
    assert scores.aggregate(games)["median"].value == 1.25
    assert scores.optimality_gap(games).value == pytest.approx(1 - (0 + 1 + 1 + 1 + 0.5 + 0) / 6)
    assert scores.probability_of_improvement(np.array([[1.0], [3.0]]), np.array([[2.0], [3.0]])).value == 3 / 8
    assert scores.difference(values, values - 2).value == 2


def test_rliable_and_the_engine_agree_on_one_task() -> None:
    values = np.random.default_rng(0).normal(size=11)
    found = scores.aggregate(values[:, None])["interquartile mean"]
    assert found.value == pytest.approx(iqm(values))
    low, high = bootstrap_interval(values, resamples=20_000)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.05), pytest.approx(high, abs=0.05))


def test_an_interval_is_the_same_at_every_call_whatever_the_global_generator() -> None:
    values = np.random.default_rng(0).normal(size=(6, 2))
    first = scores.aggregate(values)
    np.random.seed(5)  # noqa: NPY002  rliable itself would draw from it
    assert scores.aggregate(values) == first
    assert scores.difference(values, values[:4]) == scores.difference(values, values[:4])


def test_resampling_stays_within_a_task() -> None:
    """Tasks on scales 0 and 1000 with no spread within: whatever is drawn, the mean is 500."""
    values = np.tile([[0.0, 1000.0]], (5, 1))
    found = scores.aggregate(values)["mean"]
    assert (found.value, found.low, found.high) == (500, 500, 500)


def test_the_interval_covers_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "RESAMPLES", 200)
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        found = scores.aggregate(rng.normal(size=(20, 1)))["mean"]
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert 0.85 <= hits / 60 <= 1


@pytest.mark.parametrize("runs", [1, 2])
def test_no_interval_from_too_few_runs(runs: int) -> None:
    values = np.arange(runs, dtype=float)[:, None]
    assert scores.aggregate(values)["mean"].low is None
    assert scores.probability_of_improvement(values, np.ones((5, 1))).low is None
    assert scores.curve_interval(np.ones((runs, 4))) is None


def test_what_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"needs no_such_module.*\[report\]"):
        scores.needed("no_such_module.part", "an interval")


def test_without_the_extra_the_command_says_what_to_install(
    write_result: ResultWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("rliable", "rliable.metrics", "rliable.library"):
        monkeypatch.setitem(sys.modules, module, None)
    done = call("compare", write_result("a.json"))
    assert done.exit_code == 2
    assert "needs rliable, which is not installed: pip install -c constraints.txt -e '.[report]'" in done.output


@pytest.mark.parametrize("seed", range(5))
def test_direct_statistics_are_those_of_rliable(seed: int) -> None:
    metrics = pytest.importorskip("rliable.metrics")
    rng = np.random.default_rng(seed)
    mine, theirs = (np.round(rng.normal(size=(runs, 3)), 1) for runs in (9, 7))  # rounded: with ties
    assert iqm(mine.reshape(-1)) == pytest.approx(metrics.aggregate_iqm(mine))
    assert scores.chance_of_improvement(mine, theirs) == pytest.approx(metrics.probability_of_improvement(mine, theirs))
