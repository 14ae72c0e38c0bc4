"""The schedule at its corners, and the distribution and thrift of epsilon-greedy actions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rlkit.exploration.epsilon import EpsilonConfig, epsilon_greedy


@pytest.mark.parametrize(("env_steps", "expected"), [(-5, 1.0), (0, 1.0), (50, 0.6), (100, 0.2), (10**9, 0.2)])
def test_schedule(env_steps: int, expected: float) -> None:
    assert EpsilonConfig(start=1.0, end=0.2, steps=100).value(env_steps) == pytest.approx(expected)


def test_no_steps_is_the_end_at_once() -> None:
    assert EpsilonConfig(start=1.0, end=0.2, steps=0).value(0) == 0.2


def test_epsilon_only_decays() -> None:
    with pytest.raises(ValidationError, match=r"epsilon.end = 0.5 must not exceed epsilon.start = 0.1"):
        EpsilonConfig(start=0.1, end=0.5)


def test_every_environment_has_its_own_coin() -> None:
    rng = np.random.default_rng(0)
    actions = np.stack([epsilon_greedy(0.3, lambda: np.full(4, 9), 4, 3, rng) for _ in range(20_000)])
    random = actions != 9  # the greedy action is none of the random ones
    assert random.mean(0) == pytest.approx(np.full(4, 0.3), abs=0.02)
    assert np.corrcoef(random.T)[np.triu_indices(4, 1)] == pytest.approx(np.zeros(6), abs=0.03)
    assert np.bincount(actions[random], minlength=3) / random.sum() == pytest.approx(np.full(3, 1 / 3), abs=0.02)


@given(epsilon=st.sampled_from([0.0, 0.3, 1.0]), num_envs=st.integers(1, 5), num_actions=st.integers(1, 18))
def test_the_stream_moves_on_the_same_whatever_comes_out(epsilon: float, num_envs: int, num_actions: int) -> None:
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    action = epsilon_greedy(epsilon, lambda: np.zeros(num_envs, np.int64), num_envs, num_actions, one)
    epsilon_greedy(0.5, lambda: np.zeros(num_envs, np.int64), num_envs, 2, two)
    assert one.bit_generator.state == two.bit_generator.state
    assert action.dtype == np.int64
    assert action.shape == (num_envs,)
    assert ((action >= 0) & (action < num_actions)).all()


def test_the_network_is_not_asked_where_all_explore() -> None:
    def greedy() -> np.ndarray:
        raise AssertionError

    epsilon_greedy(1.0, greedy, 4, 3, np.random.default_rng(0))


def test_a_uniform_number_just_below_one_is_an_action() -> None:
    largest = np.nextafter(1.0, 0.0)
    assert all(int(largest * actions) == actions - 1 for actions in range(1, 5000))
