"""One environment of a vector: what its spec says, which spaces and signals are refused."""

from __future__ import annotations

import os
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation, TimeLimit

from helpers.vectors import Toy, cartpole, state_of
from rlkit.errors import SpecError
from rlkit.types import Stack
from rlkit.vector.environment import EnvFactory, describe


@pytest.mark.parametrize(
    ("obs", "action", "message"),
    [
        (spaces.Box(0, 1, ()), None, "supported are Box of rank 1"),
        (spaces.Dict({"a": spaces.Text(2)}), None, "Toy: .*'a' .Text.*supported are Box"),
        (spaces.Text(5), None, "Text.*supported are Box"),
        (None, spaces.Box(0, 1, (2,)), "Toy: action space Box.*must be Discrete"),
        (None, spaces.MultiDiscrete([2, 2]), "must be Discrete"),
        (None, spaces.Discrete(2, start=1), "start at 0"),
    ],
)
def test_spaces_that_are_refused(obs: Any, action: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        describe(lambda: Toy(obs, action), 1)


@pytest.mark.parametrize(
    ("make", "stack"),
    [
        (lambda: Toy(), None),
        (lambda: FrameStackObservation(Toy(), 3), Stack(0, 3, "repeat")),
        (lambda: FrameStackObservation(Toy(), 3, padding_type="zero"), Stack(0, 3, "zero")),
        (lambda: FrameStackObservation(Toy(), 3, padding_type=np.ones(2, np.float32)), None),
        (lambda: FrameStackObservation(Toy(spaces.Box(1, 9, (2,))), 3, padding_type="zero"), None),
        (lambda: TimeLimit(FrameStackObservation(Toy(), 3), 5), None),
        (lambda: FrameStackObservation(Toy(spaces.Discrete(2)), 3), None),
    ],
)
def test_stack_is_recognised_where_a_replay_can_rebuild_it(make: Any, stack: Stack | None) -> None:
    assert describe(make, 1).stack == stack


def test_signals_that_are_refused() -> None:
    with pytest.raises(SpecError, match="'obs'"):
        describe(Toy, 1, lambda env: {"obs": 1})
    with pytest.raises(SpecError, match="'word' has dtype <U3"):
        describe(Toy, 1, lambda env: {"word": "abc"})
    with pytest.raises(SpecError, match="ZeroDivisionError"):
        describe(Toy, 1, lambda env: {"bad": 1 / 0})


def test_env_factories_survive_pickling() -> None:
    seat = EnvFactory(1, cartpole, describe(cartpole, 2, state_of), state_of, os.getpid())
    member = pickle.loads(pickle.dumps(seat))()
    np.testing.assert_array_equal(member.reset(seed=3)[0]["obs"], cartpole().reset(seed=3)[0])
