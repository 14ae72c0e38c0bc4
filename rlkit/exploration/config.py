"""The table `bonus` of an agent that explores by counting, and how its parts are built."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rlkit.config import Model
from rlkit.errors import ConfigError
from rlkit.exploration import features as kinds
from rlkit.exploration.counts import PRIMES, Counts, ExactCounts, SketchCounts
from rlkit.exploration.hashing import ExactHash, Hash, SimHash
from rlkit.exploration.learned import LearnedCodes, LearnedSettings, applicable
from rlkit.nn.config import NetworkConfig
from rlkit.pacing import Ratio
from rlkit.plugins import import_object
from rlkit.replay import Replay
from rlkit.replay.memory import require_memory
from rlkit.seeding import Streams
from rlkit.types import EnvSpec

_SOURCE = Field(
    None,
    description="The signal of the environment to take instead of the observation. Signals are not stored in a replay, "
    "so what is taken from them needs no centring: exact hash, or pixels and bytes, whose range is known.",
)

FITTING_BYTES = 32  # a feature of a random step: as it came, and three copies in float64


class VectorConfig(Model):
    """features.type = "vector": all numbers of the observation; Discrete spaces as one-hot."""

    type: Literal["vector"] = "vector"
    source: str | None = _SOURCE

    def build(self, spec: EnvSpec) -> kinds.Features:
        return kinds.Vector(spec, self.source)


class PixelsConfig(Model):
    """features.type = "pixels": the latest frame, grey, reduced in size."""

    type: Literal["pixels"]
    side: int = Field(
        42,
        ge=1,
        description="Height and width after averaging, in pixels (Tang et al.: 42). Small: only large changes.",
    )
    source: str | None = _SOURCE

    def build(self, spec: EnvSpec) -> kinds.Features:
        return kinds.Pixels(spec, self.side, self.source)


class BassConfig(Model):
    """features.type = "bass": mean intensities of the latest frame's cells, in few levels."""

    type: Literal["bass"]
    cell: int = Field(20, ge=1, description="Side of a cell in pixels (Tang et al.: 20 of 160 x 210). 1: every pixel.")
    bins: int = Field(20, ge=2, le=256, description="Levels of intensity (Tang et al.: 20). 2: dark or bright.")
    colour: bool = Field(False, description="Red, green and blue each (Tang et al.), of colour frames; else grey.")
    source: str | None = _SOURCE

    def build(self, spec: EnvSpec) -> kinds.Features:
        return kinds.Bass(spec, self.cell, self.bins, self.colour, self.source)


class ByteConfig(Model):
    """One byte of the console's memory, as a number of steps of `size` from `min`."""

    byte: int = Field(..., ge=0, le=255, description="Its place in the memory.")
    min: int = Field(0, ge=0, le=255, description="Subtracted first: the least value that it takes in the game.")
    size: int = Field(1, ge=1, le=256, description="Values that count as one. 256: the byte plays no part.")


class BytesConfig(Model):
    """features.type = "bytes": chosen bytes of the console's memory ("SmartHash")."""

    type: Literal["bytes"]
    source: str = Field("ram", description="The signal that holds the memory, one byte a number.")
    bytes: tuple[ByteConfig, ...] = Field(..., min_length=1, strict=False, description="Which bytes, and how coarsely.")

    def build(self, spec: EnvSpec) -> kinds.Features:
        return kinds.Bytes(spec, self.source, [(byte.byte, byte.min, byte.size) for byte in self.bytes])


class FunctionConfig(Model):
    """features.type = "function": your own."""

    type: Literal["function"]
    function: str = Field(
        ..., description='"package.module:attr", called with the observations (N, *O) and the signals; gives (N, d).'
    )

    def build(self, spec: EnvSpec) -> kinds.Features:
        function = import_object(self.function)
        if not callable(function):
            raise ConfigError(f'features.function "{self.function}" must be a callable (obs, signals) -> (N, d)')
        return kinds.Function(spec, function, self.function)


class LearnedConfig(Model):
    """features.type = "learned": the bits that an autoencoder finds for the latest frame, grey, reduced in size."""

    type: Literal["learned"]
    side: int = Field(
        42, ge=8, description="Height and width of the frames it sees, in pixels (Tang et al.: 52). Cost: its square."
    )
    codes: int = Field(
        128,
        ge=1,
        le=4096,
        description="Bits, K (Tang et al.: 512), best brought to fewer by simhash. 1: two codes; many: small changes.",
    )
    levels: int = Field(32, ge=2, le=256, description="Grey levels that it tells apart (Tang et al.: 64).")
    noise: float = Field(
        0.3,
        ge=0.0,
        le=0.5,
        description="Largest noise added to each unit while it learns (Tang et al.: 0.3). 0: units need not be clear.",
    )
    penalty: float = Field(
        10.0,
        ge=0.0,
        description="lambda, the price of units between 0 and 1 (Tang et al.: 10). 0: bits flip at each fit; large: "
        "few codes.",
    )
    learning_rate: float = Field(3e-4, gt=0.0, description="Step size of Adam (Tang et al.: 3e-4).")
    batch_size: int = Field(32, ge=2, description="Frames drawn from the replay for one update (Tang et al.: 32).")
    updates_per_step: float = Field(
        0.02,
        gt=0.0,
        description="Updates owed for each environment step, warm-up included, as an exact decimal. At first "
        "nearly every frame is a code of its own, so let the warm-up have some hundred updates.",
    )
    refit_every: int = Field(
        100_000,
        ge=1,
        description="Environment steps, from the warm-up's end on, between two changes of the codes to those learned "
        "since (Tang et al.: 300,000). Small: codes change before counts say anything. Each codes "
        "the whole replay anew.",
    )
    network: NetworkConfig | None = Field(
        None,
        description='Of the autoencoder\'s layers: normalisation ("weight", "weight_mean_batch", "batch" as in the '
        'authors\' code, "none"), weight_norm, and activation ("relu", "leaky_relu"); its other keys do not apply. '
        "Left out: none, and ReLU; the code layer is normalised by batch in any case.",
    )

    @field_validator("network", mode="before")
    @classmethod
    def _as_toml_has_it(cls, network: Any) -> Any:
        """A list for a tuple; the switch above makes pydantic forget that it read JSON."""
        hidden = network.get("hidden") if isinstance(network, dict) else None
        return {**network, "hidden": tuple(hidden)} if isinstance(hidden, list) else network

    @field_validator("network")
    @classmethod
    def _applies(cls, network: NetworkConfig | None) -> NetworkConfig | None:
        return network and applicable(network)

    def build(self, spec: EnvSpec) -> kinds.Pixels:
        return kinds.Pixels(spec, self.side, None)

    def suits(self, warm_up: int) -> None:
        """Raises ConfigError where `warm_up` random steps are too few to learn codes from."""
        if not Ratio(self.updates_per_step, 0).total(warm_up):
            raise ConfigError(
                f'bonus.features: type = "learned" with updates_per_step = {self.updates_per_step:g} learns nothing in '
                f"the {warm_up:,} steps before learning_starts, after which its codes are used; raise either"
            )
        needed = self.network.initial_batch if self.network else 0
        if warm_up < needed:
            raise ConfigError(
                f"bonus.features.network is initialised from {needed} frames of random play: learning_starts = "
                f"{warm_up} must be at least network.weight_norm.initial_batch"
            )

    def build_codes(self, frames: kinds.Features, hashing: Hash, replay: Replay, streams: Streams) -> LearnedCodes:
        """The hash of frames that `build` gives: learned bits, then `hashing`."""
        assert isinstance(frames, kinds.Pixels)
        settings = LearnedSettings(**self.model_dump(exclude={"type", "side", "network"}), network=self.network)
        return LearnedCodes(settings, self.side, frames, hashing, replay, streams)


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
        0.1, ge=0.0, description="C, in units of value. 0: none; far above all returns: actions are tried by turns."
    )
    exponent: float = Field(
        0.5, gt=0.0, description="M: how fast optimism fades with the count n. Large: only untried actions gain."
    )
    bounded: bool = Field(
        False,
        description="false: C / (n(s, a) + 1)^M is added to Q (OPIQ); true: Q is drawn towards C, all the way where n "
        "is 0, as in R-max, so that what a network makes of untried actions counts for nothing.",
    )


FeaturesConfig = Annotated[
    VectorConfig | PixelsConfig | BassConfig | BytesConfig | FunctionConfig | LearnedConfig,
    Field(discriminator="type"),
]


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
        "made, stored with it.",
    )
    count_first: bool = Field(
        True,
        description="With timing = insert: whether n includes the visit itself (Tang et al., Algorithm 1), or only "
        "those before (their parallel code), at least 1.",
    )
    features: FeaturesConfig = Field(VectorConfig(), description="What states are told apart by.")
    hash: HashConfig = Field(HashConfig(), description="Which features count as the same state.")
    counts: CountsConfig = Field(CountsConfig(), description="Where counts are kept.")
    optimism: OptimismConfig | None = Field(None, description="Optimism about untried actions; left out: none.")

    @field_validator("features", mode="before")
    @classmethod
    def _vector_unless_said(cls, features: Any) -> Any:
        return {"type": "vector", **features} if isinstance(features, dict) else features

    @model_validator(mode="after")
    def _applies(self) -> Self:
        if not self.count_first and self.timing == "sample":
            raise ValueError('bonus.count_first = false needs bonus.timing = "insert": later all visits are counted')
        return self

    def build_hash(self, features: kinds.Features, streams: Streams, replay: Replay | None, warm_up: int) -> Hash:
        """Digests of what `features.build` gives, after `warm_up` random steps. Raises ConfigError where that fails."""
        if isinstance(self.features, LearnedConfig) and replay is None:
            raise ConfigError('bonus.features: type = "learned" learns from a replay, and this agent has none')
        self.suits(features, warm_up)
        rng = streams.generator("projection")
        if not isinstance(self.features, LearnedConfig) or replay is None:
            return self.hash.build(features.size, features.midpoint, rng)
        hashing = self.hash.build(self.features.codes, np.full(self.features.codes, 0.5), rng)
        return self.features.build_codes(features, hashing, replay, streams)

    def suits(self, features: kinds.Features, warm_up: int) -> None:
        """Raises ConfigError unless `warm_up` random steps are enough for what is fitted to them."""
        if isinstance(self.features, LearnedConfig):
            self.features.suits(warm_up)
        elif self.hash.type == "simhash" and features.midpoint is None:
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
