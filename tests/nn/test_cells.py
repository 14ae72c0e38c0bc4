"""The encoder of MiniGrid's codes."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit.errors import SpecError
from rlkit.nn.cells import Cells
from rlkit.nn.config import NetworkConfig
from rlkit.nn.layers import LayerFactory
from rlkit.nn.qnetwork import build_q_network

VIEW = gym.spaces.Box(0, 255, (7, 7, 3), np.uint8)


def test_it_sums_the_vectors_of_each_cells_codes_and_so_does_its_gradient() -> None:
    torch.manual_seed(0)
    cells = Cells((3, 2, 3), LayerFactory())
    x = torch.stack([torch.randint(0, count, (5, 2, 3)) for count in (11, 6, 4)], 1).float()
    x[4, 0, 1, 2], x[3, 2, 0, 0] = 11.0, 255.0  # codes that MiniGrid does not have
    output = cells(x)
    weight = torch.randn_like(output)
    (output * weight).sum().backward()
    expected = [torch.zeros_like(vectors) for vectors in cells.vectors]
    for b in range(5):
        for number, (i, j) in enumerate(np.ndindex(2, 3)):
            part = slice(4 * number, 4 * number + 4)
            if (b, i, j) in ((4, 1, 2), (3, 0, 0)):
                assert (output[b, part] == 0).all()
                continue
            codes = x[b, :, i, j].int().tolist()
            total = sum(vectors[code] for vectors, code in zip(cells.vectors, codes, strict=True))
            torch.testing.assert_close(output[b, part], total)
            for gradient, code in zip(expected, codes, strict=True):
                gradient[code] += weight[b, part]
    for vectors, gradient in zip(cells.vectors, expected, strict=True):
        torch.testing.assert_close(vectors.grad, gradient)


def test_a_network_takes_the_pictures_as_they_are() -> None:
    network = build_q_network(NetworkConfig(encoder="cells"), VIEW, 7)
    obs = torch.zeros((2, 7, 7, 3), dtype=torch.uint8)
    obs[1, 3, 5] = torch.tensor([5, 4, 1], dtype=torch.uint8)  # a closed yellow door
    features = network.encoder(network.inputs(obs)).view(2, 7, 7, 4)
    assert (features[0] != features[1]).any(2).nonzero().tolist() == [[3, 5]]


def test_other_observations_are_refused() -> None:
    for space in (gym.spaces.Box(0, 255, (84, 84), np.uint8), gym.spaces.Box(-1, 1, (3,), np.float32)):
        with pytest.raises(SpecError, match='encoder "cells" needs MiniGrid'):
            build_q_network(NetworkConfig(encoder="cells"), space, 2)
    with pytest.raises(ValueError, match=r"leave out network\.input"):
        NetworkConfig(encoder="cells", input="pixels")
