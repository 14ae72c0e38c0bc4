"""Checkpoints of earlier versions, read as if this version had written them."""

from __future__ import annotations

from typing import Any

RENAMED = {("agent", "replay", "columns", "extras/held"): "extras/achieved_before"}
"""Where an entry lies in a checkpoint's state → its name today."""


def upgraded(state: dict[str, Any]) -> dict[str, Any]:
    """The same state, in which entries of earlier versions have got today's names."""
    for (*parents, old), new in RENAMED.items():
        table: Any = state
        for parent in parents:
            table = table.get(parent) if isinstance(table, dict) else None
        if isinstance(table, dict) and old in table:
            table[new] = table.pop(old)
    return state
