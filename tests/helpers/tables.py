"""Agents whose Q-networks are tables, of which one update can be computed by hand; read and set by their state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from rlkit.agent import Agent
from rlkit.testing.states import snapshot
from rlkit.types import Observation, StepBatch

BY_HAND: dict[str, Any] = {
    "learning_rate": 1.0,
    "discount": 0.5,
    "batch_size": 1,
    "loss": "squared",
    "max_grad_norm": 0.0,
    "optimizer": {"type": "sgd"},
    "target": {"every": 1000},
}
"""One update sets Q(s, a) to its target."""

WEIGHT = "head.0.weight"  # of a table, transposed: (A, S), or (G * A, S) for a controller with heads for its goals


def see(places: ArrayLike, *, first: bool = False) -> Observation:
    """Observations of Discrete spaces, (N,)."""
    where = np.asarray(places, np.int64)
    return Observation(where, {}, np.full(len(where), first))


def step(
    before: int,
    action: int,
    after: int,
    *,
    reward: float = 0.0,
    first: bool = False,
    died: bool = False,
    truncated: bool = False,
    extras: Mapping[str, Any] | None = None,
) -> StepBatch:
    """A step of one environment."""
    numbers = {"action": np.array([action]), "reward": np.array([reward], np.float32)}
    ends = {"terminated": np.array([died]), "truncated": np.array([truncated])}
    discount = np.array([0.0 if died else 1.0], np.float32)
    return StepBatch(
        see([before], first=first), **numbers, discount=discount, **ends, after=see([after]), extras=extras or {}
    )


def values(agent: Agent, *path: str) -> np.ndarray:
    """Q(s, a), (S, A), of the network at a path of the agent's state, ("policy", "network")."""
    weight: np.ndarray = _at(agent.state_dict(), path)[WEIGHT].detach().numpy().T.copy()
    return weight


def with_values(agent: Agent, tables: Mapping[tuple[str, ...], ArrayLike]) -> Agent:
    """The agent with Q(s, a), (S, A), of networks by their paths."""
    state = snapshot(agent.state_dict())
    for path, table in tables.items():
        _at(state, path)[WEIGHT] = torch.tensor(np.asarray(table), dtype=torch.float32).T.contiguous()
    agent.load_state_dict(state)
    return agent


def _at(state: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        state = state[part]
    return state
