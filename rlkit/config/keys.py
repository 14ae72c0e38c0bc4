"""Dotted keys of a config, and the keys and values that earlier versions had."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

RENAMED: dict[str, str] = {
    "agent.bonus.of": "agent.bonus.count_of",
    "agent.controller.bonus.of": "agent.controller.bonus.count_of",
    "agent.meta.bonus.of": "agent.meta.bonus.count_of",
}
"""Key of an earlier version → today's key, both dotted. The value must mean the same under both."""

REMOVED = {("train.sinks", "jsonl"): "every run writes metrics.jsonl"}
"""(key of a list, value that it may no longer hold) → what replaces the value."""


def flat(
    tables: Mapping[str, Any],
    prefix: str = "",
    *,
    is_value: Callable[[Mapping[str, Any]], bool] = lambda table: False,
) -> dict[str, Any]:
    """{"agent": {"learning_rate": ..}} → {"agent.learning_rate": ..}; tables for which `is_value` stay whole."""
    row: dict[str, Any] = {}
    for key, value in tables.items():
        nested = isinstance(value, Mapping) and not is_value(value)
        row |= flat(value, f"{prefix}{key}.", is_value=is_value) if nested else {prefix + key: value}
    return row


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key, with today's keys."""
    return {RENAMED.get(key, key): value for key, value in values.items()}


def upgraded(tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(a copy with today's keys and values, one line for each key or value of an earlier version)."""
    changed: dict[str, Any] = copy.deepcopy(dict(tables))
    lines = []
    for old, new in RENAMED.items():
        table, key = _owner(changed, old)
        if table is not None and key in table:
            _set(changed, new, table.pop(key))
            lines.append(f"{old}: renamed; use {new}")
    for (name, value), instead in REMOVED.items():
        table, key = _owner(changed, name)
        if table is not None and isinstance(table.get(key), list | tuple) and value in table[key]:
            table[key] = [item for item in table[key] if item != value]
            lines.append(f'{name}: "{value}" is removed, since {instead}; leave it out')
    return changed, lines


def _owner(tables: dict[str, Any], dotted: str) -> tuple[dict[str, Any] | None, str]:
    """(the table that holds a dotted key, or None where there is none; the key's last part)."""
    *parents, last = dotted.split(".")
    table: Any = tables
    for parent in parents:
        table = table.get(parent) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else None, last


def _set(tables: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        tables = tables.setdefault(parent, {})
    tables[last] = value
