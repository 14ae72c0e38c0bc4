"""The losses against tables computed by hand and a slow, obvious oracle."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlkit.learning.q_losses import HUBER, SQUARED, ErrorLoss, double_q_learning, q_learning
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


Q_TM1 = t([[1, 2], [3, 4], [5, 6]])
A_TM1 = torch.tensor([0, 1, 1])
R_T = t([1, -1, 2])
DISCOUNT_T = t([0.5, 0.5, 0])
Q_T = t([[10, 20], [30, 8], [NAN, NAN]])


def test_q_learning_by_hand() -> None:
    td = q_learning(Q_TM1, A_TM1, R_T, DISCOUNT_T, torch.nan_to_num(Q_T, 1e6))
    # 1 + .5*20 - 1; -1 + .5*30 - 4; 2 + 0 - 6
    assert td.tolist() == [10, 10, -4]


def test_double_q_learning_by_hand() -> None:
    selector = t([[1, 0], [5, 5], [0, 1]])  # picks 0, then of equals the lowest, then 1
    td = double_q_learning(Q_TM1, A_TM1, R_T, DISCOUNT_T, torch.nan_to_num(Q_T, 1e6), selector)
    # 1 + .5*10 - 1; -1 + .5*30 - 4; 2 - 6
    assert td.tolist() == [5, 10, -4]


@pytest.mark.parametrize("double", [False, True])
def test_the_gradient_flows_through_the_taken_action_alone(double: bool) -> None:
    q_tm1, q_t = Q_TM1.clone().requires_grad_(), torch.ones(3, 2, requires_grad=True)
    extra = (q_t,) if double else ()
    function = double_q_learning if double else q_learning
    function(q_tm1, A_TM1, R_T, DISCOUNT_T, q_t, *extra).sum().backward()
    assert q_tm1.grad.tolist() == [[-1, 0], [0, -1], [0, -1]]
    assert q_t.grad is None


def test_huber_and_squared_by_hand() -> None:
    td = torch.tensor([0.0, 0.5, -1.0, 3.0])
    assert HUBER.value(td).tolist() == [0, 0.125, 0.5, 2.5]
    assert SQUARED.value(td).tolist() == [0, 0.125, 0.5, 4.5]


@pytest.mark.parametrize("loss", [HUBER, SQUARED])
def test_gradients_are_derivatives(loss: ErrorLoss) -> None:
    td = torch.tensor([-7.0, -1.0, -0.3, 0.0, 0.9, 1.5], requires_grad=True)
    loss.value(td).sum().backward()
    torch.testing.assert_close(loss.grad(td.detach()), td.grad)


def test_mean_huber_is_smooth_l1() -> None:
    q, target = torch.randn(50), torch.randn(50) * 3
    torch.testing.assert_close(HUBER.value(target - q).mean(), torch.nn.functional.smooth_l1_loss(q, target))


@pytest.mark.parametrize(
    ("name", "value"),
    [("a_tm1", A_TM1[:, None]), ("r_t", R_T[:, None]), ("discount_t", DISCOUNT_T[:2]), ("q_t", Q_T[:, :1])],
)
def test_shapes_that_would_broadcast_are_refused(name: str, value: Tensor) -> None:
    arguments = {"a_tm1": A_TM1, "r_t": R_T, "discount_t": DISCOUNT_T, "q_t": Q_T} | {name: value}
    with pytest.raises(ValueError, match=f"q_learning: {name} has shape"):
        q_learning(Q_TM1, **arguments)


def test_n_step_return_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="steps has shape"):
        n_step_return(torch.zeros(3, 2), torch.ones(3, 2), torch.ones(3, 1, dtype=torch.int64), 0.9)
    with pytest.raises(ValueError, match="discount has shape"):
        n_step_return(torch.zeros(3, 2), torch.ones(3, 1), torch.ones(3, dtype=torch.int64), 0.9)
