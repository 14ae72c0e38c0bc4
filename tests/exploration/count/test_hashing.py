"""Codes of states: exact ones, and the signs of random projections."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from rlkit.exploration.count.hashing import LARGEST_SUM, ExactHash, SimHash, digest


def simhash(
    size: int, bits: int = 256, *, bias: bool = False, midpoint: NDArray[np.float64] | None = None, seed: int = 0
) -> SimHash:
    return SimHash(size, bits, bias=bias, midpoint=midpoint, rng=np.random.default_rng(seed))


def test_digests_are_equal_for_equal_rows_only() -> None:
    rows = np.random.default_rng(0).integers(0, 3, (500, 7)).astype(np.uint8)
    codes = digest(rows)
    assert codes.dtype == np.int64
    for a, b in np.random.default_rng(1).integers(0, 500, (2000, 2)):
        assert (codes[a] == codes[b]) == bool((rows[a] == rows[b]).all())


def test_both_zeros_are_the_same_state() -> None:
    codes = ExactHash()(np.array([[0.0, 1.0], [-0.0, 1.0], [1e-30, 1.0]], np.float32))
    assert codes[0] == codes[1] != codes[2]


def test_bits_are_the_signs_of_the_projections() -> None:
    hashing = simhash(5, 16, midpoint=np.full(5, 2.0))
    state = hashing.state_dict()
    rows = np.random.default_rng(2).integers(0, 5, (40, 5))
    for row, code in zip(rows, hashing.bits(rows), strict=True):
        for k in range(16):
            assert code[k] == (sum((row[i] - 2.0) * state["projection"][i, k] for i in range(5)) > 0)


def test_zero_is_no_third_symbol() -> None:
    assert not simhash(3, midpoint=np.ones(3)).bits(np.ones((1, 3))).any()


def test_sums_do_not_depend_on_their_order() -> None:
    """0.1 + 0.2 - 0.3 is above 0 in floating point, or below, as the order will have it."""
    hashing = simhash(3, 1, midpoint=np.zeros(3))
    hashing.load_state_dict({**hashing.state_dict(), "projection": np.full((3, 1), 1024.0)})
    for row in itertools.permutations([0.1, 0.2, -0.3]):
        assert not hashing.bits(np.array([row])).any()


@pytest.mark.parametrize("kind", ["pixels", "vector", "one-hot"])
def test_a_state_has_the_same_code_in_every_batch(kind: str) -> None:
    rng = np.random.default_rng(3)
    midpoint = None
    if kind == "pixels":
        rows = rng.integers(0, 256, (300, 1764)).astype(np.uint8)
        midpoint = np.full(1764, 127.5)
    elif kind == "vector":
        rows = rng.normal(size=(300, 37)).astype(np.float32)
    else:
        rows = np.eye(900, dtype=np.uint8)[rng.integers(0, 900, 300)]
    hashing = simhash(rows.shape[1], midpoint=midpoint)
    if midpoint is None:
        hashing.fit(rows)
    whole = hashing.bits(rows)
    for size in (1, 2, 3, 7, 64):
        parts = [hashing.bits(rows[i : i + size]) for i in range(0, 300, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    order = rng.permutation(300)
    np.testing.assert_array_equal(hashing.bits(np.asfortranarray(rows[order])), whole[order])


def test_centring_uses_all_bits() -> None:
    """Tang et al.'s authors left pixels in 0..255, where two frames differ in a fifth of the bits instead of half."""
    rows = np.random.default_rng(4).integers(0, 256, (2, 1764))
    first, second = simhash(1764, midpoint=np.full(1764, 127.5)).bits(rows)
    assert 90 < np.count_nonzero(first != second) < 166


def test_one_hot_inputs_keep_apart() -> None:
    """Scaled to 2x - 1 instead, a thousand one-hot states get a few hundred codes of 64 bits."""
    states = np.eye(1000, dtype=np.uint8)
    hashing = simhash(1000, 64)
    hashing.fit(states[np.random.default_rng(5).integers(0, 1000, 3000)])
    assert len(np.unique(hashing(states))) > 990


def test_units_play_no_part() -> None:
    rows = np.random.default_rng(6).normal(size=(200, 4))
    codes = []
    for units in ([1.0, 1.0, 1.0, 1.0], [1.0, 1e-3, 512.0, 1e4]):
        hashing = simhash(4, 32, bias=True)
        hashing.fit(rows * units)
        codes.append(hashing.bits(rows * units))
    assert (codes[0] == codes[1]).mean() > 0.999


def test_a_bias_tells_two_numbers_apart_better() -> None:
    rows = np.random.default_rng(7).normal(size=(5000, 2))
    found = {}
    for bias in (False, True):
        hashing = simhash(2, 16, bias=bias)
        hashing.fit(rows)
        found[bias] = len(np.unique(hashing(rows)))
    assert found[False] <= 32
    assert found[True] > 60


def test_a_feature_that_did_not_vary_yet_is_not_blown_up() -> None:
    rows = np.random.default_rng(8).normal(size=(100, 3)) * [1, 1, 0]
    hashing = simhash(3)
    hashing.fit(rows)
    bits = hashing.bits(rows + np.array([0, 0, 0.01]))
    assert (bits == hashing.bits(rows)).mean() > 0.98


@pytest.mark.parametrize("constant", [0.1, 1e9, -3.3])
def test_a_constant_is_not_taken_for_a_feature_that_varies(constant: float) -> None:
    """The mean of a thousand equal numbers is not that number, to the last bit."""
    rows = np.column_stack((np.random.default_rng(8).normal(size=(1000, 3)), np.full(1000, constant)))
    hashing = simhash(4)
    hashing.fit(rows)
    changed = rows + np.array([0, 0, 0, 0.01])
    assert (hashing.bits(changed) == hashing.bits(rows)).mean() > 0.98


def test_sums_stay_exact_however_far_out_inputs_lie() -> None:
    rows = np.random.default_rng(8).normal(size=(200, 50))
    hashing = simhash(50)
    hashing.fit(rows)
    far = rows * np.geomspace(1, 1e30, 200)[:, None]
    alone = np.concatenate([hashing.bits(far[number : number + 1]) for number in range(200)])
    np.testing.assert_array_equal(hashing.bits(far), alone)
    largest = np.abs(hashing.state_dict()["projection"]).max() * (LARGEST_SUM // 50) * 50
    assert largest < 2.0**53


def test_the_state_carries_projection_and_centre() -> None:
    rows = np.random.default_rng(9).normal(size=(50, 6))
    hashing, other = simhash(6, bias=True), simhash(6, bias=True, seed=1)
    hashing.fit(rows)
    assert not other.ready
    other.load_state_dict(hashing.state_dict())
    assert other.ready
    np.testing.assert_array_equal(other(rows), hashing(rows))
