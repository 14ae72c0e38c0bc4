"""Checkpoints: a tree of state as JSON, safetensors and .npy files; atomic, incremental, data only.

A checkpoint is a folder named by its step. `state.json` holds the tree, `arrays.safetensors` the small arrays and
tensors. Arrays of a megabyte and more are cut into pieces along their first axis, and each piece lies once in
`objects/`, named by the hash of its content: what did not change since the last checkpoint is not written again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
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
LARGE = 2**20  # bytes from which an array is kept in pieces
PIECE = 2**22  # bytes of a piece


@dataclass
class _Writer:
    objects: Path
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def encode(self, value: Any, path: str) -> Any:
        """The JSON form of one node; arrays are put aside."""
        if isinstance(value, torch.Tensor):
            return {"$tensor": self._array(value.detach().cpu().numpy(), path)}
        if isinstance(value, np.ndarray):
            return {"$array": self._array(value, path)}
        if value is None or isinstance(value, str | bool | int | float):
            return value
        if isinstance(value, list | tuple):
            return [self.encode(item, f"{path}/{place}") for place, item in enumerate(value)]
        if isinstance(value, dict) and not any(not isinstance(key, str) or key.startswith("$") for key in value):
            return {key: self.encode(item, f"{path}/{key}") for key, item in value.items()}
        raise TypeError(f"state {path}: {type(value).__name__} cannot be kept in a checkpoint")

    def _array(self, array: NDArray[Any], path: str) -> Any:
        if array.nbytes < LARGE or array.ndim == 0:
            self.arrays[path] = np.ascontiguousarray(array).reshape(array.shape)
            return path
        rows = max(1, PIECE * len(array) // array.nbytes)
        return [self._object(array[begin : begin + rows]) for begin in range(0, len(array), rows)]

    def _object(self, piece: NDArray[Any]) -> str:
        piece = np.ascontiguousarray(piece)
        name = _digest(piece)
        self.names.append(name)
        path = self.objects / f"{name}.npy"
        if not path.exists():
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
    """Writes a file whole or not at all."""
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
    """Writes a small text file whole or not at all."""
    _write(path, lambda file: file.write(text.encode()))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_state(folder: Path, state: State, objects: Path) -> None:
    """Writes `state` as the folder `folder`, whole or not at all; an older folder of that name is replaced."""
    objects.mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        writer = _Writer(objects)
        tree = writer.encode(dict(state), "")
        arrays = temporary / "arrays.safetensors"
        save_file(writer.arrays, arrays)
        _sync_directory(temporary)
        with arrays.open("rb+") as file:
            os.fsync(file.fileno())
        objects_used = sorted(set(writer.names))
        digests = {"arrays": _hash(arrays.read_bytes()), "tree": _hash(json.dumps([objects_used, tree]).encode())}
        content = {"format": FORMAT, **digests, "objects": objects_used, "state": tree}
        write_text(temporary / "state.json", json.dumps(content))
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
        _sync_directory(folder.parent)
    except (OSError, SafetensorError) as error:
        raise RlkitError(
            f"could not write checkpoint {folder}: {error}; earlier checkpoints are as they were"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_state(folder: Path, objects: Path, only: str | None = None) -> dict[str, Any]:
    """The state that `save_state` wrote, or just its subtree `only`. Raises RunError where a file is damaged."""
    try:
        content = json.loads((folder / "state.json").read_text())
        if content["format"] != FORMAT:
            raise RunError(f"checkpoint {folder} has format {content['format']}; this version reads format {FORMAT}")
        path = folder / "arrays.safetensors"
        tree = content["state"]
        for name, data in (
            ("arrays", path.read_bytes()),
            ("tree", json.dumps([content["objects"], tree]).encode()),
        ):
            if _hash(data) != content[name]:
                raise RunError(f"checkpoint {folder} is damaged: its {name} are not what was written")
        arrays = load_file(path)
        for part in only.split("/") if only else []:
            tree = tree[part]
        decoded: dict[str, Any] = _decode(tree, arrays, objects)
        return decoded
    except FileNotFoundError as error:
        raise RunError(f"checkpoint {folder} is damaged: {error.filename} is missing") from error
    except (ValueError, KeyError, EOFError, SafetensorError) as error:
        raise RunError(f"checkpoint {folder} is damaged: {error}") from error


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
    pieces = []
    for name in names:
        piece = np.load(objects / f"{name}.npy", allow_pickle=False)
        if _digest(piece) != name:
            raise RunError(f"{objects / name}.npy is damaged: its content is not what was written")
        pieces.append(piece)
    return np.concatenate(pieces)


@dataclass(frozen=True, slots=True)
class CheckpointStore:
    """The checkpoints of a run: RUN/checkpoints/000000012000, ... and the pieces they share."""

    root: Path

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    def steps(self) -> list[int]:
        """The steps at which there is a checkpoint, ascending."""
        return sorted(int(path.name) for path in self.root.glob("[0-9]*") if path.name.isdigit())

    def folder(self, step: int) -> Path:
        return self.root / f"{step:012d}"

    def save(self, step: int, state: State, keep: int) -> None:
        """Writes one and removes all but the newest `keep`. Raises RlkitError and leaves the rest as it was."""
        save_state(self.folder(step), state, self.objects)
        for old in self.steps()[:-keep]:
            shutil.rmtree(self.folder(old), ignore_errors=True)
        self._collect_garbage()

    def load(self, step: int, only: str | None = None) -> dict[str, Any]:
        return load_state(self.folder(step), self.objects, only)

    def newest(self) -> Iterator[tuple[int, dict[str, Any] | RunError]]:
        """(step, state, or the error where it is damaged), the newest first."""
        for step in reversed(self.steps()):
            try:
                yield step, self.load(step)
            except RunError as error:
                yield step, error

    def _collect_garbage(self) -> None:
        used: set[str] = set()
        for step in self.steps():
            with contextlib.suppress(OSError, ValueError, KeyError):
                used.update(json.loads((self.folder(step) / "state.json").read_text())["objects"])
        for path in self.objects.iterdir():
            if path.name.removesuffix(".npy") not in used:
                path.unlink(missing_ok=True)
        for path in self.root.glob(".*"):  # what a killed process left half-written
            shutil.rmtree(path, ignore_errors=True)
