"""What a run that is trained from Python tells."""

from __future__ import annotations

from pathlib import Path

import pytest

import rlkit
from rlkit.config.load import load
from rlkit.runs import progress
from rlkit.runs.directory import RunDirectory


def test_lines_say_how_far_a_run_is(small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    lines: list[str] = []
    rlkit.train(load(small_config), run=tmp_path / "run", on_progress=progress.progress_lines(400, lines.append))
    assert [line.split(",")[0] for line in lines] == [f"step {step} of 400" for step in (100, 200, 300, 400)]
    assert all("return " in line for line in lines)
    assert "left" in lines[-1]


def test_a_finished_run_has_a_score(small_run: Path, tmp_path: Path) -> None:
    run = RunDirectory(small_run)
    assert run.score == pytest.approx(rlkit.evaluate_run(small_run).scores.returns.mean())
    assert RunDirectory(tmp_path).score is None
