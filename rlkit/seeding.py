"""Named random streams from the seed of a run: one for each consumer of randomness."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

MAX_SEED = 2**31 - 1  # seeds lie in 0 .. MAX_SEED, the range that every emulator takes


@dataclass(frozen=True, slots=True)
class Streams:
    """Named, independent random streams from one root seed.

    The same (root, name) always gives the same stream, whatever else is drawn. `child` makes a namespace.
    """

    root: int
    prefix: str = ""

    def child(self, name: str) -> Streams:
        return Streams(self.root, f"{self.prefix}{name}/")

    def _entropy(self, name: str, numbers: tuple[int, ...]) -> list[int]:
        words = np.frombuffer(hashlib.sha256((self.prefix + name).encode()).digest(), dtype=np.uint32)
        return [self.root, *(int(word) for word in words), *numbers]

    def generator(self, name: str, *numbers: int) -> np.random.Generator:
        """A new NumPy generator at the beginning of the stream."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self._entropy(name, numbers))))

    def torch_generator(self, name: str, device: torch.device) -> torch.Generator:
        """A fresh torch generator on `device`, at the beginning of the stream."""
        return torch.Generator(device).manual_seed(self.seed(name))

    def seed(self, name: str, *numbers: int) -> int:
        """One number in 0 .. 2^31 - 1, for libraries that take a seed."""
        return int(self.generator(name, *numbers).integers(0, MAX_SEED + 1))


@contextmanager
def torch_seeded(seed: int) -> Iterator[None]:
    """Makes parameters that are created inside a function of `seed`; restores torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
