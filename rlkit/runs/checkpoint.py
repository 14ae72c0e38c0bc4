"""Checkpoints: a tree of state as JSON, safetensors and .npy files; written atomically and incrementally.

A checkpoint is a folder named by its step. `state.json` contains the tree, `arrays.safetensors` the small arrays and
tensors. Arrays of a megabyte and more are split into pieces along their first axis. Each piece is stored once in
`objects/`, named by the hash of its content, so unchanged pieces are not written again. The files contain data only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from rlkit.errors import RlkitError, RunError
from rlkit.types import State

FORMAT = 1
LARGE = 2**20  # bytes from which an array is split into pieces
PIECE = 2**22  # bytes of a piece


@dataclass
class _Writer:
    objects: Path
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def encode(self, value: Any, path: str) -> Any:
        """The JSON form of one node; collects its arrays."""
        if isinstance(value, torch.Tensor):
            return {"$tensor": self._array(value.detach().cpu().numpy())}
        if isinstance(value, np.ndarray):
            return {"$array": self._array(value)}
        if value is None or isinstance(value, str | bool | int | float):
            return value
        if isinstance(value, list | tuple):
            return [self.encode(item, f"{path}/{place}") for place, item in enumerate(value)]
        if isinstance(value, dict) and not any(not isinstance(key, str) or key.startswith("$") for key in value):
            return {key: self.encode(item, f"{path}/{key}") for key, item in value.items()}
        raise RlkitError(f"state {path}: {type(value).__name__} cannot be saved in a checkpoint")

    def _array(self, array: NDArray[Any]) -> Any:
        if array.nbytes < LARGE or array.ndim == 0:
            name = str(len(self.arrays))
            self.arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
            return name
        rows = max(1, PIECE * len(array) // array.nbytes)
        return [self._object(array[begin : begin + rows]) for begin in range(0, len(array), rows)]

    def _object(self, piece: NDArray[Any]) -> str:
        piece = np.ascontiguousarray(piece)
        name = _digest(piece)
        self.names.append(name)
        path = self.objects / f"{name}.npy"
        if not path.exists() or path.stat().st_size <= piece.nbytes:  # a complete file is longer, by its header
            _write(path, lambda file: np.save(file, piece, allow_pickle=False))
        return name


def _hash(*parts: Any) -> str:
    content = hashlib.blake2b(digest_size=20)
    for part in parts:
        content.update(part)
    return content.hexdigest()


def _digest(piece: NDArray[Any]) -> str:
    return _hash(f"{piece.dtype.str}{piece.shape}".encode(), piece.reshape(-1).view(np.uint8).data)


def _write(path: Path, write: Callable[[Any], Any]) -> None:
    """Writes a file completely or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a small text file completely or not at all."""
    _write(path, lambda file: file.write(text.encode()))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_state(folder: Path, state: State, objects: Path) -> None:
    """Writes `state` as `folder`, completely or not at all; replaces an older folder of that name."""
    objects.mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        writer = _Writer(objects)
        tree = writer.encode(dict(state), "")
        _sync_directory(objects)
        arrays = temporary / "arrays.safetensors"
        save_file(writer.arrays, arrays)
        _sync_directory(temporary)
        with arrays.open("rb+") as file:
            os.fsync(file.fileno())
        objects_used = sorted(set(writer.names))
        digests = {"arrays": _hash(arrays.read_bytes()), "tree": _hash(json.dumps([objects_used, tree]).encode())}
        content = {"format": FORMAT, **digests, "objects": objects_used, "state": tree}
        write_text(temporary / "state.json", json.dumps(content))
        replaced = folder.with_name(f".{folder.name}.old.{os.getpid()}")
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
        _sync_directory(folder.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise RlkitError(f"could not write checkpoint {folder}: {error}; earlier checkpoints are unchanged") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_state(folder: Path, objects: Path, only: str | None = None) -> dict[str, Any]:
    """The state that `save_state` wrote, or only its subtree `only`. Raises RunError if a file is damaged."""
    with _naming_damage(folder):
        content, arrays = _read(folder)
        tree = content["state"]
        for part in only.split("/") if only else []:
            tree = tree[part]
        decoded: dict[str, Any] = _decode(tree, arrays, objects)
        return decoded


def check_state(folder: Path, objects: Path) -> None:
    """Reads every file of a checkpoint, one at a time. Raises RunError if one is damaged."""
    with _naming_damage(folder):
        for name in _read(folder)[0]["objects"]:
            _piece(name, objects)


@contextlib.contextmanager
def _naming_damage(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise RunError(f"checkpoint {folder} is damaged: {error.filename} is missing") from error
    except (ValueError, KeyError, EOFError, SafetensorError) as error:
        raise RunError(f"checkpoint {folder} is damaged: {error}") from error


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """(content of state.json, small arrays); checks that both are as they were written."""
    content = json.loads((folder / "state.json").read_text())
    if content["format"] != FORMAT:
        raise RunError(f"checkpoint {folder} has format {content['format']}; this version reads format {FORMAT}")
    tree = json.dumps([content["objects"], content["state"]]).encode()
    path = folder / "arrays.safetensors"
    for name, data in (("arrays", path.read_bytes()), ("tree", tree)):
        if _hash(data) != content[name]:
            raise ValueError(f"its {name} differ from what was written")
    return content, load_file(path)


def _decode(node: Any, arrays: dict[str, NDArray[Any]], objects: Path) -> Any:
    if isinstance(node, list):
        return [_decode(item, arrays, objects) for item in node]
    if not isinstance(node, dict):
        return node
    for kind in ("$tensor", "$array"):
        if kind in node:
            reference = node[kind]
            array = arrays[reference] if isinstance(reference, str) else _join(reference, objects)
            return torch.from_numpy(array) if kind == "$tensor" else array
    return {key: _decode(item, arrays, objects) for key, item in node.items()}


def _join(names: list[str], objects: Path) -> NDArray[Any]:
    """The whole array; holds at most one piece besides it."""
    first, last = _piece(names[0], objects), _piece(names[-1], objects)
    rows = len(first)  # of all pieces but the last
    whole = np.empty((rows * (len(names) - 1) + len(last), *first.shape[1:]), first.dtype)
    for place, name in enumerate(names):
        whole[place * rows : (place + 1) * rows] = _piece(name, objects)
    return whole


def _piece(name: str, objects: Path) -> NDArray[Any]:
    """One piece. Removes a damaged one, so that the next checkpoint writes it again."""
    path = objects / f"{name}.npy"
    try:
        piece: NDArray[Any] = np.load(path, allow_pickle=False)
        if _digest(piece) != name:
            raise ValueError("its content differs from what was written")
    except (ValueError, EOFError) as error:
        path.unlink()
        raise ValueError(f"{path}: {error}") from error
    return piece


def collect_garbage(objects: Path, folders: Iterable[Path]) -> None:
    """Removes the pieces that no state in `folders` uses."""
    used: set[str] = set()
    for folder in folders:
        with contextlib.suppress(OSError, ValueError, KeyError):
            used.update(json.loads((folder / "state.json").read_text())["objects"])
    for path in objects.iterdir():
        if path.name.removesuffix(".npy") not in used:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class CheckpointStore:
    """The checkpoints of a run, RUN/checkpoints/000000012000 and so on, and the pieces they share."""

    root: Path

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    def steps(self) -> list[int]:
        """The steps of all checkpoints, ascending."""
        return sorted(int(path.name) for path in self.root.glob("[0-9]*") if path.name.isdigit())

    def folder(self, step: int) -> Path:
        return self.root / f"{step:012d}"

    def save(self, step: int, state: State, keep: int) -> None:
        """Writes a checkpoint and removes all but the newest `keep`. Raises RlkitError if writing fails.

        A failure leaves the other checkpoints as they are. Checkpoints of later steps are removed: they are damaged,
        or the run would not have resumed from an earlier one.
        """
        save_state(self.folder(step), state, self.objects)
        steps = self.steps()
        kept = [old for old in steps if old <= step][-keep:]
        for old in set(steps) - set(kept):
            shutil.rmtree(self.folder(old), ignore_errors=True)
        collect_garbage(self.objects, map(self.folder, kept))
        for path in self.root.glob(".*"):  # left by a killed process
            shutil.rmtree(path, ignore_errors=True)

    def load(self, step: int, only: str | None = None) -> dict[str, Any]:
        return load_state(self.folder(step), self.objects, only)

    def newest_sound(self) -> tuple[int | None, list[str]]:
        """(newest step whose checkpoint is undamaged, or None; what is wrong with the newer ones)."""
        problems: list[str] = []
        for step in reversed(self.steps()):
            try:
                check_state(self.folder(step), self.objects)
                return step, problems
            except RunError as error:
                problems.append(str(error))
        return None, problems
