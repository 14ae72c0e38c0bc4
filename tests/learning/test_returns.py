"""Returns against tables computed by hand and a slow, obvious oracle."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlkit.learning.returns import clip_reward, gae, lambda_return, n_step_return

NAN, INF = math.nan, math.inf


def t(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def row(reward: list, discount: list, steps: int, gamma: float = 0.5) -> tuple[float, float]:
    total, bootstrap = n_step_return(t([reward]), t([discount]), torch.tensor([steps]), gamma)
    assert total.shape == bootstrap.shape == (1,)
    return total.item(), bootstrap.item()


@pytest.mark.parametrize(
    ("reward", "discount", "steps", "expected"),
    [
        ([4, 8, 16], [1, 1, 1], 3, (4 + 0.5 * 8 + 0.25 * 16, 0.125)),  # a whole window
        ([4, 8, 16], [1, 1, 0], 3, (12, 0)),  # terminated at its end
        ([4, 8, NAN], [1, 0, NAN], 2, (8, 0)),  # terminated earlier; what follows is unspecified
        ([4, 8, INF], [1, 1, -INF], 2, (8, 0.25)),  # truncated earlier: bootstraps from there
        ([4, NAN, INF], [1, NAN, INF], 1, (4, 0.5)),
        ([4, 8, 16], [0, 1, 1], 3, (4, 0)),  # a life lost: the game goes on, the value does not
        ([4, 8, 16], [1, 0, 1], 3, (8, 0)),
        ([4], [1], 1, (4, 0.5)),
        ([4], [0], 1, (4, 0)),
    ],
)
def test_n_step_return_by_hand(reward: list, discount: list, steps: int, expected: tuple[float, float]) -> None:
    assert row(reward, discount, steps) == expected


def oracle(reward: np.ndarray, discount: np.ndarray, steps: int, gamma: float) -> tuple[float, float]:
    total, factor = 0.0, 1.0
    for j in range(steps):
        total += factor * reward[j]
        factor *= gamma * discount[j]
    return total, factor


@given(seed=st.integers(0, 2**31), n=st.integers(1, 6), gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_n_step_return_is_the_loop(seed: int, n: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=(9, n)).astype(np.float32)
    discount = rng.choice([0.0, 0.25, 1.0], size=(9, n)).astype(np.float32)  # options have fractions
    steps = rng.integers(1, n + 1, size=9)
    garbage = np.arange(n) >= steps[:, None]
    dirty = [np.where(garbage, rng.choice([NAN, INF, 7.0], size=(9, n)), values) for values in (reward, discount)]
    total, bootstrap = n_step_return(*(torch.tensor(v, dtype=torch.float32) for v in dirty), torch.tensor(steps), gamma)
    expected = np.array([oracle(reward[i], discount[i], steps[i], gamma) for i in range(9)])
    np.testing.assert_allclose(total.numpy(), expected[:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bootstrap.numpy(), expected[:, 1], rtol=1e-5, atol=1e-6)


def test_rewards_are_clipped_before_they_are_summed() -> None:
    steps = torch.tensor([3])
    total, _ = n_step_return(clip_reward(t([[4, 7, 1]]), 1.0), t([[1, 1, 1]]), steps, 0.99)
    assert total.item() == pytest.approx(1 + 0.99 + 0.9801)  # 2.97; the clipped sum would be 1
    assert clip_reward(t([-4, 0.5]), 0.0).tolist() == [-4, 0.5]
    assert clip_reward(t([-4, 0.5]), 2.0).tolist() == [-2, 0.5]


def test_n_step_return_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="steps has shape"):
        n_step_return(torch.zeros(3, 2), torch.ones(3, 2), torch.ones(3, 1, dtype=torch.int64), 0.9)
    with pytest.raises(ValueError, match="discount has shape"):
        n_step_return(torch.zeros(3, 2), torch.ones(3, 1), torch.ones(3, dtype=torch.int64), 0.9)


# Four steps of three environments, values before (V) and of the true successors (NEXT); gamma = lambda = 1/2.
# Environment 0 is truncated at its second step, where 40 is the value of its own successor and 6 begins the next
# episode; environment 1 terminates there; environment 2 loses a life (discount 0, not ended) and ends with the rollout.
REWARD = [[1, 1, 1], [2, 2, 2], [3, 3, 3], [4, 4, 4]]
DISCOUNT = [[1, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1]]
ENDED = [[0, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]]
V = [[2, 2, 2], [4, 4, 4], [6, 6, 6], [8, 8, 8]]
NEXT = [[4, 4, 4], [40, 50, 6], [8, 8, 8], [10, 10, 20]]
# By hand, backwards: delta = r + d v' / 2 - v, then A = delta + d / 4 A' where no episode ends
ADVANTAGE = [
    [1 + 2 - 2 + 18 / 4, 1 + 2 - 2 - 2 / 4, 1 + 2 - 2 + 0.25 / 4],
    [2 + 20 - 4, 2 - 4, 2 + 3 - 4 - 3 / 4],
    [3 + 4 - 6 + 1 / 4, 3 + 4 - 6 + 1 / 4, 3 - 6],
    [4 + 5 - 8, 4 + 5 - 8, 4 + 10 - 8],
]
# By hand, backwards: G = r + d / 2 (v' / 2 + G' / 2), or r + d v' / 2 where an episode or the rollout ends
RETURN = [
    [1 + (2 + 11) / 2, 1 + (2 + 1) / 2, 1 + (2 + 2.125) / 2],
    [2 + 20, 2, 2 + (3 + 1.5) / 2],
    [3 + (4 + 4.5) / 2, 3 + (4 + 4.5) / 2, 3],
    [4 + 5, 4 + 5, 4 + 10],
]


def test_advantages_and_lambda_returns_by_hand() -> None:
    ended = torch.tensor(ENDED, dtype=torch.bool)
    assert gae(t(REWARD), t(DISCOUNT), ended, t(V), t(NEXT), 0.5, 0.5).tolist() == ADVANTAGE
    assert lambda_return(t(REWARD), t(DISCOUNT), ended, t(NEXT), 0.5, 0.5).tolist() == RETURN


def recursive_return(steps: list[tuple], gamma: float, lambda_: float) -> float:
    """The lambda-return of the first of the steps (reward, discount, ended, value of the true successor)."""
    (reward, discount, ended, value), *later = steps
    if not ended and later:
        value = (1 - lambda_) * value + lambda_ * recursive_return(later, gamma, lambda_)
    return float(reward + gamma * discount * value)


@given(
    seed=st.integers(0, 2**31),
    length=st.integers(1, 6),
    gamma=st.sampled_from([0.0, 0.5, 1.0]),
    lambda_=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_advantages_and_lambda_returns_are_the_recursion(seed: int, length: int, gamma: float, lambda_: float) -> None:
    """The definition, forwards, in double precision; an advantage is the lambda-return above the value."""
    rng, shape = np.random.default_rng(seed), (length, 3)
    reward, values, next_values = rng.normal(size=(3, *shape)).astype(np.float32)
    discount = rng.choice([0.0, 1.0], size=shape, p=[0.2, 0.8]).astype(np.float32)
    ended = rng.random(shape) < 0.3
    next_values[:-1] = np.where(ended[:-1], next_values[:-1], values[1:])
    rows = [list(zip(*(x[:, env] for x in (reward, discount, ended, next_values)), strict=True)) for env in range(3)]
    expected = [[recursive_return(row[step:], gamma, lambda_) for row in rows] for step in range(length)]
    tensors = [torch.from_numpy(x) for x in (reward, discount, ended, values, next_values)]
    returns = lambda_return(*tensors[:3], tensors[4], gamma, lambda_)
    np.testing.assert_allclose(returns.numpy(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gae(*tensors, gamma, lambda_).numpy(), expected - values, rtol=1e-5, atol=1e-5)


def test_advantages_and_lambda_returns_refuse_other_shapes() -> None:
    rows, ended = torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"gae: next_values has shape \(4, 1\), expected \(4, 2\)"):
        gae(rows, rows, ended, rows, rows[:, :1], 0.9, 0.9)
    with pytest.raises(ValueError, match=r"lambda_return: ended has shape \(4,\), expected \(4, 2\)"):
        lambda_return(rows, rows, ended[:, 0], rows, 0.9, 0.9)
