"""One environment of a vector: what its spec says, which spaces and signals are refused."""

from __future__ import annotations

import os
import pickle
import re
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation, TimeLimit

from helpers.vectors import Toy, Vectors, cartpole, everyone, state_of
from rlkit.errors import SpecError, WorkerError
from rlkit.types import Stack
from rlkit.vector.driver import VectorEnvironments
from rlkit.vector.environment import action_of, describe, num_actions
from rlkit.vector.sub_env import EnvFactory


@pytest.mark.parametrize(
    ("obs", "action", "message"),
    [
        (spaces.Box(0, 1, ()), None, "supported are Box of rank 1"),
        (spaces.Dict({"a": spaces.Text(2)}), None, "Toy: .*'a' .Text.*supported are Box"),
        (spaces.Text(5), None, "Text.*supported are Box"),
        (None, spaces.Box(0, 1, (2,)), "Toy: action space Box.*must be Discrete.*continuous actions use"),
        (None, spaces.MultiDiscrete([20, 30, 40]), "has 24,000 joint actions; at most 4,096"),
        (None, spaces.MultiBinary(3), "must be Discrete or MultiDiscrete"),
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


class Says(Toy):
    """Returns the observation and the reward that it is given."""

    def __init__(self, space: spaces.Space, obs: Any = None, reward: Any = 0.0) -> None:
        super().__init__(space)
        self.obs, self.reward = space.sample() if obs is None else obs, reward

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        return self.obs, {}

    def step(self, action: int) -> tuple[Any, Any, bool, bool, dict]:
        return self.obs, self.reward, False, False, {}


BYTES = spaces.Box(0, 255, (2,), np.uint8)
FLOATS = spaces.Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize(
    ("space", "obs", "message"),
    [
        (BYTES, np.array([0.0, 0.5]), "float64 values from 0 to 0.5.*storing as uint8 would change"),
        (BYTES, np.array([0, 256]), "from 0 to 256.*as uint8"),
        (BYTES, np.array([np.nan, 1]), "as uint8"),
        (spaces.Box(-9, 9, (2,), np.int16), np.array([0, 70_000]), "70000.*as int16"),
        (BYTES, np.array(["a", "b"]), "dtype <U1"),
        (BYTES, np.zeros((2, 1), np.uint8), "shape .2, 1.; its space says .2,."),
        (spaces.Discrete(4), 4, "an observation is 4, which is outside its space Discrete.4."),
        (spaces.Discrete(4), -1, "outside its space"),
        (spaces.Discrete(4), 1.5, "1.5.*as int64"),
        (spaces.MultiDiscrete([2, 3]), np.array([0, 3]), "outside its space"),
        (spaces.MultiBinary(2), np.array([0, 2], np.int8), "outside its space"),
        (spaces.Dict({"a": FLOATS, "b": BYTES}), {"a": np.zeros(2), "b": np.array([0.5, 1])}, "'b' has float64 values"),
        (spaces.Dict({"a": FLOATS, "b": spaces.Discrete(2)}), {"a": np.zeros(2), "b": 2}, "'b' is 2, which is outside"),
    ],
)
def test_observations_that_storing_would_change_are_refused(
    vectors: Vectors, space: Any, obs: Any, message: str
) -> None:
    made = vectors(lambda: Says(space, obs), 1)
    with pytest.raises(WorkerError, match=message) as caught:
        made.reset(everyone(1), np.zeros(1, np.int64))
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("space", "obs"),
    [
        (BYTES, np.array([0.0, 255.0])),
        (BYTES, [3, 4]),
        (FLOATS, np.array([0.1, -0.1])),
        (FLOATS, np.array([5.0, -5.0], np.float32)),
        (spaces.Discrete(3, start=1), np.int32(3)),
        (spaces.MultiBinary(2), np.array([True, False])),
    ],
)
def test_observations_of_another_dtype_that_fit_are_stored(vectors: Vectors, space: Any, obs: Any) -> None:
    found = vectors(lambda: Says(space, obs), 1).reset(everyone(1), np.zeros(1, np.int64))
    np.testing.assert_array_equal(found.obs[0], np.asarray(obs, space.dtype))


@pytest.mark.parametrize(("reward", "value"), [(2, 2.0), (np.float32(0.5), 0.5), (np.array([0.5]), 0.5), (True, 1.0)])
def test_rewards_of_one_number(vectors: Vectors, reward: Any, value: float) -> None:
    made = vectors(lambda: Says(FLOATS, reward=reward), 1)
    made.reset(everyone(1), np.zeros(1, np.int64))
    made.send(np.zeros(1, np.int64))
    assert made.receive().reward.tolist() == [value]


@pytest.mark.parametrize(("reward", "shape"), [(np.array([1.0, -1.0]), "(2,)"), ([[1.0]], "(1, 1)"), ("1", "()")])
def test_other_rewards_are_refused_with_their_shape(vectors: Vectors, reward: Any, shape: str) -> None:
    made = vectors(lambda: Says(FLOATS, reward=reward), 1)
    made.reset(everyone(1), np.zeros(1, np.int64))
    made.send(np.zeros(1, np.int64))
    with pytest.raises(WorkerError, match="a reward has shape " + re.escape(shape)) as caught:
        made.receive()
    assert "Traceback" not in str(caught.value)


def reset_and_step(made: VectorEnvironments) -> None:
    made.reset(everyone(1), np.zeros(1, np.int64))
    made.send(np.zeros(1, np.int64))
    made.receive()


class OldStep(Says):
    def step(self, action: int) -> Any:
        return self.obs, 0.0, False, {}


class OldReset(Says):
    def reset(self) -> Any:
        return self.obs


class NoInfo(Says):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.obs


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (OldStep, "step returned a tuple of 4; Gymnasium's API returns"),
        (OldReset, "its reset takes no seed"),
        (NoInfo, "reset returned a ndarray; Gymnasium's API returns .observation, info."),
    ],
)
def test_environments_of_another_api_are_refused_in_one_line(vectors: Vectors, kind: Any, message: str) -> None:
    made = vectors(lambda: kind(FLOATS), 1)
    with pytest.raises(WorkerError, match=message) as caught:
        reset_and_step(made)
    assert "\n" not in str(caught.value)


def test_success_is_one_value(vectors: Vectors) -> None:
    made = vectors(Toy, 2, signals=lambda env: {"success": np.array([True])})
    assert made.reset(everyone(2), np.zeros(2, np.int64)).signals["success"].tolist() == [True, True]
    with pytest.raises(SpecError, match=r'"success" has shape \(2,\); it must be one value'):
        describe(Toy, 1, lambda env: {"success": np.zeros(2)})


def test_numbers_of_actions() -> None:
    """The last part of a joint action changes fastest."""
    joint = spaces.MultiDiscrete([[2], [3]], start=[[0], [7]])
    assert num_actions(joint) == 6
    assert [action_of(joint, number).ravel().tolist() for number in range(6)] == [
        [0, 7], [0, 8], [0, 9], [1, 7], [1, 8], [1, 9],
    ]  # fmt: skip
    assert all(joint.contains(action_of(joint, number)) for number in range(6))
    assert [action_of(spaces.Discrete(3, start=5), number) for number in range(3)] == [5, 6, 7]


def test_env_factories_survive_pickling() -> None:
    seat = EnvFactory(1, cartpole, describe(cartpole, 2, state_of), state_of, os.getpid())
    member = pickle.loads(pickle.dumps(seat))()
    np.testing.assert_array_equal(member.reset(seed=3)[0]["obs"], cartpole().reset(seed=3)[0])
