"""A small network's values by numpy are those of torch, also after its parameters have moved or changed."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from rlkit.nn.config import NetworkConfig
from rlkit.nn.host import HostNetwork
from rlkit.nn.inputs import InputKind
from rlkit.nn.parameters import flatten_parameters
from rlkit.nn.qnetwork import QNetwork, build_q_network

RAW = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
BOUNDED = gym.spaces.Box(np.array([-1.2, -0.07]), np.array([0.6, 0.07]), dtype=np.float64)


def by_torch(network: QNetwork, obs: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(obs)).numpy()


@pytest.mark.parametrize("kind", ["auto", "standardise", "measured"])
@pytest.mark.parametrize("space", [RAW, BOUNDED])
@pytest.mark.parametrize("hidden", [(), (7,), (120, 84)])
def test_values_are_torchs_whatever_becomes_of_the_parameters(
    space: gym.spaces.Box, hidden: tuple[int, ...], kind: InputKind
) -> None:
    network = build_q_network(NetworkConfig(hidden=hidden, input=kind), space, 3)
    host = HostNetwork.of(network)
    assert host is not None
    obs = np.random.default_rng(0).normal(size=(5, *space.shape)).astype(space.dtype)
    before = obs.copy()
    np.testing.assert_allclose(host(obs), by_torch(network, obs), rtol=1e-5, atol=1e-5)
    flatten_parameters(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5).add_(0.01)
    network.inputs.initialise(torch.from_numpy(obs).repeat(20, 1) + 3.0)
    np.testing.assert_allclose(host(obs), by_torch(network, obs), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(obs, before)


@pytest.mark.parametrize(
    ("config", "space"),
    [
        (NetworkConfig(dueling=True), RAW),
        (NetworkConfig(activation="elu"), RAW),
        (NetworkConfig(normalisation="weight"), RAW),
        (NetworkConfig(normalisation="layer"), RAW),
        (NetworkConfig(), gym.spaces.Discrete(5)),
        (NetworkConfig(), gym.spaces.Box(0.0, 1.0, (3, 3))),
        (NetworkConfig(encoder="minatar"), gym.spaces.Box(0, 1, (10, 10, 4), np.bool_)),
    ],
)
def test_other_networks_are_left_to_torch(config: NetworkConfig, space: gym.Space) -> None:
    assert HostNetwork.of(build_q_network(config, space, 3)) is None


class Doubled(QNetwork):
    """Its head gives two numbers for each action."""

    def values(self, output: torch.Tensor) -> torch.Tensor:
        return output.unflatten(1, (-1, 2)).mean(2)


class Pairs(nn.Sequential):
    def values(self, output: torch.Tensor) -> torch.Tensor:
        return output.unflatten(1, (-1, 2)).mean(2)


def test_networks_whose_output_is_not_the_action_values_are_left_to_torch() -> None:
    network = build_q_network(NetworkConfig(hidden=()), RAW, 6)
    parts = network.inputs, network.encoder, network.head
    assert HostNetwork.of(QNetwork(*parts)) is not None
    assert HostNetwork.of(Doubled(*parts)) is None
    assert HostNetwork.of(QNetwork(*parts[:2], Pairs(*network.head))) is None


def test_many_observations_are_left_to_torch() -> None:
    host = HostNetwork.of(build_q_network(NetworkConfig(hidden=(512, 512)), RAW, 2))
    assert host is not None
    assert host.supports(1)
    assert not host.supports(2)
