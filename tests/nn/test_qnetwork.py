"""Encoders, heads and whole networks against hand-computed shapes, sizes and values."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from pydantic import ValidationError
from torch import nn

from rlkit.errors import ConfigError, SpecError
from rlkit.nn.heads import DuelingHead, dense
from rlkit.nn.parameters import load_parameters, parameter_state
from rlkit.nn.qnetwork import NetworkConfig, QNetwork, build_q_network, describe_network

ATARI = spaces.Box(0, 255, (4, 84, 84), np.uint8)
MINATAR = spaces.Box(0, 1, (10, 10, 6), np.bool_)
CARTPOLE = gym.make("CartPole-v1").observation_space


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def run(network: QNetwork, space: gym.Space, batch: int = 3) -> torch.Tensor:
    return network(torch.as_tensor(np.stack([np.asarray(space.sample()) for _ in range(batch)])))


@pytest.mark.parametrize(
    ("config", "space", "actions", "size"),
    [
        # Nature: 4*32*64+32, 32*64*16+64, 64*64*9+64, 3136*512+512, 512*4+4
        (NetworkConfig(encoder="nature"), ATARI, 4, 8224 + 32832 + 36928 + 1606144 + 2052),
        # NIPS: 4*16*64+16, 16*32*16+32, 2592*256+256, 256*4+4
        (NetworkConfig(encoder="nips"), ATARI, 4, 4112 + 8224 + 663808 + 1028),
        # MinAtar: 6*16*9+16, 16*8*8*128+128, 128*6+6
        (NetworkConfig(encoder="minatar"), MINATAR, 6, 880 + 131200 + 774),
        (NetworkConfig(), CARTPOLE, 2, 600 + 10164 + 170),
        (NetworkConfig(hidden=()), spaces.Discrete(16), 4, 16 * 4 + 4),
        # Dueling: conv, then 3136*512+512 twice, 512*1+1, 512*4+4
        (NetworkConfig(encoder="nature", dueling=True), ATARI, 4, 77984 + 2 * 1606144 + 513 + 2052),
    ],
)
def test_sizes_are_those_of_the_papers(config: NetworkConfig, space: gym.Space, actions: int, size: int) -> None:
    network = build_q_network(config, space, actions)
    assert run(network, space).shape == (3, actions)
    assert parameters(network) == size
    assert f"{size:,} parameters" in describe_network(network, actions)


def test_without_hidden_layers_it_is_a_table() -> None:
    network = build_q_network(NetworkConfig(hidden=()), spaces.Discrete(3), 2)
    layer = network.head[0]
    assert not network(torch.arange(3)).any()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    q = network(torch.arange(3))
    torch.testing.assert_close(q, torch.tensor([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]))
    q.sum().backward()
    assert layer.bias.grad is None  # no value shared by all states


def test_what_is_linear_in_other_numbers_is_no_table() -> None:
    network = build_q_network(NetworkConfig(hidden=()), spaces.Box(-1.0, 1.0, (3,)), 2)
    assert network.head[0].weight.any()
    assert network.head[0].bias.requires_grad


def test_dueling_head_by_hand() -> None:
    head = DuelingHead(1, (), 3)
    with torch.no_grad():
        head.value[0].weight.fill_(2.0)
        head.value[0].bias.fill_(1.0)
        head.advantage[0].weight.copy_(torch.tensor([[1.0], [2.0], [6.0]]))
        head.advantage[0].bias.zero_()
    # value 2*1+1 = 3; advantages 1, 2, 6 with mean 3
    torch.testing.assert_close(head(torch.ones(1, 1)), torch.tensor([[1.0, 2.0, 6.0]]))


def test_dueling_shares_all_hidden_layers_but_the_last() -> None:
    head = DuelingHead(10, (8, 6), 3)
    assert parameters(head.shared) == 10 * 8 + 8
    assert parameters(head.value) == 8 * 6 + 6 + 6 + 1
    assert parameters(head.advantage) == 8 * 6 + 6 + 6 * 3 + 3


def test_dense_is_linear_at_the_end() -> None:
    assert [type(layer) for layer in dense(4, (3,), 2)] == [nn.Linear, nn.ReLU, nn.Linear]


@pytest.mark.parametrize(
    ("encoder", "space", "says"),
    [
        ("nature", CARTPOLE, "(4,)"),
        ("nature", MINATAR, "at least 36 x 36"),
        ("nature", spaces.Box(0, 255, (4, 35, 84), np.uint8), "(4, 35, 84)"),
        ("nips", MINATAR, "at least 20 x 20"),
        ("minatar", spaces.Discrete(5), "(5,)"),
    ],
)
def test_encoders_refuse_shapes_with_the_shape(encoder: str, space: gym.Space, says: str) -> None:
    with pytest.raises(SpecError) as error:
        build_q_network(NetworkConfig(encoder=encoder), space, 2)
    assert says in str(error.value)
    assert encoder in str(error.value)


def test_nature_takes_the_smallest_image() -> None:
    space = spaces.Box(0, 255, (1, 36, 36), np.uint8)
    assert run(build_q_network(NetworkConfig(encoder="nature"), space, 2), space).shape == (3, 2)


class Pooled(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.output_size = shape[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def sizeless(shape: tuple[int, ...]) -> nn.Module:
    return nn.Flatten()


def test_an_encoder_of_ones_own() -> None:
    network = build_q_network(NetworkConfig(encoder=f"{__name__}:Pooled"), ATARI, 3)
    assert run(network, ATARI).shape == (3, 3)
    assert parameters(network) == 4 * 3 + 3


@pytest.mark.parametrize(
    ("attribute", "says"), [("sizeless", "output_size"), ("absent", "absent"), ("CARTPOLE", "callable")]
)
def test_encoders_that_break_the_contract(attribute: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        build_q_network(NetworkConfig(encoder=f"{__name__}:{attribute}"), ATARI, 3)
    assert says in str(error.value)


def test_unknown_encoders_are_named_with_the_known_ones() -> None:
    with pytest.raises(ValidationError) as error:
        NetworkConfig(encoder="natur")
    for word in ('"natur"', '"mlp"', '"nature"', '"minatar"', "module:attr"):
        assert word in str(error.value)


def test_parameters_are_copied_or_refused_whole() -> None:
    one, two = (build_q_network(NetworkConfig(hidden=(5,)), CARTPOLE, 2) for _ in range(2))
    load_parameters(two, parameter_state(one), "it")
    for left, right in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(left, right)
        assert left.data_ptr() != right.data_ptr()
    wider = build_q_network(NetworkConfig(hidden=(6,)), CARTPOLE, 2)
    before = {name: value.clone() for name, value in parameter_state(wider).items()}
    with pytest.raises(ConfigError, match=r"head\.0\.weight has shape \(5, 4\), this network needs \(6, 4\)"):
        load_parameters(wider, parameter_state(one), "it")
    with pytest.raises(ConfigError, match=r"head\.4\.bias is not part of it"):
        load_parameters(wider, {**parameter_state(wider), "head.4.bias": torch.zeros(1)}, "it")
    assert all(torch.equal(before[name], value) for name, value in parameter_state(wider).items())
