"""Observations with a byte beside them: how they enter a network."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from rlkit.structure import Structure
from rlkit.types import EnvSpec

BESIDE = "episode/visits"  # the name of the byte, the last part of the row


class Beside:
    """Splits rows of two parts, the second of which is one byte."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._main, self._byte = (part.name for part in structure.parts)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The first part (B, *O), and the byte as a number from 0 to 1, (B,)."""
        parts = self._structure.split(rows)
        return parts[self._main], parts[self._byte].view(-1).to(torch.float32) / 255.0


def input_space(spec: EnvSpec) -> gym.Space[Any]:
    """What a network takes as observations: their space, or for an observation with a byte beside it a Tuple of both.

    `build_input` then converts the observation by its own rules, not as one row of numbers.
    """
    structure = spec.structure
    if structure is None or [part.name for part in structure.parts[1:]] != [BESIDE]:
        return spec.observation_space
    return gym.spaces.Tuple([part.space for part in structure.parts])
