"""Q-learning errors and losses against tables computed by hand."""

import math

import pytest
import torch
from torch import Tensor

from rlkit.learning.q_losses import HUBER, SQUARED, ErrorLoss, double_q_learning, expected_sarsa, q_learning

NAN, INF = math.nan, math.inf


def t(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


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


def test_expected_sarsa_by_hand() -> None:
    td = expected_sarsa(Q_TM1, A_TM1, R_T, DISCOUNT_T, torch.nan_to_num(Q_T, 1e6), t([[0.5, 0.5], [0, 1], [1, 0]]))
    # 1 + .5*15 - 1; -1 + .5*8 - 4; 2 - 6
    assert td.tolist() == [7.5, -1, -4]


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
