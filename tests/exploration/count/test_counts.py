"""Count tables against a Counter."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit import memory
from rlkit.errors import CapacityError
from rlkit.exploration.count.counts import PRIMES, Counts, ExactCounts, LimitedCounts, SketchCounts

SMALL = (7, 11, 13)  # so small that everything collides
CODES = [-(2**63), -1, 0, 1, 2**62, 7, 14, 21, 77, 1001]  # the last ones share cells of SMALL
VISITS = st.lists(st.lists(st.tuples(st.sampled_from(CODES), st.integers(0, 2)), min_size=1, max_size=12), max_size=8)


def fill(table: Counts, visits: list[list[tuple[int, int]]]) -> Counter[tuple[int, int]]:
    truth: Counter[tuple[int, int]] = Counter()
    for batch in visits:
        table.add(np.array([code for code, _ in batch]), np.array([column for _, column in batch]))
        truth.update(batch)
    return truth


def all_counts(table: Counts) -> dict[tuple[int, int], int]:
    counts = table.look_up(np.array(CODES).reshape(2, 5))
    assert counts.shape == (2, 5, 3)
    return {
        (code, column): int(counts.reshape(10, 3)[i, column]) for i, code in enumerate(CODES) for column in range(3)
    }


@given(VISITS)
def test_exact_counts_are_a_counter(visits: list[list[tuple[int, int]]]) -> None:
    table = ExactCounts(3)
    truth = fill(table, visits)
    assert all_counts(table) == {key: truth[key] for key in all_counts(table)}
    assert table.distinct == len({code for code, _ in truth})
    assert sorted(table.values()) == sorted(truth.values())
    loaded = ExactCounts(3)
    loaded.load_state_dict(table.state_dict())
    assert all_counts(loaded) == all_counts(table)
    assert loaded.distinct == table.distinct


def test_an_exact_table_grows_past_its_first_size() -> None:
    table = ExactCounts(2)
    codes = np.arange(5000)
    for _ in range(2):
        table.add(codes, codes % 2)
    np.testing.assert_array_equal(table.look_up(codes), 2 * np.eye(2, dtype=np.int64)[codes % 2])


def test_an_exact_table_that_outgrows_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    table = ExactCounts()
    table.add(np.arange(60), np.zeros(60, np.int64))
    monkeypatch.setattr(memory, "available_memory", lambda device: 10_000)
    with pytest.raises(CapacityError, match=r"counting 130 codes exactly .*sketch"):
        table.add(np.arange(64), np.zeros(64, np.int64))


@pytest.mark.parametrize("conservative", [False, True])
def test_a_table_beyond_its_limit_becomes_a_sketch_of_the_same_counts(conservative: bool) -> None:
    def limited() -> LimitedCounts:
        return LimitedCounts(5, 2, partial(SketchCounts, 2, (101, 103), conservative=conservative))

    digest, column = np.array([1, 1, 2, 3, 4, 5]), np.array([0, 0, 1, 0, 1, 1])
    table, plain = limited(), ExactCounts(2)
    for each in (table, plain):
        each.add(digest, column)
    assert (table.load(), table.distinct) == (None, 5)
    with pytest.warns(UserWarning, match=r"more than 5 distinct codes \(bonus.counts.limit\): .* a sketch"):
        table.add(np.array([6, 1]), np.array([0, 0]))
    plain.add(np.array([6, 1]), np.array([0, 0]))
    table.add(digest, column)  # no second warning, which would be an error
    plain.add(digest, column)
    every = np.arange(8)
    np.testing.assert_array_equal(table.look_up(every), plain.look_up(every))
    assert table.load() == 12 / 204
    loaded = limited()
    loaded.load_state_dict(table.state_dict())
    np.testing.assert_array_equal(loaded.look_up(every), plain.look_up(every))


@settings(max_examples=100)
@given(VISITS, st.booleans())
def test_a_sketch_never_counts_too_few(visits: list[list[tuple[int, int]]], conservative: bool) -> None:
    table, plain = (SketchCounts(3, SMALL, conservative=kind) for kind in (conservative, False))
    truth = fill(table, visits)
    fill(plain, visits)
    for key, count in all_counts(table).items():
        assert truth[key] <= count <= all_counts(plain)[key]
    loaded = SketchCounts(3, SMALL, conservative=conservative)
    loaded.load_state_dict(table.state_dict())
    assert all_counts(loaded) == all_counts(table)


@pytest.mark.parametrize("conservative", [False, True])
def test_a_large_sketch_is_exact_for_few_codes(conservative: bool) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-(2**63), 2**63 - 1, 3000)
    times = rng.integers(1, 5, 3000)
    table = SketchCounts(2, PRIMES, conservative=conservative)
    visits = rng.permutation(np.repeat(codes, times))
    for part in np.array_split(visits, 50):
        table.add(part, np.ones(len(part), np.int64))
    np.testing.assert_array_equal(table.look_up(codes)[:, 1], times)
    assert not table.look_up(codes)[:, 0].any()  # the other action's cells are other ones
    assert table.distinct == 3000


def test_six_tables_take_the_memory_that_is_promised() -> None:
    assert SketchCounts().state_dict()["cells"].nbytes <= 25e6
