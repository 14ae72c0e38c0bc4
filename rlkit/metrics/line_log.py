"""metrics.jsonl: the log that every run writes, whatever its sinks are; resuming and reports read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlkit.metrics.meters import FINAL, Row


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file; a last line that a crash cut off is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


class LineLog:
    """One JSON object per row, {"env_steps": .., "episode/return": .., ...}; scalars only."""

    def __init__(self, path: Path, resumed_at: int) -> None:
        """Keeps the rows up to `resumed_at` environment steps, without those of a final evaluation."""
        kept = [
            row
            for row in read_rows(path)
            if row["env_steps"] <= resumed_at and not any(key.startswith(FINAL) for key in row)
        ]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        temporary.replace(path)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, env_steps: int, row: Row) -> None:
        scalars = {name: value for name, value in row.items() if isinstance(value, float | int)}
        self._file.write(json.dumps({"env_steps": env_steps, **scalars}) + "\n")

    def close(self) -> None:
        self._file.close()
