"""Hashes: which observations count as the same state, as 64-bit digests."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlkit.types import Metrics, State

GRID = 1024.0  # inputs and projections are whole multiples of 1/GRID: their float64 sums are exact in any order
CONSTANT = 1e-6  # a spread up to this fraction of a feature's size counts as 0
LARGEST_SUM = 2.0**39  # of inputs on the grid: times a projection of at most 2^13, and with the offset of inputs whose
# norm is below 2^28, it stays below 2^53


class Codes(Protocol):
    """Features (K, d) → int64 digests (K,); a row's digest does not depend on the other rows."""

    @property
    def ready(self) -> bool:
        """False until it is fitted, if it must be."""

    def __call__(self, features: NDArray[Any]) -> NDArray[np.int64]: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


class Hash(Codes, Protocol):
    """Codes that may be fitted, perhaps again and again."""

    @property
    def codes(self) -> Codes:
        """What gives the digests now, without what learns them; shares memory."""

    def due(self, steps: int) -> bool:
        """Whether it is to be fitted `steps` environment steps after the random warm-up."""

    def learn(self, env_steps: int) -> Metrics:
        """Makes the updates that are due, if it learns; digests do not change until `fit`."""

    def fit(self, features: NDArray[Any]) -> Metrics:
        """Refits the hash. features: of the random warm-up, (W, d), at the first fit; later (0, d)."""


def digest(rows: NDArray[Any]) -> NDArray[np.int64]:
    """(K,) 64-bit digests (BLAKE2b) of the bytes of each row; equal rows have equal digests.

    The probability that two of a million different rows share a digest is 3e-8.
    """
    rows = np.ascontiguousarray(rows)
    joined = b"".join([hashlib.blake2b(row, digest_size=8).digest() for row in rows])
    return np.frombuffer(joined, np.int64)


class ExactHash:
    """Gives every state its own code: the digest of its features."""

    ready = True

    @property
    def codes(self) -> Codes:
        return self

    def due(self, steps: int) -> bool:
        return False

    def learn(self, env_steps: int) -> Metrics:
        return {}

    def fit(self, features: NDArray[Any]) -> Metrics:
        return {}

    def __call__(self, features: NDArray[Any]) -> NDArray[np.int64]:
        # Adding 0 makes -0.0 the same state as 0.0
        return digest(features + np.zeros((), features.dtype) if features.dtype.kind == "f" else features)

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None:
        """Nothing to load."""


class SimHash:
    """The signs of k random projections (Charikar 2002; Tang et al. 2017, equation 2); bits are 1 where > 0.

    Features are centred first, because codes of inputs that all lie on one side of the origin hardly differ. The centre
    is `midpoint`, half of their range, or else their mean over the warm-up; float features are then also divided by
    their standard deviation over the warm-up. Centre and scale are fixed from then on, because changing them would
    change the codes.

    Differs from the paper: inputs and projection are rounded to multiples of 1/1024, inputs are clipped to a size that
    centred inputs never reach, and sums are in float64. The sums are therefore exact, and a state has the same code in
    every batch; with float32 it might not.

    bias: adds a random offset to each projection, of the size of the inputs. Without it all hyperplanes pass through
    the centre, and two-dimensional inputs get at most 2 k codes.
    """

    def __init__(
        self, size: int, bits: int, *, bias: bool, midpoint: NDArray[np.float64] | None, rng: np.random.Generator
    ) -> None:
        # (d, k), a bit's numbers side by side: a product with one row then costs two thirds
        self._projection = np.asfortranarray(np.rint(rng.standard_normal((size, bits)) * GRID))
        self._offset = rng.standard_normal(bits) if bias else np.zeros(bits)  # (k,) in units of the inputs' norm
        self._shift = midpoint
        self._scale = np.ones(size)
        self._largest = LARGEST_SUM // size
        self._norm = 0.0 if midpoint is None else float(np.sqrt((midpoint**2).sum() / 3))  # of uniform inputs

    @property
    def codes(self) -> Codes:
        return self

    @property
    def ready(self) -> bool:
        return self._shift is not None

    def due(self, steps: int) -> bool:
        return not self.ready

    def learn(self, env_steps: int) -> Metrics:
        return {}

    def fit(self, features: NDArray[Any]) -> Metrics:
        """Sets the centre and the scale from the features."""
        values = features.astype(np.float64)
        self._shift = values.mean(0)
        if features.dtype.kind == "f":
            spread = values.std(0)
            varied = spread > CONSTANT * np.abs(values).max(0)  # rounding gives a constant some spread
            self._scale = 1.0 / np.where(varied, spread, 1.0)
        self._norm = float(np.sqrt(((values - self._shift) ** 2 * self._scale**2).sum(1).mean()))
        return {}

    def bits(self, features: NDArray[Any]) -> NDArray[np.bool_]:
        """(K, k) the code itself."""
        assert self._shift is not None  # ask `ready` first
        inputs = np.rint((features - self._shift) * (self._scale * GRID)).clip(-self._largest, self._largest)  # (K, d)
        offset = np.rint(self._offset * self._norm * GRID) * GRID
        code: NDArray[np.bool_] = inputs @ self._projection + offset > 0
        return code

    def __call__(self, features: NDArray[Any]) -> NDArray[np.int64]:
        return digest(np.packbits(self.bits(features), axis=1))

    def state_dict(self) -> State:
        return {
            "projection": self._projection,
            "offset": self._offset,
            "shift": self._shift,
            "scale": self._scale,
            "norm": self._norm,
        }

    def load_state_dict(self, state: State) -> None:
        self._projection, self._offset = np.asfortranarray(state["projection"]), state["offset"]
        self._shift, self._scale, self._norm = state["shift"], state["scale"], float(state["norm"])
