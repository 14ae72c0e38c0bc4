"""The optimizer step of one network by hand: clipping, projection, diagnostics, and any loss's gradient."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from rlkit.learning.gradient import Gradient, GradientConfig, GradientSettings
from rlkit.learning.optimizers import OptimizerConfig
from rlkit.nn.config import NetworkConfig, WeightNormConfig
from rlkit.nn.qnetwork import build_q_network
from rlkit.nn.weight_norm import length_and_direction, normalised_layers
from rlkit.seeding import torch_seeded
from rlkit.testing.states import difference, snapshot

ADAM, SGD = OptimizerConfig(), OptimizerConfig(type="sgd")
OBS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, -0.5], [-1.0, 0.25]])


def network(**changes: Any) -> nn.Module:
    with torch_seeded(0):
        return build_q_network(NetworkConfig(hidden=(16, 8), **changes), gym.spaces.Box(-1, 1, (2,), np.float32), 2)


def stepped(gradient: Gradient) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    with gradient.shared_weights():
        output = gradient.forward(OBS)
    return gradient.step(output, torch.ones_like(output), (OBS,))


@pytest.mark.parametrize(
    ("keys", "value"),
    [({}, None), ({"max_grad_value": 0.2}, 0.2), ({"adjustable_clip": 0.001}, pytest.approx(0.1))],
)
def test_every_key_reaches_the_settings(keys: dict[str, float], value: float | None) -> None:
    """Adjustable clipping divides by the learning rate, so that no plain step is longer than theta."""
    config = GradientConfig(max_grad_norm=3.0, diagnostics_every=7, **keys)
    assert config.gradient(0.01, SGD, "bfloat16") == GradientSettings(0.01, SGD, 3.0, value, "bfloat16", 7)


@pytest.mark.parametrize(
    ("value", "norm", "expected"),
    [
        (None, 0.0, [0.75, 0.04]),
        (0.2, 0.0, [0.2, 0.04]),
        (None, 0.0751, [0.075, 0.004]),  # scaled by a tenth
        (0.03, 0.015 * 2**0.5, [0.015, 0.015]),  # entries first
    ],
)
def test_entries_are_limited_before_the_norm(value: float | None, norm: float, expected: list[float]) -> None:
    layer = nn.Linear(1, 2, bias=False)
    nn.init.zeros_(layer.weight)
    gradient = Gradient(layer, GradientSettings(1.0, SGD, norm, value))
    output = gradient.forward(torch.ones(1, 1))
    before, _ = gradient.step(output, torch.tensor([[-0.75, -0.04]]), (output,))
    assert before.item() == pytest.approx((0.75**2 + 0.04**2) ** 0.5)
    assert layer.weight[:, 0].tolist() == pytest.approx(expected, rel=2e-3)


def test_a_loss_of_any_kind_takes_the_optimizers_steps() -> None:
    """As a learner without a value loss uses it: autograd from a scalar."""
    ours, theirs = (nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    gradient, adam = Gradient(ours, GradientSettings(0.01, ADAM)), torch.optim.Adam(theirs.parameters(), 0.01)
    for _ in range(5):
        gradient.step(gradient.forward(OBS).square().mean(), None, (OBS,))
        adam.zero_grad()
        theirs(OBS).square().mean().backward()
        adam.step()
    assert gradient.updates == 5
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    torch.testing.assert_close(gradient.weights, nn.utils.parameters_to_vector(theirs.parameters()).detach())


def test_an_evaluation_records_no_gradients_and_moves_no_statistics() -> None:
    online = network(normalisation="batch")
    gradient = Gradient(online, GradientSettings(0.01, ADAM))
    before = snapshot(dict(online.state_dict()))
    assert not gradient.evaluate(OBS).requires_grad
    assert difference(before, dict(online.state_dict())) is None
    assert gradient.forward(OBS).requires_grad
    assert difference(before, dict(online.state_dict())) is not None
    assert not online.training


def test_projection_happens_after_each_step() -> None:
    lengths = {}
    for project in (True, False):
        online = network(normalisation="weight", weight_norm=WeightNormConfig(project=project))
        gradient = Gradient(online, GradientSettings(0.01, ADAM))
        vectors = [length_and_direction(layer)[1] for layer, _ in normalised_layers(online)]
        before = torch.cat([v.detach().norm(dim=1) for v in vectors])
        for _ in range(5):
            stepped(gradient)
        lengths[project] = (torch.cat([v.detach().norm(dim=1) for v in vectors]) - before).abs().max().item()
    assert lengths[True] < 1e-6
    assert lengths[False] > 1e-2


def test_diagnostics_come_at_their_cadence_and_change_nothing() -> None:
    states, seen = [], []
    for every in (None, 3):
        online = network(normalisation="weight_mean_batch")
        gradient = Gradient(online, GradientSettings(0.01, ADAM, diagnostics_every=every))
        readings = [stepped(gradient)[1] for _ in range(7)]
        seen.append([number for number, row in enumerate(readings) if row])
        states.append(snapshot({"online": dict(online.state_dict()), "gradient": gradient.state_dict()}))
    assert seen == [[], [0, 3, 6]]
    assert difference(*states) is None
    assert readings[3]["features/srank"].item() > 0
    assert readings[3]["gradient_norm/head.0"].item() > 0
