"""The sum tree against a plain array."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit.replay.prioritised import SumTree


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5000), st.integers(0, 2**31))
def test_sum_tree_is_an_array_with_a_running_sum(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree, naive = SumTree(size), np.zeros(size)
    for _ in range(20):
        slots = rng.integers(0, size, rng.integers(0, 40))
        values = rng.integers(0, 9, len(slots)).astype(np.float64)  # integers, whose sums are exact
        tree.set(slots, values)
        for slot, value in zip(slots, values, strict=True):
            naive[slot] = value
    np.testing.assert_array_equal(tree.leaves[:size], naive)
    assert tree.total == naive.sum()
    if naive.any():
        mass = np.arange(int(naive.sum())).astype(np.float64)
        np.testing.assert_array_equal(tree.find(mass), np.searchsorted(naive.cumsum(), mass, side="right"))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5000), st.integers(0, 2**31))
def test_sum_tree_is_a_function_of_its_leaves(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree, loaded, whole = SumTree(size), SumTree(size), SumTree(size)
    for _ in range(15):
        slots = rng.integers(0, size, rng.integers(1, 200))
        tree.set(slots, rng.exponential(size=len(slots)) * 10.0 ** rng.integers(-8, 8))
    loaded.set(np.arange(size), rng.random(size))  # what was there before must not matter
    loaded.load(tree.leaves[:size])
    whole.set(np.arange(size), tree.leaves[:size])
    for one, other, third in zip(tree.levels, loaded.levels, whole.levels, strict=True):
        assert one.tobytes() == other.tobytes() == third.tobytes()
    assert tree.total == loaded.total == whole.total


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**31))
def test_a_leaf_of_zero_is_never_found(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = SumTree(size)
    kept = np.unique(rng.integers(0, size, rng.integers(1, 30)))
    tree.set(kept, rng.random(len(kept)) * 10.0 ** rng.integers(-12, 12, len(kept)))
    boundaries = tree.leaves.cumsum()[kept]
    masses = [boundaries, np.nextafter(boundaries, 0), np.nextafter(boundaries, np.inf), rng.random(500) * tree.total]
    found = tree.find(np.concatenate([*masses, [0.0, tree.total, 2 * tree.total]]))
    assert np.isin(found, kept).all()


def test_sum_tree_bytes() -> None:
    for size in (1, 16, 17, 256, 257, 10_000, 1_000_000):
        assert SumTree.num_bytes(size) == sum(level.nbytes for level in SumTree(size).levels)
