"""What the table `network` makes: encoders, normalisations, activations, pooling; and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.utils import parametrize

from rlkit.errors import ConfigError, SpecError
from rlkit.nn.config import KNOWN_ENCODERS, NetworkConfig
from rlkit.nn.encoders import ENCODERS
from rlkit.nn.impala import Block
from rlkit.nn.layers import FractionalMaxPool, LayerFactory
from rlkit.nn.qnetwork import QNetwork, build_q_network
from rlkit.nn.summary import summarise
from rlkit.nn.weight_norm import MeanOnlyBatchNorm, normalised_layers

ATARI = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
MINATAR = gym.spaces.Box(0, 1, (10, 10, 6), np.bool_)
SMALL = gym.spaces.Box(0, 255, (4, 7, 10), np.uint8)
VECTOR = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)


def build(space: gym.Space, actions: int = 3, **config: Any) -> QNetwork:
    return build_q_network(NetworkConfig(**config), space, actions)


def kinds(network: nn.Module) -> list[type[nn.Module]]:
    return [type(part) for part in network.modules() if not list(part.children())]


def sample(space: gym.Space, batch: int = 3) -> torch.Tensor:
    return torch.as_tensor(np.stack([space.sample() for _ in range(batch)]))


def test_configs_and_code_know_the_same_encoders() -> None:
    assert set(KNOWN_ENCODERS) == {"auto", *ENCODERS}


def test_none_of_it_is_written_into_configs_that_do_not_ask() -> None:
    """A digest of before these keys existed is the digest of today."""
    written = NetworkConfig(normalisation="none").model_dump(exclude_none=True)
    assert written == {"input": "measured", "encoder": "auto", "dueling": False}


@pytest.mark.parametrize("normalisation", ["weight", "weight_mean_batch", "batch", "layer", "group", "spectral"])
@pytest.mark.parametrize(
    ("encoder", "space"), [("mlp", VECTOR), ("nature", ATARI), ("minatar", MINATAR), ("impala", MINATAR)]
)
def test_every_normalisation_of_every_encoder_learns(normalisation: str, encoder: str, space: gym.Space) -> None:
    network = build(space, encoder=encoder, normalisation=normalisation, activation="leaky_relu", dueling=True)
    obs = sample(space)
    assert not network.training
    torch.testing.assert_close(network(obs), network.forward_with_hooks(obs))
    network.train()(obs).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_where_normalisations_stand() -> None:
    conv, linear = nn.Conv2d, nn.Linear
    for normalisation, image, vector in [
        (None, [], []),
        ("batch", [nn.BatchNorm2d], [nn.BatchNorm1d]),
        ("layer", [nn.GroupNorm], [nn.LayerNorm]),
        ("group", [nn.GroupNorm], [nn.GroupNorm]),
    ]:
        network = build(MINATAR, encoder="minatar", normalisation=normalisation, activation="elu")
        assert kinds(network)[1:] == [conv, *image, nn.ELU, nn.Flatten, linear, *vector, nn.ELU, linear]
    assert build(MINATAR, encoder="minatar", normalisation="batch").head[0].bias is None
    grouped = build(ATARI, encoder="nature", normalisation="group", groups=8).modules()
    assert {part.num_groups for part in grouped if isinstance(part, nn.GroupNorm)} == {8}


def test_layer_normalisation_is_over_all_of_an_image() -> None:
    conv, norm = LayerFactory(normalisation="layer").conv(2, 6, 3)[:2]
    out = norm(conv(torch.randn(5, 2, 9, 9)))
    torch.testing.assert_close(out.mean((1, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var((1, 2, 3), correction=0), torch.ones(5), atol=1e-3, rtol=0)


def test_weights_are_normalised_everywhere_and_means_in_hidden_layers() -> None:
    network = build(MINATAR, encoder="minatar", normalisation="weight_mean_batch")
    layers = [layer for layer, _ in normalised_layers(network)]
    assert [layer.bias is None for layer in layers] == [True, True, False]  # the output keeps its own
    assert sum(isinstance(part, MeanOnlyBatchNorm) for part in network.modules()) == 2


@pytest.mark.parametrize(("dueling", "count"), [(False, 1), (True, 2)])
def test_spectral_normalisation_is_of_the_last_hidden_layer(dueling: bool, count: int) -> None:
    network = build(VECTOR, hidden=(20, 10), dueling=dueling, normalisation="spectral")
    normalised = [part for part in network.modules() if parametrize.is_parametrized(part)]
    assert [part.out_features for part in normalised] == [10] * count
    for part in normalised:
        assert torch.linalg.matrix_norm(part.weight.detach(), 2).item() == pytest.approx(1.0, abs=0.05)


def test_impala_has_the_published_size() -> None:
    """Espeholt et al. 2018 and its width factor: parameters by hand for 84 x 84 x 4, 11 x 11 x 32 features."""

    def by_hand(widths: tuple[int, int, int]) -> int:
        total, before = 0, 4
        for channels in widths:
            total += (before * 9 + 1) * channels + 4 * (channels * 9 + 1) * channels
            before = channels
        return total + (11 * 11 * before + 1) * 256 + 257 * 3

    for width, widths in ((None, (16, 32, 32)), (2.0, (32, 64, 64))):
        network = build(ATARI, encoder="impala", width=width)
        assert sum(parameter.numel() for parameter in network.parameters()) == by_hand(widths)
        assert network.encoder.output_size == 11 * 11 * widths[-1]


def test_a_block_adds_a_scaled_branch_to_its_input() -> None:
    x = torch.randn(2, 4, 6, 6)
    block = Block(4, LayerFactory(residual_scale=0.5))
    assert [type(part) for part in block.branch] == [nn.ReLU, nn.Conv2d, nn.ReLU, nn.Conv2d]
    torch.testing.assert_close(block(x), x + 0.5 * block.branch(x))
    batch = [type(part) for part in Block(4, LayerFactory(normalisation="batch")).branch]
    assert batch == [nn.BatchNorm2d, nn.ReLU, nn.Conv2d] * 2


def test_fractional_pooling_shrinks_by_the_root_of_two_the_same_way_each_time() -> None:
    pool = FractionalMaxPool((3, 20, 10))
    x = torch.randn(2, 3, 20, 10)
    out = pool(x)
    assert out.shape == (2, 3, 14, 7)
    assert torch.equal(out, pool(x))
    assert torch.equal(pool(x[:1]), out[:1])
    assert (torch.isin(out, x)).all()
    assert "regions" in pool.state_dict()
    many = FractionalMaxPool((960, 84, 84))
    small = torch.randint(0, 100, (1, 960, 84, 84))  # exact in bfloat16 too
    assert torch.equal(many(small.bfloat16()).float(), many(small.float()))
    network = build(
        gym.spaces.Box(0, 255, (1, 8, 8), np.uint8), encoder="impala", pooling="fractional_max", hidden=(8,)
    )
    assert network.encoder.output_size == 2 * 2 * 32


@pytest.mark.parametrize(
    ("config", "space", "says"),
    [
        ({"encoder": "impala"}, VECTOR, ["impala", "(4,)"]),
        ({"encoder": "impala", "pooling": "fractional_max"}, SMALL, ["8 x 8", "(4, 7, 10)"]),
        ({"encoder": "nature", "normalisation": "group", "groups": 5}, ATARI, ["groups = 5", "32 channels", "(32, H"]),
        ({"hidden": (6,), "normalisation": "group"}, VECTOR, ["groups = 4", "6 units", "(6,)"]),
        ({"hidden": (4,), "normalisation": "group"}, VECTOR, ["one unit is always 0", "(4,)", "4 group"]),
        ({"hidden": (8, 1), "normalisation": "layer"}, VECTOR, ["one unit is always 0", "(1,)"]),
        ({"hidden": (), "normalisation": "layer"}, VECTOR, ["layer", "no layer to act on"]),
        ({"encoder": "minatar", "hidden": (), "normalisation": "spectral"}, MINATAR, ["no layer to act on"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_shapes(
    config: dict[str, Any], space: gym.Space, says: list[str]
) -> None:
    with pytest.raises((SpecError, ConfigError)) as error:
        build(space, **config)
    for word in says:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"pooling": "max"}, 'network.pooling applies to encoder = "impala" only, not to "auto"'),
        ({"width": 2.0, "encoder": "nature"}, "network.width applies"),
        ({"residual_scale": 0.1}, "network.residual_scale applies"),
        ({"groups": 2, "normalisation": "layer"}, 'applies to normalisation = "group" only, not to "layer"'),
        ({"weight_norm": {}, "normalisation": "batch"}, "network.weight_norm applies"),
        ({"weight_norm": {}}, 'not to "none"'),
        ({"normalisation": "wieght"}, "'weight'"),
        ({"activation": "gelu"}, "'elu'"),
    ],
)  # fmt: skip
def test_impossible_tables(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as error:
        NetworkConfig(**config)
    assert says in str(error.value)


def test_the_summary_by_hand(hooks: Callable[[], int]) -> None:
    """MinAtar's network on 10 x 10 x 6: shapes, parameters and multiply-adds of each layer."""
    network = build(MINATAR, encoder="minatar", normalisation="weight")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rows = [row for row in summarise(network, sample(MINATAR, 1)) if row.parameters]
    assert [(row.name, row.kind, row.shape, row.parameters, row.multiply_adds) for row in rows] == [
        ("encoder.layers.0", "conv 16 3x3/1, weight norm", (16, 8, 8), 6 * 9 * 16 + 16 + 16, 16 * 64 * 54),
        ("head.0", "linear 128, weight norm", (128,), 1024 * 128 + 128 + 128, 1024 * 128),
        ("head.2", "linear 3, weight norm", (3,), 128 * 3 + 3 + 3, 128 * 3),
    ]
    assert sum(row.parameters for row in rows) == sum(parameter.numel() for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert hooks() == 0


class Mixed(nn.Module):
    """An encoder of one's own with a parameter beside its layers, and batch normalisation."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.output_size = shape[0]
        self.gain = nn.Parameter(torch.ones(1))
        self.norm = nn.BatchNorm2d(shape[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x * self.gain).mean((2, 3))


class Dropping(Mixed):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.drop = nn.Dropout(0.5)


def test_encoders_of_ones_own_may_normalise_batches_but_not_drop() -> None:
    network = build(ATARI, encoder=f"{__name__}:Mixed", normalisation="weight")
    rows = summarise(network, sample(ATARI, 1))
    assert sum(row.parameters for row in rows) == sum(parameter.numel() for parameter in network.parameters())
    assert [row.kind for row in rows if row.parameters] == ["BatchNorm2d", "Mixed", "linear 3, weight norm"]
    with pytest.raises(ConfigError, match=r"Dropping.*Dropout"):
        build(ATARI, encoder=f"{__name__}:Dropping")
