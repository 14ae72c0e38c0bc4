"""Pseudo-counts: the density model against brute force, the formula against a table, and what is paid."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from rlkit.errors import SpecError
from rlkit.exploration.pseudo_count import PseudoCountBonus, PseudoCountConfig, pseudo_count
from rlkit.nn.pixelcnn import GatedPixelCNN, log_probability
from rlkit.seeding import Streams, torch_seeded
from rlkit.types import EnvSpec, Observation, StepBatch, Window

TINY = {"side": 4, "levels": 4, "features": 4, "layers": 2}
SPEC = EnvSpec(gym.spaces.Box(0, 255, (4, 4), np.uint8), 2, 3)


def model(levels: int = 2, features: int = 8, layers: int = 3) -> GatedPixelCNN:
    with torch_seeded(1):
        network = GatedPixelCNN(levels, features, layers)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.5)
    return network.eval()


def bonus(**changes: Any) -> PseudoCountBonus:
    made = PseudoCountConfig(**(TINY | changes)).build(SPEC, Streams(0), None, 0)
    assert isinstance(made, PseudoCountBonus)
    return made


def step(frames: NDArray[np.uint8]) -> StepBatch:
    size, none = len(frames), np.zeros(len(frames), np.bool_)
    seen = Observation(frames, {}, none)
    ones = np.ones(size, np.float32)
    return StepBatch(seen, np.zeros(size, np.int64), ones, ones, none, none, seen, {})


@torch.inference_mode()
def test_the_probabilities_of_all_images_sum_to_one() -> None:
    network = model()
    images = torch.tensor(list(itertools.product((0, 1), repeat=6))).view(-1, 2, 3)
    assert float(log_probability(network(images), images).exp().sum()) == pytest.approx(1.0, abs=1e-6)


@torch.inference_mode()
def test_a_pixel_depends_on_all_pixels_before_it_and_on_no_other() -> None:
    network, image = model(levels=3), torch.randint(0, 3, (1, 4, 5), generator=torch.Generator().manual_seed(0))
    before = network(image)[0].flatten(1)  # (levels, 20)
    for place in range(20):
        changed = image.clone()
        changed.view(-1)[place] = (changed.view(-1)[place] + 1) % 3
        differs = (network(changed)[0].flatten(1) != before).any(0)
        assert differs.tolist() == [other > place for other in range(20)], place


@pytest.mark.parametrize(
    ("counts", "frames"),
    [(1, 2), (3, 10), (50, 400)],
)
def test_the_gain_of_an_empirical_model_gives_the_count(counts: int, frames: int) -> None:
    """A model of relative frequencies: p = n / t before, (n + 1) / (t + 1) after; so N = n (t + 1) / (t - n)."""
    gain = np.log((counts + 1) / (frames + 1)) - np.log(counts / frames)
    assert pseudo_count(gain, 1, 1.0) == pytest.approx(counts * (frames + 1) / (frames - counts))


def test_pseudo_counts_by_hand() -> None:
    assert pseudo_count(2.0, 4, 0.5) == pytest.approx(1 / (np.e**0.5 - 1))  # 0.5 * 2 / sqrt(4)
    assert pseudo_count(0.0, 4, 0.5) == float("inf")
    assert pseudo_count(-3.0, 4, 0.5) == float("inf")
    assert pseudo_count(1e9, 1, 0.5) < 1e-300


def test_what_is_paid_equals_a_plain_recount() -> None:
    """Log-probabilities before and after plain RMSProp steps on one frame at a time, in the order of environments."""
    learner = bonus(beta=0.5, gain=2.0, learning_rate=0.01)
    with torch_seeded(Streams(0).seed("networks")):
        network = GatedPixelCNN(4, 4, 2)
    optimizer = torch.optim.RMSprop(network.parameters(), 0.01, alpha=0.95, eps=1e-8)
    rng, number = np.random.default_rng(0), 0
    for _ in range(4):
        frames = rng.integers(0, 256, (3, 4, 4), np.uint8)
        paid = learner.observe(step(frames))["bonus"]
        for one, found in zip(frames, paid, strict=True):
            image = torch.as_tensor(one.astype(np.int64) // 64)[None]
            loss = nn.functional.cross_entropy(network(image), image)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            number += 1
            with torch.no_grad():
                gain = 16 * float(loss - nn.functional.cross_entropy(network(image), image))
            expected = 0.5 / np.sqrt(1 / np.expm1(2.0 * max(gain, 1e-12) / np.sqrt(number)) + 0.01)
            assert found == pytest.approx(expected, rel=2e-2, abs=1e-4)
    window = Window(
        obs=torch.zeros(3, 4, 4),
        action=torch.zeros(3, 1, dtype=torch.int64),
        reward=torch.ones(3, 1),
        discount=torch.ones(3, 1),
        steps=torch.ones(3, dtype=torch.int64),
        next_obs=torch.zeros(3, 4, 4),
        extras={"bonus": torch.as_tensor(paid)[:, None]},
    )
    np.testing.assert_allclose(learner.add(window.reward, window)[:, 0].numpy(), 1.0 + paid, rtol=1e-6)


def test_a_new_frame_pays_more_than_known_ones() -> None:
    learner, rng = bonus(learning_rate=3e-3), np.random.default_rng(0)
    known = np.zeros((3, 4, 4), np.uint8)
    known[:, :2] = rng.integers(0, 60, (3, 2, 4))
    for _ in range(150):
        learner.observe(step(known))
    often = learner.observe(step(known))["bonus"].mean()
    new = learner.observe(step(np.full((3, 4, 4), 200, np.uint8)))["bonus"][0]
    assert new > 5 * often


def test_other_observations_are_refused() -> None:
    vector = EnvSpec(gym.spaces.Box(-1.0, 1.0, (3,), np.float32), 2, 1)
    with pytest.raises(SpecError, match="frames of uint8 pixels"):
        PseudoCountConfig().validate_for(vector, 0)
    with pytest.raises(SpecError, match=r"bonus.side = 42 is more than the 4 x 4 frames have"):
        PseudoCountConfig().validate_for(SPEC, 0)
