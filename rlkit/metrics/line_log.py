"""metrics.jsonl: the log that every run writes, whatever its sinks are; resuming and reports read it."""

from __future__ import annotations

import json
import warnings
import zlib
from pathlib import Path
from typing import Any

import torch

from rlkit.files import write_text
from rlkit.memory import require_memory
from rlkit.metrics.meters import FINAL, Row

ROOM = 6  # bytes of memory for each byte of a file
CHECK = "check"  # the last key of a row: the checksum of the others


def read(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """(the sound rows of a metrics file, without their checksums; the numbers of damaged lines, from 1).

    A last line without its end is being written, or was cut off by a kill: it is neither. Raises CapacityError for a
    file that exceeds the available memory.
    """
    rows: list[dict[str, Any]] = []
    damaged: list[int] = []
    if not path.exists():
        return rows, damaged
    require_memory(ROOM * path.stat().st_size, str(path), torch.device("cpu"))
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                rows.append(_row(line))
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                damaged.append(number)
    return rows, damaged


def _row(line: bytes) -> dict[str, Any]:
    """One row, without its checksum. Raises ValueError, among others, if it is damaged."""
    row: dict[str, Any] = json.loads(line)
    check = row.pop(CHECK, None)  # rows of version 0.1.0 have none
    if not isinstance(row["env_steps"], int) or check not in (None, _checksum(json.dumps(row))):
        raise ValueError
    if b"\\u" in line:
        json.dumps(row, ensure_ascii=False).encode()  # refuses halves of characters
    return row


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The sound rows of a metrics file."""
    return read(path)[0]


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _line(row: dict[str, Any]) -> str:
    text = json.dumps(row)
    return f'{text[:-1]}, "{CHECK}": "{_checksum(text)}"}}\n'


class LineLog:
    """One JSON object per row, {"env_steps": .., "episode/return": .., ..., "check": ..}; scalars only."""

    def __init__(self, path: Path, resumed_at: int) -> None:
        """Keeps the rows up to `resumed_at` environment steps, without those of a final evaluation.

        Damaged lines are left out, with a warning.
        """
        rows, damaged = read(path)
        if damaged:
            warnings.warn(f"{path}: lines {', '.join(map(str, damaged))} are damaged and left out", stacklevel=2)
        kept = [row for row in rows if row["env_steps"] <= resumed_at and not any(key.startswith(FINAL) for key in row)]
        write_text(path, "".join(map(_line, kept)))
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, env_steps: int, row: Row) -> None:
        scalars = {name: value for name, value in row.items() if isinstance(value, float | int)}
        self._file.write(_line({"env_steps": env_steps, **scalars}))

    def close(self) -> None:
        self._file.close()
