"""States compared bit by bit, for tests of resuming and of determinism."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch

Leaf = torch.Tensor | np.ndarray[Any, Any] | str | bool | int | float | None


def flatten(state: Any, path: str = "") -> dict[str, Leaf]:
    """All leaves of a nested state by their path, such as "learner/target/head.0.weight".

    Raises AssertionError, with the path, for keys that are not str and for leaves of a type that a checkpoint cannot
    hold.
    """
    if isinstance(state, Mapping):
        leaves: dict[str, Leaf] = {}
        for key, value in state.items():
            assert isinstance(key, str), (
                f"state {path or '(top)'}: the key {key!r} is {type(key).__name__}; expected str"
            )
            leaves |= flatten(value, f"{path}/{key}" if path else key)
        return leaves or {f"{path}/": None}  # an empty mapping is part of a state too
    if isinstance(state, list | tuple):
        leaves = {f"{path}/#": len(state)}
        for place, value in enumerate(state):
            leaves |= flatten(value, f"{path}/{place}")
        return leaves
    allowed = isinstance(state, torch.Tensor | np.ndarray) or type(state) in (str, bool, int, float, type(None))
    expected = "expected a tensor, an array, str, bool, int, float or None"
    assert allowed, f"state {path}: a checkpoint cannot hold {type(state).__name__}; {expected}"
    return {path: state}


def difference(expected: Any, found: Any) -> str | None:
    """The first path where two states differ, with both values; None if they are equal bit by bit (nan equals nan)."""
    left, right = flatten(expected), flatten(found)
    for path in sorted(left.keys() ^ right.keys(), key=lambda path: (path.endswith("/"), path)):
        return f"{path} is {'missing' if path in left else 'not expected'}"
    for path, value in left.items():
        if _bits(value) != _bits(right[path]):
            return _told(path, value, right[path])
    return None


def _told(path: str, expected: Leaf, found: Leaf) -> str:
    """What differs, at the first place of two arrays, with all digits."""
    if isinstance(expected, torch.Tensor | np.ndarray) and isinstance(found, torch.Tensor | np.ndarray):
        left, right = (
            each.detach().cpu().numpy() if isinstance(each, torch.Tensor) else each for each in (expected, found)
        )
        if left.shape == right.shape and left.dtype == right.dtype and (places := np.argwhere(left != right)).size:
            place = tuple(int(index) for index in places[0])
            at = f" at {list(place)}" if place else ""
            return f"{path} is {right[place].item()!r}{at}; expected {left[place].item()!r}"
    return f"{path} is {_brief(found)}; expected {_brief(expected)}"


def assert_equal(expected: Any, found: Any, message: str) -> None:
    """Raises AssertionError with `message` and the first difference of two states."""
    where = difference(expected, found)
    assert where is None, f"{message} {where}"


def state_hash(state: Any, ignore: Collection[str] = ()) -> str:
    """A hash of every bit of a state, except the leaves whose last key is in `ignore`."""
    content = hashlib.blake2b(digest_size=16)
    for path, value in sorted(flatten(state).items()):
        if path.rpartition("/")[2] not in ignore:
            content.update(repr((path, _bits(value))).encode())
    return content.hexdigest()


def snapshot(state: Any) -> Any:
    """A copy that shares no memory with the original; mappings become dicts."""
    if isinstance(state, Mapping):
        return {key: snapshot(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [snapshot(value) for value in state]
    if isinstance(state, torch.Tensor):
        return state.detach().clone()
    return state.copy() if isinstance(state, np.ndarray) else state


def _bits(leaf: Leaf) -> tuple[Any, ...]:
    if isinstance(leaf, torch.Tensor):
        leaf = leaf.detach().cpu().numpy()
    if isinstance(leaf, np.ndarray):
        return ("array", str(leaf.dtype), leaf.shape, leaf.tobytes())
    return (type(leaf), repr(leaf))


def _brief(leaf: Leaf) -> str:
    text = " ".join(repr(leaf).split())
    return text if len(text) <= 120 else text[:117] + "..."
