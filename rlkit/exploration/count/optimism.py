"""Optimism about rarely tried actions (OPIQ, Rashid et al. 2020): an adjustment of action values by pair counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rlkit.exploration.adjustment import Adjustment, on_device
from rlkit.exploration.count.counts import Counts
from rlkit.exploration.count.features import Features
from rlkit.exploration.count.hashing import Codes
from rlkit.exploration.count.subtables import OptimismConfig
from rlkit.types import Observation, State, Window


class CountOptimism:
    """Raises the values of rarely tried actions, or draws them towards C; see `OptimismConfig`."""

    def __init__(self, config: OptimismConfig, features: Features, codes: Codes, pairs: Counts) -> None:
        self._config = config
        self._features = features
        self._codes = codes
        self._pairs = pairs

    def __call__(self, observation: Observation) -> Adjustment[NDArray[np.float32]] | None:
        """The adjustment of action values (N, A); None until the hash is fitted."""
        return self.of(self._codes(self._features(observation))) if self._codes.ready else None

    def of(self, digest: NDArray[np.int64]) -> Adjustment[NDArray[np.float32]]:
        """The adjustment, (*digest.shape, A), in the states of these digests."""
        fading = (self._pairs.look_up(digest) + 1.0) ** self._config.exponent
        keep = (1.0 - 1.0 / fading).astype(np.float32) if self._config.bounded else None
        return Adjustment((self._config.scale / fading).astype(np.float32), keep)

    def bootstrapping(self, window: Window) -> Adjustment[Tensor]:
        """The adjustment of the values (B, A) of `next_obs`."""
        every = on_device(self.of(np.asarray(window.extras["next_digest"])), window.steps.device)  # (B, n, A)
        # the number of steps is known on the device only; reading it here would wait for the device
        last = (window.steps - 1)[:, None, None].expand(-1, 1, every.added.shape[2])

        def of_last(values: Tensor) -> Tensor:
            return values.gather(1, last).squeeze(1)

        return Adjustment(of_last(every.added), None if every.keep is None else of_last(every.keep))

    def state_dict(self) -> dict[str, Any]:
        return {"codes": self._codes.state_dict(), "pairs": self._pairs.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self._codes.load_state_dict(state["codes"])
        self._pairs.load_state_dict(state["pairs"])
