"""How an optimist sees action values: raised, or drawn towards a value, where counts are small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Values = TypeVar("Values", NDArray[np.float32], Tensor)


@dataclass(frozen=True, slots=True)
class Optimism(Generic[Values]):
    """Values (N, A) become values * keep + added; without `keep` they are kept whole."""

    added: Values  # (N, A)
    keep: Values | None = None  # (N, A)

    def __call__(self, values: Values) -> Values:
        """(N, A) for values (N, A)."""
        return values + self.added if self.keep is None else values * self.keep + self.added
