"""Visits over a plane: counted as by hand, drawn so that the picture can be read."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit.visits import Visits


@given(width=st.integers(1, 60), height=st.integers(1, 60), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_whole_numbers_are_counted_each_in_its_cell(width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    visits, expected = Visits((0, 0), (width, height), (width, height)), Counter()
    for _ in range(3):
        points = np.stack([rng.integers(0, width, 40), rng.integers(0, height, 40)], axis=1).astype(np.int16)
        visits.add(points)
        expected.update(map(tuple, points.tolist()))
    found = {(column, row): int(n) for (row, column), n in np.ndenumerate(visits.counts) if n}
    assert found == dict(expected)


def test_edges_and_what_lies_beyond_count_in_the_nearest_cell() -> None:
    visits = Visits((-1.2, -0.07), (0.6, 0.07), (18, 14))
    visits.add(np.array([[-1.2, -0.07], [0.6, 0.07], [5, -5], [-1.15, 0.0]], dtype=np.float32))
    expected = np.zeros((14, 18), dtype=np.int64)
    expected[0, 0] = expected[13, 17] = expected[0, 17] = expected[7, 0] = 1
    assert (visits.counts == expected).all()


def test_the_picture() -> None:
    visits = Visits((0, 0), (3, 2), (3, 2))
    visits.add(np.array([[0, 0]] * 1000 + [[2, 0]] * 10 + [[1, 1]]))
    pixels = visits.image().pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape == (172, 258, 3)
    brightness = pixels[43::86, 43::86].astype(int).sum(axis=-1)  # the middle of each cell
    assert brightness[0, 0] > brightness[0, 2] > brightness[1, 1] > 0
    assert brightness[0, 1] == brightness[1, 0] == brightness[1, 2] == 0
    assert (pixels[:86, :86] == pixels[0, 0]).all()
    assert not Visits((0, 0), (1, 1), (4, 4)).image().pixels.any()


def test_a_restored_one_goes_on() -> None:
    one, other = Visits((0, 0), (4, 4), (4, 4)), Visits((0, 0), (4, 4), (4, 4))
    one.add(np.array([[1, 2], [1, 2]]))
    saved = one.state_dict()
    one.add(np.array([[3, 0]]))
    other.load_state_dict(saved)
    other.add(np.array([[3, 0]]))
    assert (one.counts == other.counts).all()
    assert saved["counts"].sum() == 2


@pytest.mark.parametrize(("high", "cells"), [((0, 1), (2, 2)), ((1, 1), (0, 2))])
def test_an_empty_plane_is_refused(high: tuple[float, float], cells: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="low < high and at least one cell"):
        Visits((0, 0), high, cells)
