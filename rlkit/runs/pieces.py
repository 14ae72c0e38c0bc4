"""The pieces of large arrays: `.npy` files, each named by the hash of its content.

They may come from a stranger. Reading never writes or removes anything, uses no name that is not a hash, and takes no
more memory than the files' lengths justify.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.files import write
from rlkit.memory import require_memory

HOST = torch.device("cpu")
NAME = re.compile(r"[0-9a-f]{40}")  # of a piece: the hash of its content
PIECE_FILE = re.compile(
    rf"{NAME.pattern}\.npy|\.{NAME.pattern}\.npy\.\d+"
)  # a piece, or one that a kill left unfinished
LARGE = 2**20  # bytes from which an array is split into pieces
PIECE = 2**22  # bytes of a piece


def hash_of(*parts: Any) -> str:
    content = hashlib.blake2b(digest_size=20)
    for part in parts:
        content.update(part)
    return content.hexdigest()


def digest(piece: NDArray[Any]) -> str:
    return hash_of(f"{piece.dtype.str}{piece.shape}".encode(), piece.reshape(-1).view(np.uint8).data)


def write_pieces(array: NDArray[Any], objects: Path) -> list[str]:
    """Splits an array of rank 1 or more along its first axis; returns the names of its pieces, in order."""
    rows = max(1, PIECE * len(array) // array.nbytes)
    return [_write_piece(array[begin : begin + rows], objects) for begin in range(0, len(array), rows)]


def _write_piece(piece: NDArray[Any], objects: Path) -> str:
    piece = np.ascontiguousarray(piece)
    name = digest(piece)
    path = objects / f"{name}.npy"
    if not path.exists() or path.stat().st_size <= piece.nbytes:  # a complete file is longer, by its header
        write(path, lambda file: np.lib.format.write_array(file, piece, version=(1, 0), allow_pickle=False))
    return name


def join(names: list[str], objects: Path) -> NDArray[Any]:
    """The whole array; holds at most one piece besides it."""
    first, last = read_piece(names[0], objects), read_piece(names[-1], objects)
    rows = len(first)  # of all pieces but the last
    require_memory(first.nbytes * (len(names) - 1) + last.nbytes, f"an array of {objects.parent}", HOST)
    whole = np.empty((rows * (len(names) - 1) + len(last), *first.shape[1:]), first.dtype)
    for place, name in enumerate(names):
        whole[place * rows : (place + 1) * rows] = read_piece(name, objects)
    return whole


def read_piece(name: str, objects: Path) -> NDArray[Any]:
    """One piece, read-only. Raises ValueError if `name` is no hash or the content is not what was written."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a piece")
    path = objects / f"{name}.npy"
    require_memory(path.stat().st_size, str(path), HOST)
    try:
        piece = parsed(path.read_bytes())
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if digest(piece) != name:
        raise ValueError(f"{path}: its content differs from what was written")
    return piece


def parsed(content: bytes) -> NDArray[Any]:
    """The array of a .npy file. Raises ValueError, among others, if its header and the file's length disagree."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("expected a .npy file of version 1.0")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or fortran_order or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"its header says {dtype} {shape}, which does not agree with its length")
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape)
