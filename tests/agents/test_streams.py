"""What an agent draws follows from the seed, and each part draws from a stream of its own."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from helpers.base_configs import BASES, Base
from rlkit.agent import AgentContext
from rlkit.seeding import Streams
from rlkit.testing.states import flatten, snapshot

CASES = [pytest.param(base, id=f"{agent}-{name}") for agent, bases in BASES.items() for name, base in bases.items()]


def drawn(base: Base, seed: int) -> dict[str, Any]:
    """The leaves of a fresh agent's state that are drawn: the states of generators, and numbers that are not alike."""
    agent = base.plugin.agent(base.config, base.spec, AgentContext(Streams(seed), torch.device("cpu")))
    leaves = flatten(snapshot(agent.state_dict()))
    return {path: value for path, value in leaves.items() if _is_state(path) or _varies(value)}


def _is_state(path: str) -> bool:
    return path.endswith(("rng/state/state", "/noise"))


def _varies(value: Any) -> bool:
    if not isinstance(value, np.ndarray | torch.Tensor):
        return False
    array = np.asarray(value)
    return array.dtype.kind == "f" and array.size > 1 and bool(np.ptp(array) > 0)


@pytest.mark.parametrize("base", CASES)
def test_another_seed_draws_other_numbers(base: Base) -> None:
    first, second = drawn(base, 1), drawn(base, 2)
    assert first.keys() == second.keys()
    same = {path for path, value in first.items() if np.array_equal(np.asarray(value), np.asarray(second[path]))}
    assert not same


@pytest.mark.parametrize("base", CASES)
def test_no_two_parts_draw_from_the_same_stream(base: Base) -> None:
    """Target networks begin as copies, and a policy's actor shares what it reads of the bonus."""
    parts = drawn(base, 1).items()
    leaves = {path: np.asarray(value) for path, value in parts if "/target/" not in path and "/actor/" not in path}
    for (path, value), (other, another) in itertools.combinations(leaves.items(), 2):
        assert not np.array_equal(value, another), f"{path} and {other} are the same numbers"
