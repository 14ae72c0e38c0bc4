"""The network behind learned codes and its loss, by themselves."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from helpers.learned_codes import (
    assert_exact_in_every_batch,
    fitted,
    pictures,
)
from rlkit.exploration.count.autoencoder import Autoencoder, BitEncoder, code_loss
from rlkit.seeding import torch_seeded

STEPS = 400


def test_the_loss_is_equation_4_with_means() -> None:
    """Two frames of three pixels, four levels, two units."""
    logits = np.array([[[1, 0, 0, 2], [0, 0, 0, 0], [3, 1, 0, -1]], [[0, 5, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2]]], float)
    frames = np.array([[0, 64, 255], [127, 128, 191]])
    level = np.array([[0, 1, 3], [1, 2, 2]])
    code = np.array([[0.1, 0.7], [0.5, 1.0]])
    nll = [
        np.log(np.exp(logits[n, p]).sum()) - logits[n, p, level[n, p]]  # - log softmax
        for n in range(2)
        for p in range(3)
    ]
    uncertain = [0.1**2, 0.3**2, 0.5**2, 0.0]
    expected = sum(nll) / 6 + 10 * sum(uncertain) / 4
    found = code_loss(torch.tensor(logits), torch.tensor(frames, dtype=torch.uint8), torch.tensor(code), 10.0)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_the_penalty_pulls_to_the_nearer_end() -> None:
    code = torch.tensor([[0.1, 0.49, 0.51, 0.9]], requires_grad=True)
    code_loss(torch.zeros(1, 1, 2), torch.zeros(1, 1), code, 4.0).backward()  # type: ignore[no-untyped-call]
    assert code.grad is not None
    assert code.grad[0].tolist() == pytest.approx([0.2, 0.98, -0.98, -0.2], rel=1e-5)


def test_every_parameter_learns() -> None:
    with torch_seeded(4):
        network = Autoencoder(16, 32, 8)
    code = network.encode(pictures()[:16])
    code_loss(network.decode(code), pictures()[:16], code, 10.0).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.slow
def test_it_learns_to_tell_pictures_apart() -> None:
    network, losses = fitted(STEPS, 10.0, 16)
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:20])
    encoder = BitEncoder(16, 32)
    encoder.follow(network)
    bits = encoder(pictures())
    assert len(bits.unique(dim=0)) > 8  # where units saturate at once it is 1
    assert (bits.float().mean(0) - 0.5).abs().max() < 0.5  # no unit says the same of all pictures


@pytest.mark.slow
def test_the_penalty_makes_units_clear() -> None:
    unclear = {}
    for penalty in (0.0, 10.0):
        code = fitted(STEPS, penalty, 16)[0].encode(pictures()[:64]).detach()
        unclear[penalty] = float(torch.minimum(code, 1 - code).mean())
    assert unclear[10.0] < 0.8 * unclear[0.0]


@pytest.mark.parametrize("side", [8, 15, 42, 52])
def test_any_side_comes_back(side: int) -> None:
    network = Autoencoder(side, 5, 3)
    code = network.encode(torch.zeros(2, side * side, dtype=torch.uint8))
    assert code.shape == (2, 5)
    assert network.decode(code).shape == (2, side * side, 3)
    assert BitEncoder(side, 5)(torch.zeros(2, side * side, dtype=torch.uint8)).shape == (2, 5)


def test_decoded_pixels_lie_where_they_were() -> None:
    """Rows are not taken for columns, nor levels for pixels."""
    network, _ = fitted(STEPS, 0.0, 16)
    frames = pictures()[:50]
    with torch.no_grad():
        levels = network.decode(network.encode(frames)).argmax(2)
    right = levels == frames.long() * 8 // 256
    assert right[frames > 100].float().mean() > 0.6
    assert right.float().mean() > 0.93


def test_a_frame_has_the_same_bits_in_every_batch() -> None:
    """Exactly: even the numbers whose sign they are, which in float32 differ in their last bits."""
    network, _ = fitted(20, 10.0, 42)
    encoder = BitEncoder(42, 32)
    encoder.follow(network)
    frames = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (150, 1764)).astype(np.uint8))
    assert_exact_in_every_batch(encoder, frames, 0.1)


def test_the_bits_are_those_of_the_autoencoder() -> None:
    network = copy.deepcopy(fitted(STEPS, 10.0, 16)[0])  # eval changes it
    encoder = BitEncoder(16, 32)
    encoder.follow(network)
    network.eval()
    with torch.no_grad():
        code = network.encode(pictures())
    sure = (code - 0.5).abs() > 0.01
    assert sure.float().mean() > 0.9
    assert torch.equal(encoder(pictures())[sure], code[sure] > 0.5)
