"""The table `bonus` of an agent that explores by counting, and how its parts are built."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rlkit.config.model import SWITCH, Model
from rlkit.errors import ConfigError
from rlkit.exploration.count import features as kinds
from rlkit.exploration.count.counts import PRIMES, Counts, ExactCounts, SketchCounts
from rlkit.exploration.count.feature_config import FeaturesConfig, LearnedConfig, VectorConfig
from rlkit.exploration.count.hashing import ExactHash, Hash, SimHash
from rlkit.memory import require_memory
from rlkit.replay import Replay
from rlkit.seeding import Streams

FITTING_BYTES = 32  # a feature of a random step: as it came, and three copies in float64


class HashConfig(Model):
    """The table `hash`: which features count as the same state."""

    type: Literal["exact", "simhash"] = Field(
        "exact", description="exact: each state is its own; simhash: those with the same signs of random projections."
    )
    bits: int = Field(
        32,
        ge=1,
        le=4096,
        description="Projections of simhash, k. 1: two codes; large: every state its own (Tang: 256).",
    )
    bias: bool = Field(
        False, description="Random offsets for simhash's projections; worth it where features are few (2 or 3 numbers)."
    )

    def build(self, size: int, midpoint: NDArray[Any] | None, rng: np.random.Generator) -> Hash:
        """For rows of `size` numbers, half of whose range is `midpoint` (None: not known)."""
        if self.type == "exact":
            return ExactHash()
        return SimHash(size, self.bits, bias=self.bias, midpoint=midpoint, rng=rng)


class CountsConfig(Model):
    """The table `counts`: where counts are kept."""

    type: Literal["exact", "sketch"] = Field(
        "exact",
        description="exact: about 160 bytes for each distinct code; sketch: fixed memory, never counts too few.",
    )
    primes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        PRIMES,
        min_length=1,
        strict=False,  # a list, as TOML has it; the switch above this table makes pydantic forget that it read JSON
        description="Sizes of the sketch's tables, 4 bytes a cell (Tang et al.: six primes below 1e6).",
    )
    conservative: bool = Field(False, description="Raise only the smallest cells of a sketch: fewer counted too much.")

    def build(self, columns: int) -> Counts:
        if self.type == "exact":
            return ExactCounts(columns)
        return SketchCounts(columns, self.primes, conservative=self.conservative)


class OptimismConfig(Model):
    """The table `optimism`: higher values of rarely tried actions, where actions are chosen and bootstrapped from.

    OPIQ, Rashid et al. 2020, equations 6 and 7: a bonus paid on visited states says nothing of actions never tried.
    """

    scale: float = Field(
        0.1,
        ge=0.0,
        description="C, in units of value. 0: none (bounded: rarely tried actions are avoided); far above all returns: "
        "actions are tried by turns.",
    )
    exponent: float = Field(
        0.5, gt=0.0, description="M: how fast optimism fades with the count n. Large: only untried actions gain."
    )
    bounded: bool = Field(
        False,
        description="false: C / (n(s, a) + 1)^M is added to Q (OPIQ); true: Q is drawn towards C, all the way where n "
        "is 0, as in R-max, so that what a network makes of untried actions counts for nothing.",
    )


class BonusConfig(Model):
    """The table `bonus`: beta / sqrt(n) for rarely visited states, n their count (Tang et al. 2017, equation 1)."""

    beta: float = Field(
        0.1,
        ge=0.0,
        description="Size of the bonus of a first visit, in units of (clipped) reward (Tang et al.: 0.01). 0: none is "
        "paid; too large: the goal is not worth stopping for.",
    )
    of: Literal["state", "successor", "pair"] = Field(
        "state",
        description="Whose count: of the state acted in (Tang et al.), of the state that follows, or of state and "
        "action.",
    )
    timing: Literal["sample", "insert"] = Field(
        "sample",
        description="sample: by today's counts each time a step is learned from; insert: by the counts when it was "
        "made (in the random warm-up: at its end), stored with it.",
    )
    count_first: bool = Field(
        True,
        description="With timing = insert: whether n includes the visit itself (Tang et al., Algorithm 1), or only "
        "those before (their parallel code), at least 1.",
    )
    features: FeaturesConfig = Field(VectorConfig(), description="What states are told apart by.")
    hash: HashConfig = Field(HashConfig(), description="Which features count as the same state.")
    counts: CountsConfig = Field(CountsConfig(), description="Where counts are kept.")
    optimism: Annotated[OptimismConfig | None, SWITCH] = Field(
        None, description="Optimism about untried actions; false or left out: none, true: with its defaults."
    )

    @field_validator("features", mode="before")
    @classmethod
    def _vector_unless_said(cls, features: Any) -> Any:
        return {"type": "vector", **features} if isinstance(features, dict) else features

    @model_validator(mode="after")
    def _applies(self) -> Self:
        if not self.count_first and self.timing == "sample":
            raise ValueError('bonus.count_first = false needs bonus.timing = "insert": later all visits are counted')
        return self

    def summary(self) -> str:
        """For people, in one line: what is paid for what, how states are told apart, and where they are counted."""
        paid = f"{self.beta:g} / sqrt(n) of the {self.of}" if self.beta else "none paid"
        hashed = f", simhash of {self.hash.bits} bits" if self.hash.type == "simhash" else ""
        tables = 1 + (self.of == "pair" or self.optimism is not None)  # of states, and of pairs
        size = f", {tables * 4 * sum(self.counts.primes) / 1e6:.1f} MB" if self.counts.type == "sketch" else ""
        source = getattr(self.features, "source", None)
        told = f"{self.features.type} of {source or 'observations'}{hashed}"
        text = f"{paid}; {told}; {self.counts.type} counts{size}"
        if self.optimism is None:
            return text
        way = "drawn towards" if self.optimism.bounded else "raised by"
        return f"{text}; values of untried actions {way} {self.optimism.scale:g}"

    def build_hash(self, features: kinds.Features, streams: Streams, replay: Replay | None, warm_up: int) -> Hash:
        """Digests of what `features.build` gives, after `warm_up` random steps. Raises ConfigError where that fails."""
        if isinstance(self.features, LearnedConfig) and replay is None:
            raise ConfigError('bonus.features: type = "learned" learns from a replay, and this agent has none')
        self.validate_for(features, warm_up)
        rng = streams.generator("projection")
        if not isinstance(self.features, LearnedConfig) or replay is None:
            return self.hash.build(features.size, features.midpoint, rng)
        hashing = self.hash.build(self.features.codes, np.full(self.features.codes, 0.5), rng)
        return self.features.build_codes(features, hashing, replay, streams)

    def validate_for(self, features: kinds.Features, warm_up: int) -> None:
        """Raises ConfigError unless `warm_up` random steps are enough for what is fitted to them.

        Raises CapacityError where the hash does not fit into memory.
        """
        if isinstance(self.features, LearnedConfig):
            self.features.validate_for(warm_up)
        elif self.hash.type == "simhash":
            what = f"projecting {features.size:,} features to {self.hash.bits:,} bits (bonus.hash)"
            require_memory(2 * 8 * features.size * self.hash.bits, what, torch.device("cpu"))  # once more while drawn
            if features.midpoint is None:
                self._can_be_centred(features, warm_up)

    def _can_be_centred(self, features: kinds.Features, warm_up: int) -> None:
        """Raises ConfigError unless there are random steps to centre by, CapacityError where they are too many."""
        if not (warm_up and features.stored):
            why = "learning_starts >= 1" if features.stored else "features of stored observations, not of signals"
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
