from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit.pacing import Ratio, crossed


@pytest.mark.parametrize(
    ("rate", "starts", "env_steps", "updates"),
    [
        (0.25, 0, 4, 1),
        (0.25, 100, 100, 0),
        (0.25, 100, 104, 1),
        (0.29, 0, 100, 29),  # int(100 * 0.29) is 28
        (0.1, 1000, 1030, 3),  # 30 * 0.1 is 3.0000000000000004 or 2.9999999999999996, depending on the order
        (4, 10, 12, 8),
        (1e-05, 0, 300_000, 3),
        (1.0, 5, 3, 0),
    ],
)
def test_updates_owed(rate: float, starts: int, env_steps: int, updates: int) -> None:
    assert Ratio(rate, starts).total(env_steps) == updates


@given(
    st.integers(0, 9999).map(lambda n: Fraction(n, 1000)),
    st.integers(0, 500),
    st.lists(st.integers(1, 64), max_size=40),
)
def test_the_total_does_not_depend_on_the_strides(rate: Fraction, starts: int, strides: list[int]) -> None:
    ratio, steps, made = Ratio(float(rate), starts), 0, 0
    for stride in strides:
        steps += stride
        owed = ratio.total(steps) - made
        assert owed >= 0
        made += owed
    assert made == max(0, steps - starts) * rate // 1


@given(st.integers(0, 50), st.integers(0, 1000), st.integers(0, 200))
def test_crossed_once_per_multiple(period: int, before: int, stride: int) -> None:
    multiples = [n for n in range(before + 1, before + stride + 1) if period and n % period == 0]
    assert crossed(period, before, before + stride) == bool(multiples)
