"""Observations of several parts: the input and the encoder of each, and the encoder that "auto" chooses."""

from __future__ import annotations

from collections.abc import Mapping

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlkit.errors import SpecError
from rlkit.nn.actor_critic import build_actor_critic
from rlkit.nn.config import NetworkConfig
from rlkit.nn.encoders import Convolutions, Flat
from rlkit.nn.inputs import build_input
from rlkit.nn.qnetwork import build_q_network, describe_network
from rlkit.nn.structured import StructuredInput, build_inputs, describe_inputs
from rlkit.structure import Structure

SPACE = spaces.Dict(
    {
        "camera": spaces.Dict({"picture": spaces.Box(0, 255, (24, 30, 3), np.uint8)}),
        "side": spaces.Discrete(3, start=1),
        "speed": spaces.Box(-np.inf, np.inf, (2,), np.float32),
        "stack": spaces.Box(-1, 1, (4, 5), np.float32),
    }
)
STRUCTURE = Structure.of(SPACE)


def observations(count: int, seed: int = 0) -> list[dict]:
    SPACE.seed(seed)
    return [SPACE.sample() for _ in range(count)]


def rows_of(found: list[dict]) -> Tensor:
    return torch.from_numpy(np.stack([STRUCTURE.flatten(observation) for observation in found]))


def alone(found: list[dict], name: str) -> Tensor:
    """A part of observations as an environment with this part alone would give it."""
    picked = [observation["camera"]["picture"] if "." in name else observation[name] for observation in found]
    return torch.from_numpy(np.stack([np.asarray(value) for value in picked]))


def test_each_part_enters_by_its_own_rules() -> None:
    inputs = StructuredInput(STRUCTURE)
    assert dict(inputs.shape) == {"camera.picture": (3, 24, 30), "side": (3,), "speed": (2,), "stack": (20,)}
    found = observations(5)
    for part, (name, values) in zip(STRUCTURE.parts, inputs(rows_of(found)).items(), strict=True):
        expected = build_input(part.space)(alone(found, name))
        torch.testing.assert_close(values, expected.flatten(1) if name == "stack" else expected)


def test_each_part_is_measured_alone() -> None:
    inputs, measured = StructuredInput(STRUCTURE, "standardise"), build_input(SPACE["speed"], "standardise")
    assert inputs.measures
    found = [{**one, "speed": 50 + 9 * one["speed"]} for one in observations(200)]
    inputs.initialise(rows_of(found))
    measured.initialise(alone(found, "speed"))
    speed = inputs(rows_of(found))["speed"]
    torch.testing.assert_close(speed, measured(alone(found, "speed")))
    torch.testing.assert_close(speed.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    assert not StructuredInput(STRUCTURE, "raw").measures
    assert StructuredInput(STRUCTURE, "pixels")(rows_of(found))["side"].sum(1).eq(1).all(), "bytes alone are pixels"


def test_features_of_parts_stand_side_by_side() -> None:
    """The picture through the convolutions of NIPS, 32 x 1 x 1 or more, and 256 units; everything else unchanged."""
    network = build_q_network(NetworkConfig(), STRUCTURE, 4)
    picture, *others = network.encoder.parts
    assert [type(part) for part in others] == [Flat] * 3
    assert isinstance(picture[0], Convolutions)
    found = observations(5)
    inputs = network.inputs(rows_of(found))
    features = network.encoder(inputs)
    assert features.shape == (5, 256 + 3 + 2 + 20)
    torch.testing.assert_close(features[:, :256], picture(inputs["camera.picture"]))
    torch.testing.assert_close(features[:, 256:], torch.cat([inputs[name] for name in ("side", "speed", "stack")], 1))
    assert (features[:, :256] >= 0).all(), "the layer after the convolutions has its activation"
    assert network(rows_of(found)).shape == (5, 4)
    assert "camera.picture (3, 24, 30), side (3,), speed (2,), stack (20,), conv 16 8x8/4" in describe_network(
        network, 4
    )


@pytest.mark.parametrize(
    "config",
    [{"normalisation": "weight"}, {"normalisation": "layer"}, {"encoder": "impala"}, {"encoder": "mlp"}],
    ids=str,
)
def test_other_encoders_and_normalisations_apply_to_parts(config: dict) -> None:
    rows = rows_of(observations(3))
    for network in (
        build_q_network(NetworkConfig(**config), STRUCTURE, 4),
        build_actor_critic(NetworkConfig(**config), STRUCTURE, 3, 1, separate=True, orthogonal=True),
    ):
        out = network(rows)
        assert out.shape == (3, 4)
        torch.testing.assert_close(network.forward_with_hooks(rows), out)
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in network.modules())
    assert (convolutions == 0) is (config.get("encoder") == "mlp")


class OfParts(nn.Module):
    """A user's encoder: the mean colour and the speed."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.output_size = shapes["camera.picture"][0] + shapes["speed"][0]

    def forward(self, parts: Mapping[str, Tensor]) -> Tensor:
        return torch.cat((parts["camera.picture"].mean((2, 3)), parts["speed"]), 1)


def test_an_encoder_of_ones_own_receives_the_parts() -> None:
    network = build_q_network(NetworkConfig(encoder=f"{__name__}:OfParts"), STRUCTURE, 4)
    assert network(rows_of(observations(3))).shape == (3, 4)
    assert sum(parameter.numel() for parameter in network.parameters()) == 5 * 4 + 4


@pytest.mark.parametrize(
    ("space", "encoder"),
    [
        (spaces.Box(0, 255, (4, 84, 84), np.uint8), "nature"),
        (spaces.Box(0, 255, (84, 84), np.uint8), "nature"),
        (spaces.Box(0, 255, (35, 60, 3), np.uint8), "nips"),
        (spaces.Box(0, 1, (10, 10, 6), np.bool_), "minatar"),
        (spaces.Box(0, 255, (7, 7, 3), np.uint8), "minatar"),  # MiniGrid's codes
        (spaces.Box(0, 255, (2, 2, 3), np.uint8), "mlp"),
        (spaces.Box(-1, 1, (4, 8), np.float32), "mlp"),  # stacked vectors
        (spaces.Box(-1, 1, (4,), np.float32), "mlp"),
        (spaces.Discrete(9), "mlp"),
    ],
    ids=str,
)
def test_the_encoder_follows_the_size_of_images(space: gym.Space, encoder: str) -> None:
    inputs, config = build_inputs(NetworkConfig(), space)
    assert config.encoder == encoder
    assert build_inputs(NetworkConfig(encoder="mlp"), space)[1].encoder == "mlp"
    assert inputs(torch.as_tensor(np.asarray(space.sample()))[None]).shape[1:] == inputs.shape


def test_parts_are_described_and_refused_by_name() -> None:
    lines = describe_inputs(STRUCTURE, NetworkConfig(), 500).splitlines()
    assert [line.split(":")[0] for line in lines] == ["camera.picture", "side", "speed", "stack"]
    assert "divided by 255" in lines[0]
    assert "through convolutions" in lines[0]
    assert "one-hot" in lines[1]
    assert "in the first 500 steps" in lines[2]
    deep = Structure.of(spaces.Dict({"cube": spaces.Box(0, 1, (2, 2, 2, 2, 2)), "x": spaces.Discrete(2)}))
    with pytest.raises(SpecError, match="observation 'cube': observations of rank 1 to 4"):
        build_q_network(NetworkConfig(), deep, 2)
