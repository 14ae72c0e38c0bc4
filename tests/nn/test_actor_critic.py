"""Policy and value in one network or in two: shapes, initial parameters, and the same function by NumPy."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit.errors import ConfigError
from rlkit.nn.actor_critic import ActorCritic, build_actor_critic
from rlkit.nn.config import NetworkConfig
from rlkit.nn.fused import FusedNetworks
from rlkit.nn.host import HostNetwork
from rlkit.nn.parameters import flatten_parameters
from rlkit.seeding import torch_seeded

RAW = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
IMAGE = gym.spaces.Box(0, 255, (4, 36, 36), np.uint8)


def build(
    space: gym.Space[Any] = RAW, *, separate: bool = False, orthogonal: bool = True, values: int = 1, **config: Any
) -> ActorCritic:
    with torch_seeded(1):
        return build_actor_critic(NetworkConfig(**config), space, 3, values, separate=separate, orthogonal=orthogonal)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize(
    ("space", "config"),
    [(RAW, {"normalisation": "weight"}), (IMAGE, {"encoder": "nature"}), (RAW, {"normalisation": "batch"})],
)
def test_logits_and_a_value(space: gym.Space[Any], config: dict[str, Any], separate: bool) -> None:
    network = build(space, separate=separate, values=2, **config)
    obs = torch.from_numpy(np.stack([space.sample() for _ in range(5)]))
    output = network(obs)
    assert output.shape == (5, 5)
    torch.testing.assert_close(output, network.forward_with_hooks(obs))
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_two_networks_share_nothing_and_one_shares_all_but_its_last_layer() -> None:
    for separate, shared in ((True, False), (False, True)):
        network = build(separate=separate, hidden=(8,))
        network(torch.ones(1, 4))[0, -1].backward()  # of the value
        gradients = [bool(parameter.grad.any()) for parameter in network.bodies[0].parameters()]
        assert all(gradients) if shared else not any(gradients)


@pytest.mark.parametrize("separate", [False, True])
def test_orthogonal_parameters_have_the_published_gains(separate: bool) -> None:
    network = build(separate=separate, hidden=(16, 16))
    weights = {name: part for name, part in network.named_parameters() if name.endswith("weight")}
    assert not any(part.any() for name, part in network.named_parameters() if name.endswith("bias"))
    for name, weight in weights.items():
        if name.startswith("bodies.0.5") and not separate:
            parts = [(weight[:-1], 0.01), (weight[-1:], 1.0)]
        else:
            parts = [(weight, {"bodies.0.5.weight": 0.01, "bodies.1.5.weight": 1.0}.get(name, 2**0.5))]
        for part, gain in parts:
            torch.testing.assert_close(torch.linalg.svdvals(part.detach()), torch.full((min(part.shape),), gain))
    assert torch.linalg.svdvals(build(orthogonal=False).get_parameter("bodies.0.1.weight")).std() > 0.01


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_by_numpy_it_is_the_same_function(separate: bool, activation: str) -> None:
    network = build(separate=separate, activation=activation, hidden=(8, 8))
    host = HostNetwork.of(network)
    assert host is not None
    flatten_parameters(network)
    obs = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5).add_(0.01)
        expected = network(torch.from_numpy(obs)).numpy()
    np.testing.assert_allclose(host(obs), expected, rtol=1e-5, atol=1e-5)
    assert HostNetwork.of(build(activation="elu")) is None
    assert HostNetwork.of(build(separate=separate, normalisation="weight")) is None


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("hidden", [(8,), (8, 6, 5)])
def test_fused_layers_have_the_gradients_of_single_ones(
    separate: bool, activation: str, hidden: tuple[int, ...]
) -> None:
    network = build(separate=separate, activation=activation, hidden=hidden, orthogonal=False)
    obs, grad = torch.randn(7, 4, requires_grad=True), torch.randn(7, 4)
    fused = network(obs)
    assert type(fused.grad_fn).__name__ == "_NetworksBackward"
    found = torch.autograd.grad(fused, [obs, *network.parameters()], grad)
    single = network.forward_with_hooks(obs)
    torch.testing.assert_close(fused, single)
    torch.testing.assert_close(found, torch.autograd.grad(single, [obs, *network.parameters()], grad))


@pytest.mark.parametrize("config", [{"activation": "elu"}, {"normalisation": "layer"}, {"normalisation": "weight"}])
def test_other_layers_are_not_fused(config: dict[str, Any]) -> None:
    assert FusedNetworks.of(list(build(**config).bodies)) is None
    assert FusedNetworks.of(list(build().bodies)) is not None


def test_action_values_in_streams_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"network\.dueling splits action values"):
        build(dueling=True)


def test_an_own_encoder_keeps_its_parameters() -> None:
    network = build(separate=True, encoder="nn.test_actor_critic:Sevens", hidden=(4,))
    for encoder, hidden, *_ in network.bodies:
        assert (encoder.layer.weight == 7.0).all()
        torch.testing.assert_close(hidden.weight @ hidden.weight.T, 2.0 * torch.eye(4))


class Sevens(torch.nn.Module):
    """An encoder whose weights are known."""

    output_size = 5

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(shape[0], 5)
        torch.nn.init.constant_(self.layer.weight, 7.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.layer(x)
        return values
