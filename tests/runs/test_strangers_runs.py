"""A run directory that somebody else made deletes and overwrites nothing, takes no memory and gives no traceback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.command import call
from rlkit.errors import CapacityError, RunError
from rlkit.files import read_json
from rlkit.runs.checkpoint import CheckpointStore, load_state, save_state
from rlkit.runs.contents import clear, others
from rlkit.runs.directory import RunDirectory
from rlkit.runs.pieces import hash_of


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(small_run, tmp_path / "run"))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is none of the run's business."""
    folder = tmp_path / "outside"
    folder.mkdir()
    np.save(folder / "thesis.npy", np.arange(3))
    np.save(folder / f"{'ab' * 20}.npy", np.arange(3))
    (folder / "text").write_text("years of work")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def forge(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes state.json and makes its hash agree."""
    state = json.loads((folder / "state.json").read_text())
    change(state)
    state["tree"] = hash_of(json.dumps([state["objects"], state["state"]]).encode())
    (folder / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("command", ["evaluate", "resume"])
def test_names_of_pieces_that_are_paths(run: Path, outside: Path, command: str, absolute: bool) -> None:
    before = content(outside)
    name = str(outside / "thesis") if absolute else "../../../outside/thesis"

    def use(state: dict[str, Any]) -> None:
        state["objects"] = [name]
        state["state"] = {"env_steps": 10**6, "policy": {"$tensor": [name]}, "config": {"$array": [name]}}

    for folder in (run / "policies" / "final", *(run / "checkpoints").glob("0*")):
        forge(folder, use)
    (run / "result.json").unlink()
    done = call(command, run)
    assert done.exit_code == 2, done.output
    assert "is no name of a piece" in done.output or "is missing" in done.output
    assert content(outside) == before


@pytest.mark.parametrize("name", ["checkpoints/objects", "policies/objects", "tapes", "images"])
@pytest.mark.parametrize("command", ["evaluate", "resume"])
def test_linked_folders(run: Path, outside: Path, name: str, command: str) -> None:
    before = content(outside)
    shutil.rmtree(run / name, ignore_errors=True)
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(outside)
    done = call(command, run, *(["--steps", 500] if command == "resume" else []))
    assert done.exit_code == 2, done.output
    assert f"{run / name} is a link to {outside}" in done.output
    assert content(outside) == before


@pytest.mark.parametrize("name", ["lock", "metrics.jsonl", "metrics.tmp", ".run.json.PROCESS", "result.json"])
def test_linked_files(run: Path, outside: Path, name: str) -> None:
    before = content(outside)
    name = name.replace("PROCESS", str(os.getpid()))
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside / "text")
    done = call("resume", run, "--steps", 500)
    assert done.exit_code == 2, done.output
    assert "is a link to" in done.output
    assert content(outside) == before
    shutil.rmtree(run / "checkpoints")
    (run / "result.json").unlink(missing_ok=True)
    assert call("train", "cartpole", "--run", run).exit_code == 2, "not begun anew over a link either"
    assert content(outside) == before


MINE = [
    "images/holiday.png",
    "tapes/notes.npy",
    "checkpoints/thesis.txt",
    "config.toml",
    "lock",
    "policies/best/a",
]


@pytest.mark.parametrize("name", MINE)
def test_a_folder_of_somebody_is_not_taken_for_a_run_to_begin_anew(
    name: str, tmp_path: Path, small_config: Path
) -> None:
    """A run without a checkpoint is begun anew, which removes its files: only if they are a run's."""
    file = tmp_path / "project" / name
    file.parent.mkdir(parents=True)
    file.write_text("years of work")
    done = call("train", small_config, "--run", tmp_path / "project")
    assert done.exit_code == 2, done.output
    assert f"holds {name}" in done.output or "is no lock" in done.output
    assert file.read_text() == "years of work"
    assert [path for path in (tmp_path / "project").rglob("*") if path.is_file()] == [file]


def test_a_file_of_somebody_in_a_killed_run_is_kept(run: Path, small_config: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    shutil.rmtree(run / "policies")
    (run / "result.json").unlink()
    (run / "tapes" / "notes.txt").write_text("years of work")
    done = call("train", small_config, "--run", run, "--seed", 3)
    assert done.exit_code == 2, done.output
    assert "holds tapes/notes.txt, which is not of a run" in done.output
    (run / "tapes" / "notes.txt").unlink()
    assert others(run) == []
    clear(run)
    assert [path.name for path in run.iterdir()] == ["lock"]


def test_a_kill_while_a_run_is_cleared_leaves_it_one(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rmdir", killed)
    with pytest.raises(KeyboardInterrupt):
        clear(run)
    monkeypatch.undo()
    (run / "result.json").unlink(missing_ok=True)
    assert others(run) == []


def test_a_trial_that_is_a_link_keeps_its_checkpoints(run: Path, tmp_path: Path) -> None:
    """`rlkit tune` removes the checkpoints of its trials; a folder that somebody made may link to a run of yours."""
    link = tmp_path / "trial0000-seed0"
    link.symlink_to(run)
    RunDirectory(link).drop_checkpoints()
    assert RunDirectory(run).checkpoints.steps() == [400]
    (run / "checkpoints" / "notes.txt").write_text("mine")
    RunDirectory(run).drop_checkpoints()
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["notes.txt"]
    (run / "checkpoints" / "notes.txt").unlink()
    RunDirectory(run).drop_checkpoints()
    assert not (run / "checkpoints").exists()


def test_a_lock_that_is_a_file_of_somebody_is_kept(run: Path, outside: Path) -> None:
    """Also under another name of the same file, which is no link to follow."""
    (run / "lock").unlink()
    os.link(outside / "text", run / "lock")
    done = call("resume", run, "--steps", 500)
    assert done.exit_code == 2, done.output
    assert "lock is no lock, but holds 'years of work'" in done.output
    assert (outside / "text").read_text() == "years of work"


def test_a_pipe_does_not_hang_a_reader(run: Path) -> None:
    (run / "result.json").unlink()
    os.mkfifo(run / "result.json")
    done = call("evaluate", run)
    assert done.exit_code == 2
    assert "neither a file nor a directory" in done.output


def test_garbage_collection_removes_its_own_files_only(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, {"x": np.arange(2**18)}, keep=1)
    for name in ("notes.txt", "thesis.npy", ".hidden", "AB" * 20 + ".npy"):
        (store.objects / name).write_text("mine")
    (store.objects / f".{'cd' * 20}.npy.77").touch()  # left by a kill
    (tmp_path / ".git").mkdir()
    store.save(2, {"x": np.arange(1, 2**18)}, keep=1)
    left = {path.name for path in store.objects.iterdir()}
    assert {"notes.txt", "thesis.npy", ".hidden", "AB" * 20 + ".npy"} < left
    assert len(left) == 5
    assert (tmp_path / ".git").exists()


def test_reading_removes_nothing(tmp_path: Path) -> None:
    save_state(tmp_path / "x", {"a": np.arange(2**18)}, tmp_path / "objects")
    (piece,) = (tmp_path / "objects").iterdir()
    piece.write_bytes(piece.read_bytes()[:-1] + b"\7")
    with pytest.raises(RunError, match="differs from what was written"):
        load_state(tmp_path / "x", tmp_path / "objects")
    assert piece.exists()


HEADERS = {
    "huge": b"{'descr': '<i8', 'fortran_order': False, 'shape': (576460752303423488,), }",
    "objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (262144,), }",
    "negative": b"{'descr': '<i8', 'fortran_order': False, 'shape': (-262144, -1), }",
    "deep": b"{'descr': '<i8', 'fortran_order': False, 'shape': " + b"(" * 3000 + b")" * 3000 + b"}",
}


@pytest.mark.parametrize("header", [*HEADERS, "long"])
def test_headers_of_pieces_that_lie(tmp_path: Path, header: str) -> None:
    """ "huge" says 4 EiB; "long" that the header itself has 4 GiB."""
    save_state(tmp_path / "x", {"a": np.arange(2**18)}, tmp_path / "objects")
    (piece,) = (tmp_path / "objects").iterdir()
    begin = b"\x93NUMPY\2\0\xff\xff\xff\xff"
    if header != "long":
        begin = b"\x93NUMPY\1\0" + len(HEADERS[header]).to_bytes(2, "little") + HEADERS[header]
    piece.write_bytes(begin + bytes(2**21))
    with pytest.raises(RunError, match="damaged"):
        load_state(tmp_path / "x", tmp_path / "objects")


def test_a_piece_that_is_named_a_million_times_takes_no_memory(tmp_path: Path) -> None:
    save_state(tmp_path / "x", {"a": np.zeros(2**18)}, tmp_path / "objects")
    forge(tmp_path / "x", lambda state: state["state"]["a"].update({"$array": state["objects"] * 10**6}))
    with pytest.raises(CapacityError, match="GiB are available"):
        load_state(tmp_path / "x", tmp_path / "objects")


@pytest.mark.parametrize(
    "text",
    ["", "5", "null", "[]", "{", '{"format": "x"}', '{"format": 1}', "[" * 100_000, '{"format": %s}' % ("9" * 5000)],
)
def test_state_files_of_another_kind(run: Path, text: str) -> None:
    for path in run.rglob("state.json"):
        path.write_text(text)
    (run / "result.json").unlink()
    for command in ("evaluate", "resume"):
        done = call(command, run)
        assert done.exit_code == 2, done.output
        assert "damaged" in done.output


@pytest.mark.parametrize("text", [b"", b"5", b"null", b"{}", b"[" * 100_000, b"\xff\xfe", b'{"env_steps": "x"}'])
@pytest.mark.parametrize("name", ["result.json", "run.json"])
def test_other_files_of_another_kind(run: Path, name: str, text: bytes) -> None:
    (run / name).write_bytes(text)
    for command in (["resume", run, "--steps", 410], ["compare", run]):
        done = call(*command)
        assert done.exit_code in (0, 2), done.output


@pytest.mark.parametrize("action", [-1, 2, 2**40])
def test_actions_that_the_environment_lacks_are_not_played(run: Path, action: int) -> None:
    """ALE never returns from such a step."""
    store = CheckpointStore(run / "checkpoints")
    state = store.load(400)
    state["tape"]["actions"][0, 0] = action
    store.save(400, state, keep=1)  # with the right hashes
    done = call("resume", run, "--steps", 500)
    assert done.exit_code == 2, done.output
    assert f"the action log is damaged: action {action}, of an environment with 2 actions" in done.output


def test_metrics_that_exceed_the_memory_are_refused_before_they_are_read(run: Path) -> None:
    with (run / "metrics.jsonl").open("r+b") as file:
        file.truncate(2**40)  # takes no room on the disk
    done = call("resume", run, "--steps", 500)
    assert done.exit_code == 2, done.output
    assert "metrics.jsonl needs 6144.00 GiB" in done.output
    done = call("compare", run)
    assert done.exit_code == 2, done.output
    assert "metrics.jsonl needs 6144.00 GiB" in done.output


@pytest.mark.parametrize("key", ["agent", "rollout", "env_steps", "config", "curve"])
def test_a_missing_entry_of_a_state(run: Path, key: str) -> None:
    """As a field that was added without a new format would be."""
    for folder in (run / "checkpoints").glob("0*"):
        forge(folder, lambda state: state["state"].pop(key))
    done = call("resume", run, "--steps", 500)
    assert done.exit_code == 2, done.output
    assert "the checkpoint does not fit" in done.output or f"damaged: KeyError: '{key}'" in done.output


def test_a_checkpoint_of_a_newer_version_is_refused_and_kept(run: Path) -> None:
    newest, older = sorted((run / "checkpoints").glob("0*"), reverse=True)[0], run / "checkpoints" / "000000000100"
    shutil.copytree(newest, older)
    forge(newest, lambda state: state.update(format=2, rlkit="9.1.0"))
    done = call("resume", run, "--steps", 500)
    assert done.exit_code == 2
    assert "written by rlkit 9.1.0" in done.output
    assert "install that version" in done.output
    assert newest.exists()


def test_numbers_of_digits_that_are_no_checkpoint(run: Path) -> None:
    for name in ("²", "7", "0" * 30):
        (run / "checkpoints" / name).mkdir()
    assert call("resume", run, "--steps", 410).exit_code == 0


def test_read_json_refuses_long_files(tmp_path: Path) -> None:
    with (tmp_path / "long.json").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(RunError, match="expected at most"):
        read_json(tmp_path / "long.json")
