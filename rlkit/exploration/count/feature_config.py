"""The table `bonus.features`: which features distinguish states, and how they are built."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from rlkit.config.model import Model
from rlkit.errors import ConfigError
from rlkit.exploration.count import features as kinds
from rlkit.exploration.count.autoencoder import BitEncoder
from rlkit.exploration.count.hashing import Codes, Hash
from rlkit.exploration.count.learned import FrozenCodes, LearnedCodes, LearnedSettings, applicable
from rlkit.nn.config import NetworkConfig
from rlkit.nn.layers import LayerFactory
from rlkit.pacing import Ratio
from rlkit.plugins import import_object
from rlkit.replay import Replay
from rlkit.seeding import Streams, torch_seeded
from rlkit.types import EnvSpec

_SOURCE = Field(
    None,
    description="The signal of the environment to use instead of the observation. Signals are not stored in a replay, "
    "so these features cannot be centred by their mean: use an exact hash, or pixels, bass or bytes, whose range is "
    "known.",
)


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
        description="Height and width after averaging, in pixels (Tang et al.: 42). Small: sees only large changes.",
    )
    source: str | None = _SOURCE

    def build(self, spec: EnvSpec) -> kinds.Features:
        return kinds.Pixels(spec, self.side, self.source)


class BassConfig(Model):
    """features.type = "bass": mean intensities of the latest frame's cells, in few levels."""

    type: Literal["bass"]
    cell: int = Field(20, ge=1, description="Side of a cell in pixels (Tang et al.: 20 of 160 x 210). 1: every pixel.")
    bins: int = Field(20, ge=2, le=256, description="Levels of intensity (Tang et al.: 20). 2: dark or bright.")
    colour: bool = Field(
        False, description="true: red, green and blue separately (Tang et al.), for colour frames; false: grey."
    )
    source: str | None = _SOURCE

    def build(self, spec: EnvSpec) -> kinds.Features:
        return kinds.Bass(spec, self.cell, self.bins, self.colour, self.source)


class ByteConfig(Model):
    """One byte of the console's memory: floor((byte - min) / size)."""

    byte: int = Field(..., ge=0, le=255, description="Index in the memory.")
    min: int = Field(
        0, ge=0, le=255, description="Subtracted first: the smallest value that the byte takes in the game."
    )
    size: int = Field(
        1, ge=1, le=256, description="Number of consecutive values that count as one. 256: the byte is ignored."
    )


class BytesConfig(Model):
    """features.type = "bytes": chosen bytes of the console's memory ("SmartHash")."""

    type: Literal["bytes"]
    source: str = Field("ram", description="The signal that holds the memory, one number per byte.")
    bytes: tuple[ByteConfig, ...] = Field(..., min_length=1, strict=False, description="The bytes to use.")

    def build(self, spec: EnvSpec) -> kinds.Features:
        return kinds.Bytes(spec, self.source, [(byte.byte, byte.min, byte.size) for byte in self.bytes])


class FunctionConfig(Model):
    """features.type = "function": a function of your own."""

    type: Literal["function"]
    function: str = Field(
        ..., description='"package.module:attr", called with the observations (N, *O) and the signals; returns (N, d).'
    )

    def build(self, spec: EnvSpec) -> kinds.Features:
        function = import_object(self.function)
        if not callable(function):
            raise ConfigError(f'features.function "{self.function}" must be a callable (obs, signals) -> (N, d)')
        return kinds.Function(spec, function, self.function)


class LearnedConfig(Model):
    """features.type = "learned": the bits of an autoencoder's code of the latest frame, grey, reduced in size."""

    type: Literal["learned"]
    side: int = Field(
        42,
        ge=8,
        le=95,  # sums of more pixels would not be exact (BitEncoder)
        description="Height and width of the frames it sees, in pixels (Tang et al.: 52). The cost grows with the "
        "square.",
    )
    codes: int = Field(
        128,
        ge=1,
        le=4096,
        description="Bits, K (Tang et al.: 512); simhash can reduce them. 1: two codes; many: small changes are seen.",
    )
    levels: int = Field(
        32, ge=2, le=256, description="Grey levels that the autoencoder distinguishes (Tang et al.: 64)."
    )
    noise: float = Field(
        0.3,
        ge=0.0,
        le=0.5,
        description="Largest noise added to each unit in training (Tang et al.: 0.3). 0: units need not be binary.",
    )
    penalty: float = Field(
        10.0,
        ge=0.0,
        description="lambda, the penalty on units between 0 and 1 (Tang et al.: 10). 0: bits flip at each fit; large: "
        "few codes.",
    )
    learning_rate: float = Field(3e-4, gt=0.0, description="Step size of Adam (Tang et al.: 3e-4).")
    batch_size: int = Field(32, ge=2, description="Frames drawn from the replay for one update (Tang et al.: 32).")
    updates_per_step: float = Field(
        0.02,
        gt=0.0,
        le=1000,
        description="Updates per environment step, warm-up included, as an exact decimal. At first nearly every "
        "frame has its own code, so the warm-up should contain some hundred updates.",
    )
    refit_every: int = Field(
        100_000,
        ge=1,
        description="Environment steps between two refits of the codes, counted from the end of the warm-up (Tang et "
        "al.: 300,000). Small: codes change before counts are informative. Each refit encodes the whole replay.",
    )
    network: NetworkConfig | None = Field(
        None,
        description='The autoencoder\'s layers: normalisation ("weight", "weight_mean_batch", "batch" as in the '
        'authors\' code, "none"), weight_norm, and activation ("relu", "leaky_relu"); its other keys do not apply. '
        "Left out: none, and ReLU; the code layer is normalised by batch in any case.",
    )

    @field_validator("network", mode="before")
    @classmethod
    def _as_toml_has_it(cls, network: Any) -> Any:
        """Accepts a list for a tuple, which JSON and TOML have."""
        hidden = network.get("hidden") if isinstance(network, dict) else None
        return {**network, "hidden": tuple(hidden)} if isinstance(hidden, list) else network

    @field_validator("network")
    @classmethod
    def _applies(cls, network: NetworkConfig | None) -> NetworkConfig | None:
        return network and applicable(network)

    def build(self, spec: EnvSpec) -> kinds.Pixels:
        return kinds.Pixels(spec, self.side, None)

    def validate_for(self, warm_up: int) -> None:
        """Raises ConfigError if `warm_up` random steps are too few to learn codes from."""
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

    def build_frozen(self, hashing: Codes) -> FrozenCodes:
        """The same hash without what learns it, for acting; its state has to be loaded."""
        factory = LayerFactory.of(self.network) if self.network else LayerFactory()
        with torch_seeded(0):  # leaves torch's global generator as it was
            return FrozenCodes(BitEncoder(self.side, self.codes, factory), hashing)


FeaturesConfig = Annotated[
    VectorConfig | PixelsConfig | BassConfig | BytesConfig | FunctionConfig | LearnedConfig,
    Field(discriminator="type"),
]
