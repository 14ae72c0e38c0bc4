"""Maps of counts: what training visited, and what the bonus pays there; and observations that maximise a score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rlkit
from helpers.command import call
from rlkit.agent import ScoreFunction
from rlkit.config.load import resolve
from rlkit.look import compose
from rlkit.look.counts import EXAMPLES, been, counts_picture, screen_of
from rlkit.look.maximise import STARTS, maximised
from rlkit.look.playing import load_for_looking
from rlkit.runs.directory import RunDirectory

ROOT = Path(__file__).parents[2]
TABLES: dict[str, Any] = {
    "env": {"name": "gymnasium", "id": "rlkit/DeepSea-v0", "kwargs": {"size": 5}, "signals": "envs.deep_sea:state"},
    "agent": {"name": "dqn", "learning_starts": 20, "bonus": {"beta": 0.2, "count_of": "successor"}},
    "train": {
        "steps": 120, "num_envs": 2, "reseed_after": 20, "sinks": [],
        "visits": {"columns": [1, 0], "low": [0, 0], "high": [5, 6], "cells": [5, 6]},
    },
    "evaluation": {"final_episodes": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    trained = rlkit.train(resolve("sea", TABLES), run=tmp_path_factory.mktemp("run") / "sea")
    return RunDirectory.open(trained.path)


def test_visits_and_bonuses_are_those_of_training(run: RunDirectory) -> None:
    found = been(run, run.config(), lambda done, total: None)
    state = run.checkpoints.load(run.checkpoints.steps()[-1])
    assert found.visits is not None
    assert found.pays is not None
    assert found.visits.tolist() == state["visits"].tolist(), "as training counted them"
    counts = {code.digest: code.count for code in found.codes}
    saved = state["agent"]["bonus"]["states"]
    assert counts.items() <= dict(zip(saved["digest"].tolist(), saved["count"][:, 0].tolist(), strict=True)).items()
    assert found.codes[0].pays == pytest.approx(0.2 / np.sqrt(found.codes[0].count))
    bottom = found.visits[4]
    rows = [code.count for code in found.codes]
    assert rows == sorted(rows, reverse=True)
    assert np.nanmax(found.pays[1:5]) == pytest.approx(0.2 / np.sqrt(found.visits[1:5][found.visits[1:5] > 0].min()))
    assert np.isnan(found.pays[4][bottom == 0]).all()


def test_an_example_of_a_code_is_a_state_with_it(run: RunDirectory) -> None:
    """DeepSea's picture has the agent in white: it is where the code's observation has its 1."""
    config = run.config()
    found = been(run, config, lambda done, total: None)
    assert found.visits is not None
    code = next(code for code in found.codes if code.steps % 5 == 2)  # in the third row of an episode
    white = np.argwhere((screen_of(config, code) == 240).all(-1)).mean(0) // 48
    assert white[0] == 2
    assert found.visits[2, int(white[1])] == code.count


def test_pictures_from_the_command_line(run: RunDirectory, tmp_path: Path) -> None:
    done = call("explain", run.path, "--counts", "--out", tmp_path / "grid.png")
    assert done.exit_code == 0, done.output
    assert "codes were met" in done.output
    assert (tmp_path / "grid.png").stat().st_size < 100_000
    refused = call("explain", ROOT / "pretrained" / "cartpole", "--counts")
    assert "has no checkpoint, which holds the counts" in refused.output.replace("\n", " ")
    assert call("explain", run.path, "--counts", "--maximise").exit_code == 2


def test_without_positions_examples_of_codes_are_drawn(run: RunDirectory) -> None:
    config = run.config()
    found = replace(been(run, config, lambda done, total: None), visits=None, pays=None)
    figure = counts_picture(run, config, found)
    titles = [axis.get_title().replace("\n", " ") for axis in figure.axes]
    common, rare = found.codes[0], min(found.codes[EXAMPLES:], key=lambda code: (code.count, code.steps))
    assert titles[0] == f"{common.count:,} visits bonus now {common.pays:.2g}"
    assert titles[EXAMPLES].startswith(f"{rare.count:,} visit")


def test_the_ascent_finds_observations_of_higher_scores() -> None:
    loaded = load_for_looking(ROOT / "pretrained" / "cartpole")
    found = maximised(loaded, lambda done, total: None)
    assert found.observations.shape == (2, STARTS, 4)
    assert (found.scores > found.usual[:, None]).all()
    values = loaded.policy.values(found.observations[1])  # type: ignore[attr-defined]
    assert np.allclose(values[:, 1], found.scores[1], rtol=1e-4)
    left, right = found.observations.mean(1)
    assert left[3] < right[3], "the pole turns to the side that the cart is pushed to"


def test_cells_of_codes_are_exchanged_while_that_gains_enough() -> None:
    def function(inputs: torch.Tensor) -> torch.Tensor:
        return (inputs[..., 0] == 5).sum((1, 2), dtype=torch.float32)[:, None]

    score = ScoreFunction("logits", (), np.zeros(1, np.int64), lambda obs: obs, function, torch.nn.Linear(1, 1))
    start = np.array([[[5, 0, 0], [1, 0, 0]], [[2, 1, 0], [1, 0, 0]]], np.uint8)
    choices = np.array([[1, 0, 0], [5, 3, 1]], np.uint8)
    found, value = compose._ascent(score, 0, start, choices, 0.5)  # noqa: SLF001
    assert value == 4
    assert found[0, 0].tolist() == [5, 0, 0], "as it was"
    assert (found.reshape(4, 3)[1:] == [5, 3, 1]).all()
    found, value = compose._ascent(score, 0, start, choices, 1.5)  # noqa: SLF001
    assert np.array_equal(found, start)
    tiles = {bytes([5, 3, 1]): np.full((2, 2, 3), 200, np.uint8)}
    drawn = compose.mosaic(np.array([[[0, 0, 0]], [[5, 3, 1]]], np.uint8), tiles)
    assert drawn[..., 0].tolist() == [[compose.UNSEEN] * 2 + [200] * 2] * 2, "the first axis is horizontal"
