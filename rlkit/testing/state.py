"""Comparing states: one hash for a whole tree of tensors, arrays and plain values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch


def state_hash(state: Any, ignore: Collection[str] = ()) -> str:
    """A hash of every bit of a state; mapping entries whose key is in `ignore` do not count, at any depth."""
    content = hashlib.blake2b(digest_size=16)
    _add(content, state, frozenset(ignore))
    return content.hexdigest()


def _add(content: Any, value: Any, ignore: frozenset[str]) -> None:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        content.update(f"array {value.dtype.str} {value.shape}".encode())
        content.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        for key in sorted(value):
            if key not in ignore:
                content.update(f"key {key}".encode())
                _add(content, value[key], ignore)
    elif isinstance(value, list | tuple):
        content.update(f"list {len(value)}".encode())
        for item in value:
            _add(content, item, ignore)
    else:
        content.update(json.dumps(value).encode())
