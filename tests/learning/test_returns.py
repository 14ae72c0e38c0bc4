"""Returns against tables computed by hand and a slow, obvious oracle."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlkit.learning.returns import clip_reward, n_step_return

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
