"""The sinks for trackers: what is written offline is read back; a sink that fails ends nothing."""

from __future__ import annotations

import json
import struct
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlkit
from helpers.command import call
from rlkit.metrics.line_log import read_rows
from rlkit.metrics.tracked import Tracked
from rlkit.metrics.trackers import WandbSink
from rlkit.runs.publish import publish_video

OTHER = {"train.sinks": ["helpers.broken_sink:Broken"], "train.log_every": 50}


@pytest.mark.parametrize("where", ["open", "write", "close"])
def test_a_sink_that_fails_ends_no_training(place: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helpers.broken_sink.WHERE", where)
    with pytest.warns(UserWarning, match="helpers.broken_sink:Broken failed and is left out: ConnectionError: no net"):
        run = rlkit.train("small.toml", OTHER)
    assert run.score is not None
    assert read_rows(run.metrics)[-1]["final/return_mean"] > 0


@pytest.mark.parametrize(("name", "package"), [("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_missing_package_is_named_before_anything_is_written(
    place: Path, name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    if name == "mlflow":
        monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    done = call("train", "small.toml", "--set", f'train.sinks=["{name}"]')
    assert done.exit_code == 2
    assert f'the sink "{name}" needs ' in done.output
    assert f"pip install -c constraints.txt -e '.[{name}]'" in done.output
    assert not (place / "runs").exists()


def test_the_tracked_run_of_somebody_else_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forged identifier, one of another account, and one that was copied from another folder of this one."""
    (mine, theirs) = (tmp_path / name for name in ("mine", "theirs"))
    mine.mkdir()
    theirs.mkdir()
    Tracked(mine).write("wandb", "abc")
    Tracked(mine).write("mlflow", "def")
    assert [Tracked(mine).read(name) for name in ("wandb", "mlflow", "other")] == ["abc", "def", None]
    assert WandbSink.knows(mine)
    marked = (mine / "tracking.json").read_text()
    forged = ['{"wandb": "abc"}', '{"wandb": "abc", "marks": {"wandb": null}}', '{"wandb": "abc", "marks": 3}', marked]
    for text in forged:
        (theirs / "tracking.json").write_text(text)
        with pytest.warns(UserWarning, match="recorded for another folder or by another account"):
            assert Tracked(theirs).read("wandb") is None
    (theirs / "tracking.json").write_text('{"wandb": ["abc"]}')
    assert Tracked(theirs).read("wandb") is None
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another account"))
    with pytest.warns(UserWarning, match="by another account"):
        assert not WandbSink.knows(mine)
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/nowhere")
    with pytest.warns(UserWarning, match="by another account"):
        assert Tracked(mine).read("wandb") is None
    Tracked(theirs).write("wandb", "no key, no mark")
    with pytest.warns(UserWarning, match="by another account"):
        assert Tracked(theirs).read("wandb") is None


def test_a_video_goes_to_no_tracked_run_of_somebody_else(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rlkit.train("small.toml")
    config = run.path / "config.toml"
    config.write_text(config.read_text().replace('"tensorboard"', '"wandb"'))
    (run.path / "tracking.json").write_text('{"wandb": "abc"}')
    monkeypatch.setattr(WandbSink, "__init__", lambda sink, context: pytest.fail("nothing may be sent"))
    with pytest.warns(UserWarning, match="is not continued"):
        assert publish_video(run.path, video(place), {}, 200) == []


def wandb_records(file: Path) -> list[Any]:
    """The records of an offline run: a log of LevelDB's format, in blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    data, at, part, found = file.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            found.append(record)
            part = b""
    return found


def video(place: Path) -> Path:
    (place / "play.mp4").write_bytes(b"\0" * 100)
    return place / "play.mp4"


@pytest.mark.extra
def test_wandb_offline_holds_the_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs the extra `wandb`: run `make test-extras`")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = rlkit.train("small.toml", {"train.sinks": ["wandb"]}, run="runs/tracked")
    assert publish_video(run.path, video(place), {}, 200) == ["wandb"]
    files = sorted((place / "wandb").glob("offline-run-*/run-*.wandb"))
    identifier = json.loads((run.path / "tracking.json").read_text())["wandb"]
    assert [file.stem for file in files] == [f"run-{identifier}"] * 2, "the video belongs to the same run"
    records = wandb_records(files[0])
    (described,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    config = {(item.key or item.nested_key[0]): item.value_json for item in described.config.update}
    assert described.display_name == "tracked"
    assert config["agent.name"] == '"random"'
    assert "CartPole-v1" in config["protocol"]
    rows = [
        {(item.key or item.nested_key[0]): item.value_json for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    final = read_rows(run.metrics)[-1]["final/return_iqm"]
    assert [json.loads(row["final/return_iqm"]) for row in rows if "final/return_iqm" in row] == [final]
    assert [json.loads(row["env_steps"]) for row in rows if "evaluation/return_mean" in row] == [100, 200]
    deadline = time.monotonic() + 30  # wandb's own process may write a moment after the sink is closed
    while not any(
        "evaluation/video" in (item.key or item.nested_key[0])
        for record in wandb_records(files[1])
        for item in record.history.item
    ):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.extra
def test_mlflow_offline_holds_the_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra `mlflow`: run `make test-extras`")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/tracked.db")
    mlflow.set_tracking_uri(f"sqlite:///{place}/tracked.db")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the sink", category=UserWarning)
        run = rlkit.train("small.toml", {"train.sinks": ["mlflow"]}, run="runs/tracked")
        assert publish_video(run.path, video(place), {}, 200) == ["mlflow"]
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("rlkit").experiment_id])
    assert found.info.run_name == "tracked"
    assert found.info.status == "FINISHED"
    assert found.data.params["agent.name"] == "random"
    assert "CartPole-v1" in found.data.tags["protocol.environment"]
    assert found.data.metrics["final/return_iqm"] == read_rows(run.metrics)[-1]["final/return_iqm"]
    history = client.get_metric_history(found.info.run_id, "evaluation/return_mean")
    assert [metric.step for metric in history] == [100, 200]
    assert {item.path for item in client.list_artifacts(found.info.run_id)} >= {"config.toml", "evaluation"}


@pytest.mark.extra
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_pictures_arrive(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(name, reason=f"needs the extra `{name}`: run `make test-extras`")
    from rlkit.config.load import load
    from rlkit.metrics import trackers
    from rlkit.metrics.sinks import SinkContext
    from rlkit.types import Histogram, Image

    monkeypatch.setenv("WANDB_MODE", "offline")
    if name == "mlflow":
        sys.modules["mlflow"].set_tracking_uri(f"sqlite:///{place}/tracked.db")
    (place / "run").mkdir()
    context = SinkContext(place / "run", load("small.toml"), {"agent.n_step": 3}, {"a b": "c"}, 0)
    sink = {"wandb": trackers.WandbSink, "mlflow": trackers.MLflowSink}[name](context)
    sink.write(7, {"a%b": 1.0, "h": Histogram(np.arange(9.0)), "train/visits": Image(np.zeros((8, 8, 3), np.uint8))})
    sink.close()
    assert list(place.rglob("*visits*.png")) or list(place.rglob("media/images/train/visits*.png"))
