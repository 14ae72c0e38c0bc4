"""The files of a run, as `make soak` compares them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlkit.metrics.line_log import read_rows


def contents(run: Path) -> dict[str, Any]:
    """Every file of a finished run, without times of day and durations."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file() and path.name != "lock"):
        if path.name == "state.json":
            content = json.loads(path.read_text())
            content["state"], content["tree"] = _timeless(content["state"]), ""
        elif path.name == "metrics.jsonl":
            content = [{key: row[key] for key in row if not key.startswith("time/")} for row in read_rows(path)]
        elif path.suffix == ".json":
            content = _timeless(json.loads(path.read_text()))
        else:
            content = path.read_bytes()
        found[str(path.relative_to(run))] = content
    return found


def _timeless(entries: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if not key.endswith("seconds")}
