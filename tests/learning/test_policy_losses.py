"""The policy's loss against a table computed by hand, and its gradient against autograd of the formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlkit.learning.policy_losses import ClippedSurrogate, PolicySteps, approximate_kl


def t(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def slow_loss(loss: ClippedSurrogate, output: Tensor, steps: PolicySteps) -> Tensor:
    """The formulas of the paper, with autograd."""
    logits = output[:, : -steps.returns.shape[1]]
    allowed = torch.ones_like(logits, dtype=torch.bool) if steps.allowed is None else steps.allowed
    rows = [torch.distributions.Categorical(logits=row[free]) for row, free in zip(logits, allowed, strict=True)]
    place = [free[:action].sum() for free, action in zip(allowed, steps.action, strict=True)]  # among the allowed
    log_probability = torch.stack([row.log_prob(action) for row, action in zip(rows, place, strict=True)])
    ratio = (log_probability - steps.log_probability).exp()
    surrogate = torch.min(
        ratio * steps.advantage, torch.clamp(ratio, 1 - loss.clip, 1 + loss.clip) * steps.advantage
    ).mean()
    values = steps.returns.shape[1]
    value = output[:, -values:]
    errors = (value - steps.returns) ** 2
    if loss.value_clip:
        near = steps.value + torch.clamp(value - steps.value, -loss.value_clip, loss.value_clip)
        errors = torch.max(errors, (near - steps.returns) ** 2)
    return (
        -surrogate
        - loss.entropy * torch.stack([row.entropy() for row in rows]).mean()
        + loss.value * 0.5 * errors.sum(1).mean()
    )


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**31),
    clip=st.sampled_from([0.1, 0.3]),
    entropy=st.sampled_from([0.0, 0.01, 1.0]),
    value_clip=st.sampled_from([0.0, 0.2]),
    actions=st.integers(1, 4),
    values=st.integers(1, 2),
    masked=st.booleans(),
)
def test_the_gradient_is_autograds(
    seed: int, clip: float, entropy: float, value_clip: float, actions: int, values: int, masked: bool
) -> None:
    rng, count = np.random.default_rng(seed), 7
    loss = ClippedSurrogate(clip, entropy, 0.5, value_clip)
    output = torch.from_numpy(rng.normal(size=(count, actions + values)).astype(np.float32)).requires_grad_()
    action = torch.from_numpy(rng.integers(0, actions, count))
    allowed = torch.from_numpy(rng.random((count, actions)) < 0.5).scatter(1, action[:, None], True) if masked else None
    logits = output[:, :actions].detach()
    logits = logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)
    new = logits.log_softmax(1).gather(1, action[:, None])[:, 0]
    drawn = [torch.from_numpy(rng.normal(size=count).astype(np.float32)) for _ in range(2)]
    returns, moved = (torch.from_numpy(rng.normal(size=(count, values)).astype(np.float32)) for _ in range(2))
    value = output[:, actions:].detach() - 0.3 * moved
    steps = PolicySteps(action, new - 0.3 * drawn[0], drawn[1], returns, value, allowed)
    slow = slow_loss(loss, output, steps)
    (expected,) = torch.autograd.grad(slow, output)
    found = loss(output, steps)
    torch.testing.assert_close(found.grad, expected, rtol=1e-4, atol=1e-6)
    metrics = found.metrics()
    whole = metrics["loss/policy"] - entropy * metrics["policy/entropy"] + 0.5 * metrics["loss/value"]
    torch.testing.assert_close(whole, slow.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage", "surrogate", "pulls"),
    [
        (1.0, 2.0, 2.0, True),
        (1.5, 2.0, 2.4, False),  # good, and already more likely by more than a fifth
        (0.5, 2.0, 1.0, True),  # good, but less likely: pulled back
        (0.5, -2.0, -1.6, False),  # bad, and already less likely by more than a fifth
        (1.5, -2.0, -3.0, True),  # bad, but more likely: pulled back
    ],
)
def test_where_the_surrogate_is_clipped(ratio: float, advantage: float, surrogate: float, pulls: bool) -> None:
    """Two equally likely actions, clip 0.2: the derivative by the action's own logit is -ratio * advantage / 2."""
    steps = PolicySteps(torch.tensor([1]), t([math.log(0.5 / ratio)]), t([advantage]), t([[3.0]]), t([[0.0]]))
    loss = ClippedSurrogate(0.2, 0.0, 0.5)(t([[0.0, 0.0, 1.0]]), steps)
    slope = ratio * advantage / 2 if pulls else 0.0
    torch.testing.assert_close(loss.grad, t([[slope, -slope, 0.5 * (1.0 - 3.0)]]))
    metrics = loss.metrics()
    assert metrics["loss/policy"].item() == pytest.approx(-surrogate)
    assert metrics["loss/value"].item() == 2.0
    assert metrics["policy/entropy"].item() == pytest.approx(math.log(2))
    assert metrics["policy/clip_fraction"].item() == (ratio != 1.0)


def test_masked_actions_have_no_probability_no_gradient_and_no_entropy() -> None:
    """Logits log 1, log 3, log 6 and a mask of the last: probabilities 1/4, 3/4 and 0; only 1 is allowed below."""
    allowed = torch.tensor([[True, True, False], [False, True, False]])
    logits, zeros = torch.tensor([[1.0, 3.0, 6.0], [1.0, 3.0, 6.0]]).log(), torch.zeros(2, 1)
    steps = PolicySteps(torch.tensor([1, 1]), t([math.log(0.75), 0.0]), t([2.0, 2.0]), zeros, zeros, allowed)
    found = ClippedSurrogate(0.2, 0.5, 0.5)(torch.cat((logits, zeros), 1), steps)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    metrics = found.metrics()
    assert metrics["policy/entropy"].item() == pytest.approx(entropy / 2)
    assert metrics["policy/kl"].item() == pytest.approx(0.0, abs=1e-6)
    assert metrics["loss/policy"].item() == pytest.approx(-2.0)
    # of the surrogate: (p - [a]) * advantage; of minus the entropy: p (log p + H); half of the entropy's, mean over two
    first, second = ((p - taken) * 2.0 + 0.5 * p * (math.log(p) + entropy) for p, taken in ((0.25, 0.0), (0.75, 1.0)))
    torch.testing.assert_close(found.grad, t([[first / 2, second / 2, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))


@pytest.mark.parametrize(
    ("value", "slope", "loss"),
    [
        (1.1, 1.1 - 3.0, 1.9**2 / 2),  # within 0.2 of the value before, 1
        (1.5, 0.0, 1.8**2 / 2),  # moved towards the return of 3 by more than 0.2: no further
        (0.5, 0.5 - 3.0, 2.5**2 / 2),  # moved away: pulled back
    ],
)
def test_where_values_are_clipped(value: float, slope: float, loss: float) -> None:
    steps = PolicySteps(torch.tensor([0]), t([0.0]), t([0.0]), t([[3.0]]), t([[1.0]]))
    found = ClippedSurrogate(0.2, 0.0, 1.0, 0.2)(t([[0.0, value]]), steps)
    assert found.grad[0, -1].item() == pytest.approx(slope)
    assert found.metrics()["loss/value"].item() == pytest.approx(loss)


def test_values_within_the_clip_learn_whatever_rounding_does() -> None:
    """v + (w - v) is often not w in floats; the smaller error of the two must not count as clipped."""
    before, moved, returns = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 500, 1)).astype(np.float32))
    value = before + moved.clamp(-0.19, 0.19)
    zeros = torch.zeros(500)
    steps = PolicySteps(torch.zeros(500, dtype=torch.int64), zeros, zeros, returns, before)
    loss = ClippedSurrogate(0.2, 0.0, 500.0, 0.2)(torch.cat((torch.zeros(500, 1), value), 1), steps)
    torch.testing.assert_close(loss.grad[:, 1:], value - returns)


def test_the_divergence_of_equal_policies_is_zero_and_of_others_is_estimated() -> None:
    assert approximate_kl(torch.zeros(3)).item() == 0.0
    old, new = t([0.5, 0.5]), t([0.8, 0.2])
    drawn = torch.tensor([0, 1]).repeat(50)  # as often as the old policy draws them
    expected = (old * (old / new).log()).sum().item()
    assert approximate_kl((new / old).log()[drawn]).item() == pytest.approx(expected)


def test_broadcast_shapes_are_refused() -> None:
    row = torch.zeros(2)
    steps = PolicySteps(torch.zeros(2, dtype=torch.int64), row, row, torch.zeros(2, 1), row)
    with pytest.raises(ValueError, match=r"ClippedSurrogate: value has shape \(2,\), expected \(2, 1\)"):
        ClippedSurrogate(0.2, 0.0, 0.5)(torch.zeros(2, 3), steps)
