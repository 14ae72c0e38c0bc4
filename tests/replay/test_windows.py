"""Uniform draws where few rows can be sampled."""

from __future__ import annotations

import numpy as np
import pytest

from rlkit.replay.windows import draw_uniform


@pytest.mark.parametrize("sampleable_count", [1, 3, 40, 150, 199, 200])
def test_uniform_draws_at_any_density(sampleable_count: int) -> None:
    rng = np.random.default_rng(7)
    sampleable = np.zeros(300, np.bool_)
    sampleable[rng.permutation(200)[:sampleable_count]] = True
    drawn = np.concatenate([draw_uniform(sampleable, 200, sampleable_count, 50, rng) for _ in range(1000)])
    assert drawn.shape == (50_000,)
    counts = np.bincount(drawn, minlength=300)
    assert counts[~sampleable].sum() == 0
    expected = 50_000 / sampleable_count
    statistic = ((counts[sampleable] - expected) ** 2 / expected).sum()
    freedom = sampleable_count - 1
    assert abs(statistic - freedom) <= 4 * np.sqrt(2 * freedom)


def test_a_generator_without_luck_ends() -> None:
    """Rejections for ever: the rest comes from a listing of what can be sampled."""

    class Unlucky(np.random.Generator):
        def integers(self, low, high, size):
            return np.zeros(size, np.int64)

    sampleable = np.array([False, True, True, True])
    drawn = draw_uniform(sampleable, 4, 3, 20, Unlucky(np.random.PCG64(0)))
    assert drawn.tolist() == [1] * 20  # the first of the listing
