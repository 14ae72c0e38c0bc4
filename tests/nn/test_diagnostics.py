"""Each measurement by hand, and that measuring changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from rlkit.nn.config import NetworkConfig, WeightNormConfig
from rlkit.nn.diagnostics import DORMANT, Diagnostics, dormant_share, srank
from rlkit.nn.qnetwork import build_q_network
from rlkit.nn.weight_norm import length_and_direction, weight_norm

MINATAR = gym.spaces.Box(0, 1, (10, 10, 6), np.bool_)


def test_dormant_units_by_hand() -> None:
    activity = torch.tensor([[1.0, 0.0, -3.0, 0.0], [1.0, 0.0, -1.0, 2 * DORMANT * 0.75]])
    # mean |activity| of the units: 1, 0, 2, and about the fortieth part of their mean: two dormant
    assert dormant_share(activity).item() == 0.5
    activity[1, 3] *= 1.1
    assert dormant_share(activity).item() == 0.25
    assert dormant_share(torch.zeros(3, 5)).item() == 1.0
    image = torch.zeros(2, 4, 3, 3)
    image[0, 1, 2, 2] = 1.0  # one channel of four is active somewhere
    assert dormant_share(image).item() == 0.75


def test_srank_by_hand() -> None:
    def of(*values: float) -> float:
        return srank(torch.diag(torch.tensor(values))).item()

    assert of(1.0, 1.0, 1.0) == 3
    assert of(98.0, 1.5, 0.5) == 2  # 98 % falls short of 99 %, 99.5 % does not
    assert of(99.6, 0.3, 0.1) == 1
    assert of(0.0, 0.0) == 1
    torch.manual_seed(0)
    assert srank(torch.randn(32, 4) @ torch.randn(4, 100)).item() == 4


@pytest.mark.parametrize("exponential", [False, True])
def test_lengths_gradients_and_rates_by_hand(exponential: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        weight_norm(nn.Linear(3, 2), WeightNormConfig(exponential=exponential)), nn.ReLU(), nn.Linear(2, 1)
    )
    with torch.no_grad():
        g, v = length_and_direction(network[0])
        g.copy_(torch.tensor([[0.5], [1.5]]))
        v.copy_(torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 10.0]]))
        network[2].weight.copy_(torch.tensor([[0.6, 0.8]]))
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    readings = Diagnostics(network, 0.1)((torch.ones(4, 3),))
    assert readings["g/0"].item() == pytest.approx((math.exp(0.5) + math.exp(1.5)) / 2 if exponential else 1.0)
    assert readings["weight_norm/0"].item() == pytest.approx(7.5)
    assert readings["effective_learning_rate/0"].item() == pytest.approx((0.1 / 25 + 0.1 / 100) / 2)
    assert readings["gradient_norm/0"].item() == pytest.approx(2.0 * math.sqrt(2 + 6 + 2))
    assert "g/2" not in readings
    assert readings["weight_norm/2"].item() == pytest.approx(1.0)
    assert readings["effective_learning_rate/2"].item() == pytest.approx(0.1)
    assert {"dormant/1", "features/srank"} <= readings.keys()


def test_of_a_spectral_layer_the_length_is_what_the_optimizer_steps() -> None:
    network = build_q_network(NetworkConfig(encoder="mlp", hidden=(4,), normalisation="spectral"), MINATAR, 3)
    (layer,) = [part for part in network.modules() if hasattr(part, "parametrizations")]
    with torch.no_grad():
        layer.parametrizations.weight.original.fill_(2.0)
    readings = Diagnostics(network, 0.1)((torch.rand(8, 10, 10, 6) < 0.3,))
    (length,) = [value for name, value in readings.items() if name == "weight_norm/head.0"]
    assert length.item() == pytest.approx(2.0 * math.sqrt(600))


def test_a_whole_network_is_looked_at_and_left_as_it_was(hooks: Callable[[], int]) -> None:
    config = NetworkConfig(encoder="minatar", normalisation="weight_mean_batch", dueling=True)
    network = build_q_network(config, MINATAR, 3)
    obs = torch.rand(8, 10, 10, 6) < 0.3
    before = {name: value.clone() for name, value in network.state_dict().items()}
    readings = Diagnostics(network, 1e-3)((obs,))
    layers = {"encoder.layers.0", "head.value.0", "head.value.3", "head.advantage.0", "head.advantage.3"}
    assert {name.removeprefix("g/") for name in readings if name.startswith("g/")} == layers
    dormant = {name for name in readings if name.startswith("dormant/")}
    assert dormant == {"dormant/encoder.layers.2", "dormant/head.value.2", "dormant/head.advantage.2"}
    assert 1 <= readings["features/srank"].item() <= 8
    assert all(value.ndim == 0 and not value.requires_grad for value in readings.values())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert hooks() == 0
