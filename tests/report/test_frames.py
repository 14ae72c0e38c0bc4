"""Results as pandas frames: every number is that of the files."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlkit
from helpers.result_files import ResultWriter
from rlkit.metrics.line_log import read_rows


def test_one_row_a_run(write_result: ResultWriter, tmp_path: Path) -> None:
    for seed in range(2):
        for rate in (1e-3, 2e-3):
            write_result(
                f"in/{rate}-{seed}.json", score=seed + 1000 * rate, seed=seed, config__agent__learning_rate=rate
            )
    frame = rlkit.load_results(tmp_path / "in")
    assert len(frame) == 4
    means = frame.groupby("agent.learning_rate")["return_mean"].mean()
    assert means.to_dict() == {1e-3: 1.5, 2e-3: 2.5}
    assert set(frame["group"]) == {"learning rate 0.001", "learning rate 0.002"}
    assert frame.set_index("run").loc["0.001-1", "return_max"] == 3
    assert frame["finished"].all()


def test_unfinished_runs_have_no_score_and_all_their_points(small_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "result.json").unlink()
    (row,) = rlkit.load_results(str(run)).to_dict("records")
    assert not row["finished"]
    assert np.isnan(row["return_mean"])
    assert (row["env_steps"], row["agent.learning_starts"], row["episodes"]) == (400, 50, 0)
    curve = rlkit.load_curves([run], "episode/return")
    rows = [row for row in read_rows(run / "metrics.jsonl") if "episode/return" in row]
    assert dict(zip(curve["env_steps"], curve["value"], strict=True)) == {
        row["env_steps"]: row["episode/return"] for row in rows
    }
    assert set(rlkit.load_curves([run], "q/*")["metric"]) > {"q/max"}


def test_what_cannot_be_read_is_said(write_result: ResultWriter, tmp_path: Path) -> None:
    path = write_result("a.json")
    with pytest.warns(UserWarning, match="missing does not exist"):
        rlkit.load_results([path, tmp_path / "missing"])
    with pytest.raises(rlkit.ConfigError, match=r"no run has the metric 'no/such'; they have: evaluation/return_mean"):
        rlkit.load_curves(path, "no/such")
    with pytest.raises(rlkit.ConfigError, match="no runs"):
        rlkit.load_results(tmp_path / "none")


def test_without_pandas_there_is_one_line(write_result: ResultWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_result("a.json")
    real = importlib.import_module

    def missing(name: str, *rest: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(
        rlkit.ConfigError, match=r"load_results needs pandas, which is not installed: pip install .*report"
    ):
        rlkit.load_results(path)


def test_the_config_of_a_row_is_that_of_its_file(write_result: ResultWriter) -> None:
    path = write_result("a.json")
    (row,) = rlkit.load_results(path).to_dict("records")
    config = json.loads(path.read_text())["config"]
    assert row["agent.learning_rate"] == config["agent"]["learning_rate"]
    assert row["env.id"] == config["env"]["id"]
