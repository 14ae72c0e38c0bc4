import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit.errors import RlkitError, RunError
from rlkit.runs import checkpoint
from rlkit.runs.checkpoint import CheckpointStore
from rlkit.runs.pieces import LARGE
from rlkit.testing.states import state_hash

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**130), 2**130),
    st.floats(allow_nan=False),
    st.text(),
    st.sampled_from(["float32", "int64", "uint8", "bool", "uint64"]).map(lambda dtype: np.arange(6).astype(dtype)),
    st.sampled_from([torch.float32, torch.int64, torch.bool]).map(lambda dtype: torch.ones(2, 3).to(dtype)),
    st.just(np.array(3.5)),
    st.just(np.zeros((0, 4), np.float32)),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/.c", min_size=1), inner, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text("xyz", min_size=1), TREES, max_size=4))
def test_any_state_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, state: dict) -> None:
    store = CheckpointStore(tmp_path_factory.mktemp("run"))
    store.save(5, state, keep=1)
    loaded = store.load(5)
    assert state_hash(loaded) == state_hash(state)
    assert str(loaded).count("tensor(") == str(state).count("tensor(")


def big_state(offset: int = 0) -> dict:
    frames = np.arange(3_000_000, dtype=np.int64)  # 24 MB: six pieces
    frames[2_999_999] += offset
    return {"agent": {"frames": frames, "policy": {"w": torch.arange(4.0)}}, "step": offset}


def test_large_arrays_are_written_once(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, big_state(0), keep=2)
    first = {path.name for path in store.objects.iterdir()}
    store.save(2, big_state(1), keep=2)
    both = {path.name for path in store.objects.iterdir()}
    assert len(first) == 6
    assert len(both - first) == 1
    for step, offset in ((1, 0), (2, 1)):
        assert state_hash(store.load(step)) == state_hash(big_state(offset))
    store.save(3, big_state(1), keep=1)
    assert store.steps() == [3]
    assert {path.name for path in store.objects.iterdir()} <= both
    assert len(list(store.objects.iterdir())) == 6


def test_a_subtree_is_loaded_alone(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, big_state(), keep=1)
    for path in store.objects.iterdir():
        path.unlink()
    assert torch.equal(store.load(1, "agent/policy")["w"], torch.arange(4.0))


@pytest.mark.parametrize("victim", ["state.json", "arrays.safetensors", "object"])
@pytest.mark.parametrize("how", ["truncated", "emptied", "missing", "bit flipped"])
def test_damage_is_noticed(tmp_path: Path, victim: str, how: str) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, big_state(), keep=1)
    path = next(store.objects.iterdir()) if victim == "object" else store.folder(1) / victim
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "bit flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        path.write_bytes(content[: len(content) // 2 if how == "truncated" else 0])
    with pytest.raises(RunError, match="damaged"):
        store.load(1)


def test_a_full_disk_leaves_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, big_state(0), keep=1)
    real = os.fsync
    for failing in range(3):
        calls = iter(range(100))

        def fsync(descriptor: int, calls=calls, failing=failing) -> None:
            if next(calls) == failing:
                raise OSError(28, "No space left on device")
            real(descriptor)

        monkeypatch.setattr(checkpoint.os, "fsync", fsync)
        with pytest.raises(RlkitError, match="No space left"):
            store.save(2, big_state(7), keep=1)
        monkeypatch.undo()
        assert store.steps() == [1]
        assert state_hash(store.load(1)) == state_hash(big_state(0))
        assert not list(tmp_path.glob(".*"))
    store.save(2, big_state(7), keep=1)
    assert state_hash(store.load(2)) == state_hash(big_state(7))


def test_code_is_refused(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    with pytest.raises(RlkitError, match="/agent/net"):
        store.save(1, {"agent": {"net": torch.nn.Linear(1, 1)}}, keep=1)
    with pytest.raises(RlkitError, match="/a"):
        store.save(1, {"a": {"$tensor": "x"}}, keep=1)
    assert not store.steps()


def test_a_newer_format_is_refused_with_its_number(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, {"a": 1}, keep=1)
    path = store.folder(1) / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(RunError, match="format 99"):
        store.load(1)


def test_names_that_look_like_paths_do_not_collide(tmp_path: Path) -> None:
    state = {"a/b": np.ones(3), "a": {"b": np.zeros(3)}}
    store = CheckpointStore(tmp_path)
    store.save(1, state, keep=1)
    assert state_hash(store.load(1)) == state_hash(state)
    assert (store.load(1)["a/b"] == 1).all()


@pytest.mark.parametrize("how", ["truncated", "bit flipped"])
def test_a_damaged_piece_is_written_again(tmp_path: Path, how: str) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, big_state(), keep=2)
    path = next(store.objects.iterdir())
    content = path.read_bytes()
    path.write_bytes(content[:-9] if how == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    assert store.newest_sound()[0] is None
    store.save(2, big_state(), keep=2)
    assert store.newest_sound() == (2, [])


@pytest.mark.parametrize("kill", ["before", "within", "after"])
def test_a_kill_while_older_checkpoints_are_removed_leaves_nothing(
    tmp_path: Path, kill: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last checkpoint of a run is written, no other follows: resuming removes what is left of older ones."""
    store = CheckpointStore(tmp_path)
    arrays = [np.full(LARGE // 8 + 1, number, np.float64) for number in (1, 2)]
    store.save(1, {"array": arrays[0]}, keep=1)

    def killed(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    rmtree = checkpoint.shutil.rmtree

    def within(folder: Path, **options: Any) -> None:
        if (folder / "arrays.safetensors").exists():
            (folder / "arrays.safetensors").unlink()
            raise KeyboardInterrupt
        rmtree(folder, **options)

    if kill == "before":
        monkeypatch.setattr(CheckpointStore, "prune", killed)
    elif kill == "within":
        monkeypatch.setattr(checkpoint.shutil, "rmtree", within)
    else:
        monkeypatch.setattr(checkpoint, "collect_garbage", killed)
    with pytest.raises(KeyboardInterrupt):
        store.save(2, {"array": arrays[1]}, keep=1)
    monkeypatch.undo()
    assert store.newest_sound() == (2, [])
    store.prune(2, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000002", "objects"]
    assert len(list(store.objects.iterdir())) == 1
    assert (store.load(2)["array"] == arrays[1]).all()


def test_a_damaged_later_checkpoint_does_not_crowd_out_the_new_one(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(400, {"x": 1}, keep=2)
    (store.folder(400) / "state.json").write_text("{")
    store.save(370, {"x": 2}, keep=1)
    assert store.steps() == [370]


def test_names_are_durable_in_the_order_in_which_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """state.json and the folder that names it are on the disk before the checkpoint gets its own name."""
    done: list[tuple[str, str]] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        if name == ".000000000001.new":
            name += f" with {', '.join(sorted(os.listdir(descriptor)))}"
        done.append(("durable", name))
        real_fsync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        done.append(("renamed", path.name))
        return real_rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    store = CheckpointStore(tmp_path)
    store.save(1, big_state(0), keep=1)
    order = [
        ("durable", "objects"),
        ("durable", "arrays.safetensors"),
        ("durable", f".state.json.{os.getpid()}"),
        ("durable", ".000000000001.new with arrays.safetensors, state.json"),
        ("renamed", ".000000000001.new"),
        ("durable", tmp_path.name),
    ]
    assert [step for step in done if not step[1].endswith(f".npy.{os.getpid()}")] == order
    assert done.index(order[0]) == len(done) - len(order), "each piece is durable before their folder"
