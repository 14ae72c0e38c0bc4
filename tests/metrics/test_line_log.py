"""The log that every run writes, and how resuming cuts it back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from rlkit.metrics.line_log import LineLog, read_rows
from rlkit.types import Histogram, Image


def test_scalars_are_written_at_once_and_pictures_left_out(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "metrics.jsonl", resumed_at=0)
    pictures = {"weights": Histogram(np.zeros(3)), "visits": Image(np.zeros((2, 2, 3), np.uint8))}
    log.write(10, {"loss/td": 0.5, "progress/updates": 3, **pictures})
    assert read_rows(tmp_path / "metrics.jsonl") == [{"env_steps": 10, "loss/td": 0.5, "progress/updates": 3}]
    log.close()


def test_resuming_keeps_the_rows_up_to_the_checkpoint_and_no_final_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [{"env_steps": 10, "a": 1.0}, {"env_steps": 20, "a": 2.0}, {"env_steps": 20, "final/return_mean": 3.0}]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"env_steps": 30, "a": 4.0}]) + '{"env_st')
    log = LineLog(path, resumed_at=20)
    log.write(25, {"a": 5.0})
    log.close()
    assert read_rows(path) == [*rows[:2], {"env_steps": 25, "a": 5.0}]


def test_the_metrics_file_has_the_scalars(small_run: Path) -> None:
    rows = read_rows(small_run / "metrics.jsonl")
    assert [row["env_steps"] for row in rows] == [100, 200, 200, 300, 400, 400, 400]
    names = {name for row in rows for name in row}
    wanted = {
        "episode/return", "episode/length", "evaluation/return_mean", "loss/td", "q/mean", "q/max", "q/td_error",
        "gradient/norm", "explore/epsilon", "replay/fill", "time/env_steps_per_second", "time/updates_per_second",
        "progress/updates", "final/return_iqm",
    }  # fmt: skip
    assert wanted <= names


def test_rows_that_are_kept_are_durable_before_they_replace_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power failure soon after resuming leaves an empty file."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"env_steps": 10, "a": 1.0}\n{"env_steps": 20, "a": 2.0}\n')
    done: list[tuple[str, str]] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        done.append(("durable", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))
        real_fsync(descriptor)

    def replace(source: Path, target: Path) -> Path:
        done.append(("replaced", target.name))
        return real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    LineLog(path, resumed_at=10).close()
    temporary = f".metrics.jsonl.{os.getpid()}"
    assert done == [("durable", temporary), ("replaced", path.name), ("durable", tmp_path.name)]
    assert [row["env_steps"] for row in read_rows(path)] == [10]
