"""`rlkit view`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from helpers.command import call
from rlkit.report.board import SETTINGS, Board, differing


def test_view_serves_the_scalars(small_run: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "rlkit.cli", "view", str(small_run.parent), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http://" in line)
        assert "/#custom_scalars" in line
        address = line.split("http://")[1].split("/")[0]

        def asked(what: str) -> Any:
            with urllib.request.urlopen(f"http://{address}/data/{what}") as answer:
                return json.load(answer)

        for _ in range(100):
            tags = asked("plugin/scalars/tags")
            if tags.get("run"):
                break
        assert "episode/return" in tags["run"]
        folder = Path(asked("environment")["data_location"])
    finally:
        process.terminate()
        process.wait(10)
    assert not folder.exists(), "the folder of links is left over"


def test_the_table_of_settings_has_what_differs_and_new_runs_come_in(small_run: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for name, rate in (("one", "0.001"), ("two", "0.002")):
        run = shutil.copytree(small_run, tmp_path / "runs" / name)
        text = (run / "config.toml").read_text()
        (run / "config.toml").write_text(text.replace("learning_rate = 0.001", f"learning_rate = {rate}"))
    board = Board([tmp_path / "runs"], tmp_path / "board")
    board.update()
    events = EventAccumulator(str(tmp_path / "board" / "two"))
    events.Reload()
    table = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"agent.learning_rate" in table
    assert b"agent.batch_size" not in table
    assert b"final/return_iqm" in events.summary_metadata["_hparams_/experiment"].plugin_data.content
    assert "episode/return" in events.Tags()["scalars"]
    shutil.copytree(small_run, tmp_path / "runs" / "three")
    board.update()
    assert sorted(folder.name for folder in (tmp_path / "board").iterdir()) == ["one", "three", "two"]
    assert len(list((tmp_path / "board" / "three").glob(SETTINGS))) == 1


def test_settings_that_some_runs_lack_differ() -> None:
    assert differing([{"train.seed": 1, "a": 1}, {"train.seed": 1, "a": 1, "b": 2}]) == ["train.seed", "b"]


def test_a_taken_port_is_one_line(small_run: Path, in_process: None) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        done = call("view", small_run.parent, "--port", taken.getsockname()[1])
    assert done.exit_code == 2
    assert "TensorBoard does not start" in done.output
