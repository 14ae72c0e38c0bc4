"""The soft choice between action values, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rlkit.errors import ConfigError
from rlkit.learning.softmax import LEAST, Softmax, SoftmaxConfig, draw, state_values

Q = torch.tensor([[1.0, 3.0], [5.0, 5.0]])


def softmax(temperature: float, *measured: list[list[float]]) -> Softmax:
    made = Softmax(SoftmaxConfig(temperature=temperature), torch.device("cpu"))
    for q in measured:
        made.measure(torch.tensor(q))
    return made


def test_tau_is_a_fraction_of_the_mean_deviation() -> None:
    """Deviations over states and actions: 2, then 4, then 0; a mean of all, later with a horizon of 100."""
    made, expected = softmax(0.5), [1.0, 1.5, 1.0]
    for q, tau in zip(([[0.0, 4.0]], [[1.0], [9.0]], [[7.0, 7.0]]), expected, strict=True):
        made.measure(torch.tensor(q))
        assert made.tau.item() == pytest.approx(tau)
    for _ in range(97):
        made.measure(torch.tensor([[0.0, 4.0]]))
    mean = (2 + 4 + 0 + 97 * 2) / 100
    assert made.tau.item() == pytest.approx(0.5 * mean, rel=1e-4)
    made.measure(torch.tensor([[0.0, 0.0]]))
    assert made.tau.item() == pytest.approx(0.5 * 0.99 * mean, rel=1e-4)


def test_probabilities_and_values_by_hand() -> None:
    """tau = 1/2 * 2 = 1: odds of e^2, and equal ones."""
    made, share = softmax(0.5, [[0.0, 4.0]]), math.exp(-2) / (1 + math.exp(-2))
    torch.testing.assert_close(made.probabilities(Q), torch.tensor([[share, 1 - share], [0.5, 0.5]]))
    torch.testing.assert_close(state_values(Q, made), torch.tensor([share + 3 * (1 - share), 5.0]))
    assert state_values(Q, None).tolist() == [3, 5]


def test_the_distribution_ignores_scale_and_offset_of_rewards() -> None:
    q = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    one, other = softmax(0.3, q.tolist()), softmax(0.3, (100 * q - 7).tolist())
    torch.testing.assert_close(one.probabilities(q), other.probabilities(100 * q - 7), rtol=1e-3, atol=1e-4)


def test_before_a_measurement_all_actions_are_equally_likely() -> None:
    made = softmax(0.1)
    assert made.probabilities(Q).tolist() == [[0.5, 0.5]] * 2
    assert made.gauges() == {}
    assert made.draw(Q.numpy(), np.array([0.49, 0.51])).tolist() == [0, 1]


def test_masked_actions_have_probability_0() -> None:
    masked = torch.tensor([[1.0, -torch.inf, 3.0]])
    for made in (softmax(0.5), softmax(0.5, [[0.0, 4.0]])):
        pi = made.probabilities(masked)
        assert pi[0, 1] == 0
        torch.testing.assert_close(state_values(masked, made), pi[:, 0] + 3 * pi[:, 2])
        with np.errstate(all="raise", under="ignore"):
            drawn = made.draw(masked.numpy().repeat(100, 0), np.arange(100) / 100)
        assert set(drawn) == {0, 2}


def test_equal_values_have_no_scale_and_leave_no_choice_among_others() -> None:
    made = softmax(0.1, [[2.0, 2.0]])
    assert made.tau.item() == pytest.approx(LEAST)
    assert made.probabilities(Q).tolist() == [[0, 1], [0.5, 0.5]]
    with np.errstate(all="raise", under="ignore"):
        assert made.draw(Q.numpy(), np.array([0.0, 0.99])).tolist() == [1, 1]


def test_actions_are_drawn_by_their_probabilities() -> None:
    logits = np.log(np.array([[0.5, 0.125, 0.375, 1e-30]], np.float32)).repeat(4000, 0) + np.float32(7)
    action, log_probability = draw(logits, np.random.default_rng(0).random(4000))
    np.testing.assert_allclose(np.bincount(action, minlength=4) / 4000, [0.5, 0.125, 0.375, 0], atol=0.02)
    np.testing.assert_allclose(log_probability, np.log([0.5, 0.125, 0.375])[action], rtol=1e-5)
    assert (action.dtype, log_probability.dtype) == (np.int64, np.float32)


def test_the_state_holds_the_scale() -> None:
    made, other = softmax(0.5, [[0.0, 4.0]], [[0.0, 8.0]]), softmax(0.5)
    other.load_state_dict(made.state_dict())
    for each in (made, other):
        each.measure(torch.tensor([[0.0, 2.0]]))
    assert other.tau == made.tau
    with pytest.raises(ConfigError, match=r"learned without agent\.softmax"):
        other.load_state_dict(None)
