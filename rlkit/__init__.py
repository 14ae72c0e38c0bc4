"""rlkit: reinforcement-learning agents that explore, on one replay and rollout engine with exact resume."""

from __future__ import annotations

from typing import Any

__all__ = ["evaluate_run", "load_policy", "resume", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The Python interface, imported when first used: `import rlkit` alone does not import torch."""
    if name == "load_policy":
        from rlkit.runs.policy import load_policy

        return load_policy
    if name in __all__:
        from rlkit.runs import api

        return getattr(api, name)
    raise AttributeError(f"module 'rlkit' has no attribute {name!r}")
