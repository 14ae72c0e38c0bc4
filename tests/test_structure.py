"""Structured observations: flat rows hold every part exactly, and give it back, in NumPy and in torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit.errors import SpecError
from rlkit.replay import Replay
from rlkit.structure import Structure
from rlkit.types import EnvSpec, Observation, StepBatch

SHAPES = st.sampled_from([(1,), (3,), (2, 3), (2, 1, 4)])
ARRAYS = st.one_of(
    st.builds(lambda shape, low, size: spaces.Box(low, low + size, shape, np.int64), SHAPES,
              st.integers(-(2**53), 2**52), st.integers(0, 2**50)),
    st.builds(lambda shape, dtype: spaces.Box(0, 100, shape, dtype), SHAPES,
              st.sampled_from([np.uint8, np.int8, np.int16, np.int32, np.uint32, np.float16, np.float32, np.float64])),
    st.builds(lambda shape: spaces.Box(-np.inf, np.inf, shape, np.float32), SHAPES),
    st.builds(lambda shape: spaces.Box(0, 1, shape, np.bool_), SHAPES),
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 2**30), st.integers(-(2**40), 2**40)),
    st.builds(lambda shape: spaces.MultiBinary(shape), SHAPES),
    st.sampled_from([spaces.MultiDiscrete([3, 2]), spaces.MultiDiscrete([[2, 9], [1, 300]], start=[[0, -5], [7, 1]])]),
)  # fmt: skip
NESTED = st.recursive(
    ARRAYS,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(["image", "state", "b", "action_mask"]), inner, min_size=1, max_size=4).map(
            spaces.Dict
        ),
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
    ),
    max_leaves=5,
).filter(lambda space: isinstance(space, spaces.Dict | spaces.Tuple))


def named(observation: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of a nested observation, found without the space."""
    if not isinstance(observation, dict | tuple):
        return {prefix: observation}
    items = observation.items() if isinstance(observation, dict) else enumerate(observation)
    return {
        name: leaf
        for key, inner in items
        for name, leaf in named(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }


@settings(max_examples=200, deadline=None)
@given(NESTED, st.integers(0, 1000))
def test_what_is_flattened_is_given_back(space: gym.Space, seed: int) -> None:
    structure = Structure.of(space)
    space.seed(seed)
    observations = [space.sample() for _ in range(6)]
    rows = np.stack([structure.flatten(observation) for observation in observations])
    assert rows.dtype == structure.space.dtype
    assert all(structure.space.contains(row) for row in rows)
    found = structure.split(rows.reshape(2, 3, -1))
    moved = structure.split(torch.from_numpy(rows))
    for number, observation in enumerate(observations):
        expected = {name: np.asarray(leaf) for name, leaf in named(observation).items()}
        assert found.keys() == expected.keys()
        for name, leaf in expected.items():
            part = found[name][divmod(number, 3)]
            assert (part.dtype, part.shape) == (leaf.dtype, leaf.shape)
            np.testing.assert_array_equal(part, leaf)
            assert moved[name].numpy().dtype == leaf.dtype
            np.testing.assert_array_equal(moved[name][number].numpy(), leaf)


@pytest.mark.parametrize(
    ("parts", "dtype"),
    [
        ([spaces.Box(0, 255, (2, 2), np.uint8), spaces.Discrete(4)], np.uint8),
        ([spaces.Box(0, 255, (2,), np.uint8), spaces.Discrete(4, start=-1)], np.int16),
        ([spaces.Box(0, 255, (2,), np.uint8), spaces.Box(-1, 1, (2,))], np.float32),
        ([spaces.Box(-1, 1, (2,), np.float16), spaces.MultiBinary(2)], np.float32),
        ([spaces.Box(-1, 1, (2,)), spaces.Discrete(2**24 + 1)], np.float32),
        ([spaces.Box(-1, 1, (2,)), spaces.Discrete(2**24 + 2)], np.float64),
        ([spaces.Box(-1, 1, (2,)), spaces.Box(0, 1, (1,), np.float64)], np.float64),
        ([spaces.Box(-(2**63), 2**63 - 1, (1,), np.int64), spaces.MultiBinary(3)], np.int64),
    ],
)
def test_the_smallest_dtype_that_holds_all_parts(parts: list[gym.Space], dtype: Any) -> None:
    assert Structure.of(spaces.Tuple(parts)).space.dtype == dtype


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            spaces.Dict({"a": spaces.Discrete(2), "told": spaces.Dict({"mission": spaces.Text(9)})}),
            "'told.mission' .Text. are not supported",
        ),
        (
            spaces.Tuple([spaces.Discrete(2), spaces.Sequence(spaces.Discrete(2))]),
            "'1' .Sequence. are not supported; remove or convert",
        ),
        (spaces.Dict({"a": spaces.Box(0, 1, ())}), "'a' .Box.*not supported"),
        (spaces.Dict({"a.b": spaces.Discrete(2), "a": spaces.Dict({"b": spaces.Discrete(2)})}), "different names"),
        (spaces.Dict({}), "at least one"),
        (
            spaces.Dict({"id": spaces.Discrete(2**60), "speed": spaces.Box(0, 1, (1,))}),
            "id int64 .*speed float32.*narrower bounds",
        ),
        (spaces.Dict({"id": spaces.Box(0, 2**64 - 1, (1,), np.uint64)}), "id uint64"),
    ],
)
def test_what_no_row_can_hold_is_refused(space: gym.Space, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Structure.of(space)


def test_an_observation_that_does_not_fit_its_space_is_refused() -> None:
    structure = Structure.of(spaces.Dict({"code": spaces.Discrete(4), "grid": spaces.Box(0, 255, (2, 2), np.uint8)}))
    grid = np.zeros((2, 2), np.uint8)
    assert structure.flatten({"code": 3, "grid": grid, "more": "ignored"}).tolist() == [3, 0, 0, 0, 0]
    with pytest.raises(SpecError, match=r"'code' .*256"):
        structure.flatten({"code": 256, "grid": grid})
    with pytest.raises(SpecError, match=r"'grid' has shape \(4,\); its space says \(2, 2\)"):
        structure.flatten({"code": 0, "grid": grid.ravel()})
    with pytest.raises(SpecError, match="has no 'grid'"):
        structure.flatten({"code": 0})


def test_an_action_mask_is_found_again_where_the_successor_is_valued() -> None:
    space = spaces.Dict({"action_mask": spaces.MultiBinary(3), "position": spaces.Box(-9, 9, (2,))})
    structure = Structure.of(space)
    replay = Replay(
        20,
        EnvSpec(structure.space, 3, 1, structure=structure),
        device=torch.device("cpu"),
        rng=np.random.default_rng(0),
    )
    space.seed(0)
    states = [space.sample() for _ in range(4)]
    no, one = np.zeros(1, np.bool_), np.ones(1, np.float32)
    for before, after in pairwise(states):
        seen = (Observation(structure.flatten(state)[None], {}, np.array([state is states[0]]))
                for state in (before, after))  # fmt: skip
        replay.add(StepBatch(next(seen), np.zeros(1, np.int64), one, one, no, no, next(seen), {}))
    window = replay.window(replay.sampleable())
    for rows, expected in ((window.obs, states[:-1]), (window.next_obs, states[1:])):
        mask = structure.split(rows)["action_mask"]
        assert mask.dtype == torch.int8
        np.testing.assert_array_equal(mask.numpy(), [state["action_mask"] for state in expected])
