"""Every file that a command writes is complete or not there: a full disk leaves neither half a file nor a temporary."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.command import call
from rlkit.metrics.sinks import ImageSink, SinkContext
from rlkit.runs.directory import RunDirectory
from rlkit.training.parts import Part
from rlkit.types import Image

COMMANDS = {
    "card": ["card", "RUN", "--out", "out.md"],
    "compare": ["compare", "RUN", "--out", "out.svg"],
    "evaluate": ["evaluate", "RUN", "--episodes", "1", "--out", "out.json"],
    "episodes": ["episodes", "RUN", "--json", "out.json"],
    "export": ["export", "RUN", "--out", "out.onnx"],
    "pack": ["pack", "RUN", "--out", "out.zip"],
    "plot": ["plot", "RUN", "--y", "episode/return", "--out", "out.png"],
    "report": ["report", "RUN", "--html", "out.html"],
    "video": ["evaluate", "RUN", "--episodes", "1", "--set", "evaluation.num_envs=1", "--video", "out.mp4"],
}


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Fills the disk: what was written cannot be made durable."""

    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    return lambda: monkeypatch.setattr(os, "fsync", fsync)


SLOW = ("export", "video")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in COMMANDS]
)
def test_a_full_disk_leaves_no_part_of_a_file(
    name: str, small_run: Path, tmp_path: Path, full: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = shutil.copytree(small_run, tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    full()
    done = call(*(str(run) if word == "RUN" else word for word in COMMANDS[name]))
    assert done.exit_code == 1, done.output
    assert "No space left on device" in done.output
    assert sorted(tmp_path.rglob("*")) == before


def test_parts_of_the_action_log_and_images(tmp_path: Path, full: Callable[[], None]) -> None:
    """Durable, with their names, before a checkpoint that no longer has these actions."""
    part = Part.of(tmp_path, 0, 0, 5, 7, kept=False)
    (tmp_path / "images").mkdir()
    sink = ImageSink(SinkContext(tmp_path, None, {}, {}, 0))  # type: ignore[arg-type]
    full()
    with pytest.raises(OSError, match="No space left"):
        part.write(np.arange(4))
    with pytest.raises(OSError, match="No space left"):
        sink.write(1, {"train/visits": Image(np.zeros((2, 2, 3), np.uint8))})
    assert [path.name for path in tmp_path.rglob("*")] == ["images"]


def test_the_name_of_a_part_is_durable_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    Part.of(tmp_path, 0, 0, 5, 7, kept=False).write(np.arange(4))
    assert synced[-1] == str(tmp_path.resolve())
    assert len(synced) == 2


def test_what_a_killed_process_left_is_removed_under_the_lock(small_run: Path, tmp_path: Path) -> None:
    run = RunDirectory(Path(shutil.copytree(small_run, tmp_path / "run")))
    (run.path / "images").mkdir(exist_ok=True)
    left = [
        run.tapes / ".env0000-step000000000000-seed5.npy.77",
        run.path / "images" / ".a.png.77",
        run.path / ".run.json.77",
    ]
    for path in left:
        path.touch()
    mine = run.tapes / ".mine"
    mine.touch()
    with run.lock():
        assert not any(path.exists() for path in left)
    assert mine.exists()
