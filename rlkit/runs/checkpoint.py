"""Checkpoints: a tree of state as JSON, safetensors and .npy files; written atomically and incrementally.

A checkpoint is a folder named by its step. `state.json` contains the tree, `arrays.safetensors` the small arrays and
tensors. Arrays of a megabyte and more are split into pieces along their first axis. Each piece is stored once in
`objects/`, named by the hash of its content, so unchanged pieces are not written again. The files contain data only.

A checkpoint may come from a stranger; reading one never writes or removes anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import rlkit
from rlkit.errors import RlkitError, RunError
from rlkit.files import read_json, sync_directory, write_text
from rlkit.memory import require_memory
from rlkit.runs.pieces import HOST, LARGE, NAME, PIECE_FILE, hash_of, join, read_piece, write_pieces
from rlkit.types import State

STEP = re.compile(r"[0-9]{12,18}")  # the name of a checkpoint
REMOVED = ".removed"  # the end of the name of a checkpoint that is being removed
FORMAT = 1  # history: docs/robustness.md, "The format of checkpoints"


class NewerFormatError(RunError):
    """A checkpoint that a later version wrote: it is no damage, and must be kept."""


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
        if isinstance(value, dict):
            raise RlkitError(f"state {path}: its keys must be texts without a leading $, not {[*value][:3]}")
        raise RlkitError(
            f"state {path}: {type(value).__name__} cannot be saved in a checkpoint; it holds tensors, arrays, texts, "
            "bool, int, float, None, and lists and dicts of these (of a random generator: its bit_generator.state)"
        )

    def _array(self, array: NDArray[Any]) -> Any:
        if array.nbytes < LARGE or array.ndim == 0:
            name = str(len(self.arrays))
            self.arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
            return name
        names = write_pieces(array, self.objects)
        self.names += names
        return names


def save_state(folder: Path, state: State, objects: Path) -> None:
    """Writes `state` as `folder`, completely or not at all; replaces an older folder of that name.

    Two folders of one name cannot be exchanged in one operation. A kill in between leaves the older one as
    `.NAME.old`, which reading falls back to and the next call restores.
    """
    objects.mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    settle(folder)
    temporary = folder.with_name(f".{folder.name}.new")
    try:
        temporary.mkdir()
        writer = _Writer(objects)
        tree = writer.encode(dict(state), "")
        sync_directory(objects)
        arrays = temporary / "arrays.safetensors"
        save_file(writer.arrays, arrays)
        with arrays.open("rb+") as file:
            os.fsync(file.fileno())
        objects_used = sorted(set(writer.names))
        digests = {"arrays": hash_of(arrays.read_bytes()), "tree": hash_of(json.dumps([objects_used, tree]).encode())}
        content = {"format": FORMAT, "rlkit": rlkit.__version__, **digests, "objects": objects_used, "state": tree}
        write_text(temporary / "state.json", json.dumps(content))
        if folder.exists():
            folder.rename(folder.with_name(f".{folder.name}.old"))
        temporary.rename(folder)
        sync_directory(folder.parent)
        settle(folder)
    except (OSError, SafetensorError) as error:
        settle(folder)
        raise RlkitError(f"could not write checkpoint {folder}: {error}; earlier checkpoints are unchanged") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def settle(folder: Path) -> None:
    """Undoes or completes a replacement of `folder` that a kill interrupted."""
    if not folder.exists() and (kept := present(folder)) != folder:
        kept.rename(folder)
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)  # refuses links


def present(folder: Path) -> Path:
    """`folder`, or the older one of its name if a kill interrupted its replacement."""
    if folder.exists():
        return folder
    return next(iter(sorted(folder.parent.glob(f".{folder.name}.old*"))), folder)


def load_state(folder: Path, objects: Path, only: str | None = None) -> dict[str, Any]:
    """The state that `save_state` wrote, or only its subtree `only`. Raises RunError if a file is damaged."""
    folder = present(folder)
    with _naming_damage(folder):
        content, arrays = _read(folder)
        tree = content["state"]
        for part in only.split("/") if only else []:
            tree = tree[part]
        decoded: dict[str, Any] = _decode(tree, arrays, objects)
        return decoded


@contextlib.contextmanager
def _naming_damage(folder: Path) -> Iterator[None]:
    try:
        yield
    except NewerFormatError:
        raise
    except RunError as error:  # a file that cannot be read
        raise RunError(f"checkpoint {folder} is damaged: {error}") from error
    except FileNotFoundError as error:
        raise RunError(f"checkpoint {folder} is damaged: {error.filename} is missing") from error
    except (ValueError, LookupError, TypeError, AttributeError, EOFError, RecursionError, SafetensorError) as error:
        reason = error if isinstance(error, ValueError | SafetensorError) else f"{type(error).__name__}: {error}"
        raise RunError(f"checkpoint {folder} is damaged: {reason}") from error


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """(content of state.json, small arrays); checks that both are as they were written."""
    path = folder / "state.json"
    if not path.exists():
        raise FileNotFoundError(2, "missing", str(path))
    content = read_json(path)
    if not isinstance(content["format"], int):
        raise ValueError(f"its format is {content['format']!r}")
    if content["format"] > FORMAT:
        raise NewerFormatError(
            f"checkpoint {folder} has format {content['format']}, written by rlkit {content.get('rlkit', 'unknown')}; "
            f"this is rlkit {rlkit.__version__}, which reads formats up to {FORMAT}: install that version"
        )
    tree = json.dumps([content["objects"], content["state"]]).encode()
    path = folder / "arrays.safetensors"
    require_memory(2 * path.stat().st_size, str(path), HOST)
    for name, data in (("arrays", path.read_bytes()), ("tree", tree)):
        if hash_of(data) != content[name]:
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
            array = arrays[reference] if isinstance(reference, str) else join(reference, objects)
            return torch.from_numpy(array) if kind == "$tensor" else array
    return {key: _decode(item, arrays, objects) for key, item in node.items()}


def collect_garbage(objects: Path, folders: Iterable[Path]) -> None:
    """Removes the pieces that no state in `folders` uses. Does nothing while one of these cannot be read."""
    used: set[str] = set()
    for folder in folders:
        if (present(folder) / "state.json").exists():
            try:
                used.update(read_json(present(folder) / "state.json")["objects"])
            except (RunError, LookupError, TypeError):
                return
    for path in objects.iterdir():
        if PIECE_FILE.fullmatch(path.name) and path.name.removesuffix(".npy") not in used:
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
        return sorted(int(path.name) for path in self.root.glob("[0-9]*") if STEP.fullmatch(path.name))

    def folder(self, step: int) -> Path:
        return self.root / f"{step:012d}"

    def save(self, step: int, state: State, keep: int) -> None:
        """Writes a checkpoint and removes all but the newest `keep`. Raises RlkitError if writing fails.

        A failure leaves the other checkpoints as they are. Checkpoints of later steps are removed: they are damaged,
        or the run would not have resumed from an earlier one.
        """
        save_state(self.folder(step), state, self.objects)
        for later in self.steps():
            if later > step:
                self._remove(later)
        for path in self.root.glob(".[0-9]*"):  # left by a killed process
            shutil.rmtree(path, ignore_errors=True)
        self.prune(step, keep)

    def prune(self, step: int, keep: int) -> None:
        """Removes all but the newest `keep` checkpoints up to `step`, and pieces that no checkpoint uses.

        `save` does; resuming does it again, since a kill may have come after a run's last checkpoint was written.
        """
        for old in [old for old in self.steps() if old <= step][:-keep]:
            self._remove(old)
        for path in self.root.glob(f".[0-9]*{REMOVED}"):
            shutil.rmtree(path, ignore_errors=True)
        if self.objects.is_dir():
            collect_garbage(self.objects, map(self.folder, self.steps()))

    def clear(self) -> None:
        """Removes all checkpoints and their pieces, and no other file."""
        for step in self.steps():
            self._remove(step)
        if self.objects.is_dir():
            collect_garbage(self.objects, ())
        for folder in (self.objects, self.root):
            with contextlib.suppress(OSError):
                folder.rmdir()  # if it is empty

    def _remove(self, step: int) -> None:
        """Removes a checkpoint. If it is killed meanwhile, no part is left under the name of a checkpoint."""
        folder = self.folder(step)
        shutil.rmtree(gone := folder.with_name(f".{folder.name}{REMOVED}"), ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def load(self, step: int, only: str | None = None) -> dict[str, Any]:
        return load_state(self.folder(step), self.objects, only)

    def newest_sound(self) -> tuple[int | None, list[str]]:
        """(newest step whose checkpoint is undamaged, or None; what is wrong with the newer ones).

        Removes damaged pieces, so that the next checkpoint writes them again: call it under the run's lock. Raises
        NewerFormatError for a checkpoint of a later version.
        """
        damaged = self._remove_damaged_pieces()
        problems: list[str] = []
        for step in reversed(self.steps()):
            folder = self.folder(step)
            try:
                with _naming_damage(folder):
                    for name in _read(folder)[0]["objects"]:
                        if name in damaged:
                            raise ValueError(damaged[name])
                        if not (NAME.fullmatch(name) and (self.objects / f"{name}.npy").is_file()):
                            raise ValueError(f"piece {name!r} is missing")
                return step, problems
            except NewerFormatError:
                raise
            except RunError as error:
                problems.append(str(error))
        return None, problems

    def _remove_damaged_pieces(self) -> dict[str, str]:
        """What is wrong with each damaged piece, by its name. Reads all pieces, one at a time."""
        damaged = {}
        for path in sorted(self.objects.glob("*.npy")):
            if NAME.fullmatch(path.stem):
                try:
                    read_piece(path.stem, self.objects)
                except ValueError as error:
                    damaged[path.stem] = str(error)
                    path.unlink()
        return damaged
