"""The table `bonus` of type "count": how the bonus is built from it."""

from __future__ import annotations

import numpy as np
import torch

from rlkit.errors import ConfigError
from rlkit.exploration.count import features as kinds
from rlkit.exploration.count.bonus import CountBonus
from rlkit.exploration.count.counts import ExactCounts
from rlkit.exploration.count.episodic import EpisodeCounts
from rlkit.exploration.count.feature_config import LearnedConfig
from rlkit.exploration.count.hashing import Codes, Hash
from rlkit.exploration.count.optimism import CountOptimism
from rlkit.exploration.count.tables import CountTable
from rlkit.exploration.count.visits import VisitCounter
from rlkit.memory import require_memory
from rlkit.replay import Replay, Trajectory
from rlkit.seeding import Streams
from rlkit.types import EnvSpec

FITTING_BYTES = 32  # of a feature of a random step: the feature itself, and three copies in float64


class CountConfig(CountTable):
    """Count-based exploration (Tang et al. 2017, "#Exploration"): features, hash, counts, bonus, optimism."""

    def validate_for(self, spec: EnvSpec, warm_up: int) -> None:
        super().validate_for(spec, warm_up)
        self._validate(self.features.build(spec), warm_up)
        self._episodic_codes(spec, Streams(0))

    def build(self, spec: EnvSpec, streams: Streams, replay: Replay | Trajectory | None, warm_up: int) -> CountBonus:
        features = self.features.build(spec)
        hashing = self._hash(features, streams, replay, warm_up)
        states = self.counts.build(1)
        pairs = self.counts.build(spec.num_actions) if self.needs_actions else None
        visits = VisitCounter(features, hashing, states, pairs, spec.num_envs, warm_up)
        episodes = None if self.episodic == "none" else EpisodeCounts(spec.num_envs)
        optimism = None
        if self.optimism is not None and pairs is not None:
            optimism = CountOptimism(self.optimism, features, hashing.codes, pairs)
        return CountBonus(self, visits, optimism, episodes, self._episodic_codes(spec, streams), replay)

    def build_actor(self, spec: EnvSpec) -> CountOptimism | None:
        if self.optimism is None:
            return None
        features = self.features.build(spec)
        rng = np.random.default_rng(0)  # the state that is loaded replaces what is drawn
        codes: Codes
        if isinstance(self.features, LearnedConfig):
            codes = self.features.build_frozen(self._hash_of_bits(self.features.codes, rng))
        else:
            codes = self.hash.build(features.size, features.midpoint, rng).codes
        return CountOptimism(self.optimism, features, codes, self.counts.build(spec.num_actions))

    def _hash(
        self, features: kinds.Features, streams: Streams, replay: Replay | Trajectory | None, warm_up: int
    ) -> Hash:
        """The hash of what `features` gives. Raises ConfigError if it cannot be fitted."""
        if isinstance(self.features, LearnedConfig) and not isinstance(replay, Replay):
            raise ConfigError('bonus.features: type = "learned" learns from a replay, and this agent has none')
        self._validate(features, warm_up)
        rng = streams.generator("projection")
        if isinstance(self.features, LearnedConfig) and isinstance(replay, Replay):
            return self.features.build_codes(features, self._hash_of_bits(self.features.codes, rng), replay, streams)
        return self.hash.build(features.size, features.midpoint, rng)

    def _episodic_codes(self, spec: EnvSpec, streams: Streams) -> VisitCounter | None:
        """What makes the codes of the episodic counts, if they have codes of their own; it counts nothing itself."""
        if self.episodic_codes is None:
            return None
        features = self.episodic_codes.features.build(spec)
        hashing = self.episodic_codes.hash
        if hashing.type == "simhash" and features.midpoint is None:
            raise ConfigError(
                "bonus.episodic_codes.hash: simhash needs features whose range is known (pixels, bass, bytes); "
                'use hash.type = "exact" for these'
            )
        codes = hashing.build(features.size, features.midpoint, streams.generator("episodic projection"))
        return VisitCounter(features, codes, ExactCounts(), None, spec.num_envs, 0)

    def _hash_of_bits(self, bits: int, rng: np.random.Generator) -> Hash:
        return self.hash.build(bits, np.full(bits, 0.5), rng)

    def _validate(self, features: kinds.Features, warm_up: int) -> None:
        """Raises ConfigError if `warm_up` random steps are too few, CapacityError if the hash needs too much memory."""
        if isinstance(self.features, LearnedConfig):
            self.features.validate_for(warm_up)
        elif self.hash.type == "simhash":
            what = f"projecting {features.size:,} features to {self.hash.bits:,} bits (bonus.hash)"
            require_memory(2 * 8 * features.size * self.hash.bits, what, torch.device("cpu"))  # once more while drawn
            if features.midpoint is None:
                self._validate_centre(features, warm_up)

    def _validate_centre(self, features: kinds.Features, warm_up: int) -> None:
        """Raises ConfigError if there are no random steps to centre by, CapacityError if they are too many."""
        if not (warm_up and features.stored):
            steps = "random steps before the first update (learning_starts >= 1)"
            why = steps if features.stored else "features of stored observations, not of signals"
            raise ConfigError(
                f"bonus.hash: simhash centres these features by their mean over random play, which needs {why}; "
                'or use hash.type = "exact"'
            )
        require_memory(
            FITTING_BYTES * warm_up * features.size,
            f"centring {features.size:,} features by {warm_up:,} random steps (bonus.hash), instead of which "
            'bonus.features.type = "pixels" takes frames by their range,',
            torch.device("cpu"),
        )
