"""Visits over a plane: counted as by hand, drawn so that the picture can be read."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Discrete
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit.config.tables import VisitsConfig
from rlkit.errors import SpecError
from rlkit.metrics.heatmap import LEFT, TOP, cells
from rlkit.metrics.visits import Visits
from rlkit.types import ArraySpec, EnvSpec, Observation, StepBatch


def visits_over(low: Any, high: Any, cells: Any, columns: tuple[int, int] = (0, 1)) -> Visits:
    spec = EnvSpec(Discrete(2), 2, 1, signals={"state": ArraySpec((2,), np.int64)})
    return Visits(VisitsConfig(low=low, high=high, cells=cells, columns=columns), spec)


@given(width=st.integers(1, 60), height=st.integers(1, 60), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_whole_numbers_are_counted_each_in_its_cell(width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    visits, expected = visits_over((0, 0), (width, height), (width, height)), Counter()
    for _ in range(3):
        points = np.stack([rng.integers(0, width, 40), rng.integers(0, height, 40)], axis=1).astype(np.int16)
        visits.add(points)
        expected.update(map(tuple, points.tolist()))
    found = {(column, row): int(n) for (row, column), n in np.ndenumerate(visits.counts) if n}
    assert found == dict(expected)


def test_edges_and_what_lies_beyond_count_in_the_nearest_cell() -> None:
    visits = visits_over((-1.2, -0.07), (0.6, 0.07), (18, 14))
    visits.add(np.array([[-1.2, -0.07], [0.6, 0.07], [5, -5], [-1.15, 0.0]], dtype=np.float32))
    expected = np.zeros((14, 18), dtype=np.int64)
    expected[0, 0] = expected[13, 17] = expected[0, 17] = expected[7, 0] = 1
    assert (visits.counts == expected).all()


def test_the_picture() -> None:
    visits = visits_over((0, 0), (3, 2), (3, 2))
    visits.add(np.array([[0, 0]] * 1000 + [[2, 0]] * 10 + [[1, 1]]))
    pixels = cells(visits.counts)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (172, 258, 3)
    brightness = pixels[43::86, 43::86].astype(int).sum(axis=-1)  # the middle of each cell
    assert brightness[0, 0] > brightness[0, 2] > brightness[1, 1] > 0
    assert brightness[0, 1] == brightness[1, 0] == brightness[1, 2] == 0
    assert (pixels[:86, :86] == pixels[0, 0]).all()
    assert not cells(visits_over((0, 0), (1, 1), (4, 4)).counts).any()


def test_steps_are_counted_by_their_signal() -> None:
    visits = visits_over((0, 0), (3, 2), (3, 2), columns=(1, 0))

    def seen(rows: list[list[int]], first: list[bool]) -> Observation:
        return Observation(np.zeros(2), {"state": np.array(rows)}, np.array(first))

    no = np.zeros(2, np.bool_)
    step = StepBatch(
        seen([[0, 2], [1, 1]], [True, False]), no, no, no, no, no, seen([[1, 2], [1, 0]], [False, False]), {}
    )
    visits.observe(step)
    assert visits.counts.tolist() == [[0, 0, 1], [1, 0, 1]]


def test_a_signal_that_is_not_there_is_refused() -> None:
    with pytest.raises(SpecError, match=r'columns \(0, 5\) of the signal "state"'):
        visits_over((0, 0), (3, 2), (3, 2), columns=(0, 5))


@pytest.mark.parametrize(("high", "cells"), [((0, 1), (2, 2)), ((1, 1), (0, 2))])
def test_an_empty_plane_is_refused(high: tuple[float, float], cells: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="low < high and at least one cell"):
        visits_over((0, 0), high, cells)


def test_the_picture_has_a_title_axes_and_a_scale() -> None:
    visits = visits_over((0, 0), (3, 2), (3, 2))
    empty = visits.image().pixels
    visits.add(np.array([[0, 0]] * 1000 + [[2, 0]] * 10 + [[1, 1]]))
    pixels = visits.image().pixels
    assert pixels.shape == empty.shape
    grid = cells(visits.counts)
    height, width = grid.shape[:2]
    np.testing.assert_array_equal(pixels[TOP : TOP + height, LEFT : LEFT + width], grid)
    for part in (pixels[:TOP], pixels[TOP + height :], pixels[:, :LEFT]):
        assert part.min() < 128, "no text"
    scale = pixels[TOP : TOP + height, LEFT + width + 14]
    assert scale[0].tolist() == grid[0, 0].tolist(), "the scale begins with the most visits"
    assert not scale[-1].any(), "and ends with none"
