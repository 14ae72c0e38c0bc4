"""The trained policy for Pong, in pixels: attributions, attacks and probes are sound there too."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rlkit.look.attack import Bounds, Perturbation
from rlkit.look.attribution import attribute, reduced
from rlkit.look.playing import load_for_looking
from rlkit.look.probe import decode, layers_of
from rlkit.look.samples import Samples, collect

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow  # plays three games


@pytest.fixture(scope="module")
def pong() -> tuple[Any, Samples]:
    loaded = load_for_looking(ROOT / "pretrained" / "pong")
    return loaded.policy, collect(loaded, 3, 0.2, 90)


def first(samples: Samples, count: int) -> Any:
    seen = samples.observation
    return replace(seen, obs=seen.obs[:count], first=seen.first[:count], signals={})


def test_the_map_is_zero_where_the_network_is_blind_and_another_for_random_weights(pong: tuple[Any, Samples]) -> None:
    policy, samples = pong
    function = policy.score_functions(first(samples, 4), {})[0]
    inputs = function.encode(torch.from_numpy(np.array(first(samples, 4).obs))).detach()
    lower = torch.ones_like(inputs)
    lower[:, :, :42] = 0

    def blind(values: torch.Tensor) -> torch.Tensor:
        return function.function(values * lower)

    found = reduced(attribute(function, inputs, function.chosen, "gradient", inputs[0]), "gradient")  # (4, 84, 84)
    masked = reduced(
        attribute(replace(function, function=blind), inputs, function.chosen, "gradient", inputs[0]), "gradient"
    )
    assert found[:, :42].max() > 0
    assert masked[:, :42].max() == 0
    assert masked[:, 42:].max() > 0
    other = copy.deepcopy(policy)
    torch.manual_seed(0)
    for parameter in other.network.parameters():
        nn.init.normal_(parameter, std=0.05)
    random = other.score_functions(first(samples, 4), {})[0]
    drawn = reduced(attribute(random, inputs, function.chosen, "gradient", inputs[0]), "gradient")
    assert np.corrcoef(found.ravel(), drawn.ravel())[0, 1] < 0.5


def test_an_attack_of_a_grey_level_changes_actions_and_noise_does_not(pong: tuple[Any, Samples]) -> None:
    policy, samples = pong
    seen = first(samples, 60)
    function, obs = policy.score_functions(seen, {})[0], torch.from_numpy(seen.obs.astype(np.float32))

    def changed(kind: Any, epsilon: float) -> float:
        moved = Perturbation(kind, epsilon, bounds, np.random.default_rng(0))(function, obs)
        assert float((moved - obs).abs().max()) <= epsilon + 1e-4
        with torch.no_grad():
            action = function.function(function.encode(moved)).argmax(1).numpy()
        return float((action != function.chosen).mean())

    bounds = Bounds.of(load_for_looking(ROOT / "pretrained" / "pong").spec)
    assert changed("pgd", 0.0) == 0.0
    assert changed("pgd", 1.0) > 0.8
    assert changed("noise", 1.0) < 0.2


def test_the_ball_is_read_and_shuffled_bytes_are_not(pong: tuple[Any, Samples]) -> None:
    policy, samples = pong
    features = layers_of(policy, samples)["2 conv 32 4x4/2"]
    accuracy, *_, chance = decode(features, samples, ["ball_y"])["ball_y"]
    assert accuracy > chance + 0.2
    shuffled = {"ball_y": np.random.default_rng(0).permutation(samples.labels["ball_y"])}
    accuracy, *_, chance = decode(features, replace(samples, labels=shuffled), ["ball_y"])["ball_y"]
    assert accuracy < chance + 0.15
