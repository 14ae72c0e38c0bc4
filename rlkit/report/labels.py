"""Config keys and values in words, as the labels of groups say what differs: "learning rate 0.0005, no bonus"."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

UNSET = "unset"  # shown for a key that a config lacks
OUTER = ("agent", "env", "train", "kwargs")  # tables that need not be named
GENERIC = ("at_least", "bits", "end", "every", "exponent", "scale", "size", "start", "steps", "tau", "times", "type")
"""Keys that say nothing without the name of their table, if that is not one of OUTER."""


def key_in_words(key: str, among: Collection[str]) -> str:
    """The shortest name of a dotted key that no other key of `among` has, in words; the key itself if there is none."""
    depth = len(key.split("."))
    for size in range(2 if key.rpartition(".")[2] in GENERIC else 1, depth + 1):
        name = _ending(key, size)
        if all(_ending(other, size) != name for other in among if other != key):
            return name
    return key


def _ending(key: str, size: int) -> str:
    """The last part of a dotted key after up to `size` - 1 of the tables around it."""
    *tables, last = key.split(".")
    around = [table for table in tables if table not in OUTER]
    return " ".join([*around[max(0, len(around) - size + 1) :], last]).replace("_", " ")


def in_words(key: str, value: Any, among: Collection[str]) -> str:
    """A key with its value: "double", "no double", "no normalisation", "epsilon steps 20,000".

    A key that a config lacks is off.
    """
    name = key_in_words(key, among)
    if value is True:
        return name
    if value is False or value is None or value in ("none", UNSET):
        return f"no {name}"
    return f"{name} {text(value)}"


def text(value: Any) -> str:
    """A value as text: four digits of a number with a fraction, and thousands marked."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
