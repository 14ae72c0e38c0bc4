"""The tables inside the table `bonus` of type "count"."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rlkit.config.model import Model
from rlkit.exploration.count.counts import PRIMES, Counts, ExactCounts, LimitedCounts, SketchCounts
from rlkit.exploration.count.feature_config import FeaturesConfig, VectorConfig
from rlkit.exploration.count.hashing import ExactHash, Hash, SimHash


class HashConfig(Model):
    """The table `hash`: which features count as the same state."""

    type: Literal["exact", "simhash"] = Field(
        "exact",
        description="exact: states with equal features; simhash: states with the same signs of random projections.",
    )
    bits: int = Field(
        32,
        ge=1,
        le=4096,
        description="k, the number of simhash's projections (Tang et al.: 256). 1: two codes; large: a code per state.",
    )
    bias: bool = Field(
        False, description="Adds random offsets to simhash's projections; useful for few features (2 or 3 numbers)."
    )

    def build(self, size: int, midpoint: NDArray[Any] | None, rng: np.random.Generator) -> Hash:
        """The hash of rows of `size` numbers; midpoint: the middle of their range, None if it is not known."""
        if self.type == "exact":
            return ExactHash()
        return SimHash(size, self.bits, bias=self.bias, midpoint=midpoint, rng=rng)


class CountsConfig(Model):
    """The table `counts`: where counts are kept."""

    type: Literal["exact", "sketch"] = Field(
        "exact",
        description="exact: about 160 bytes for each distinct code; sketch: fixed memory, never underestimates.",
    )
    limit: int | None = Field(
        None,
        ge=1,
        description="With type = exact: the largest number of distinct codes. Beyond it all counts move to a sketch, "
        "with a warning. Left out: no limit; running out of memory is an error.",
    )
    primes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        PRIMES,
        min_length=1,
        strict=False,  # accepts a list, which TOML has
        description="Sizes of the sketch's tables, 4 bytes per cell (Tang et al.: six primes below 1e6).",
    )
    conservative: bool = Field(
        False, description="Raise only the smallest cells of a sketch, which overestimates less."
    )

    @model_validator(mode="after")
    def _limits_a_table(self) -> Self:
        if self.limit is not None and self.type == "sketch":
            raise ValueError('limit is of type = "exact": a sketch has a fixed size; leave it out')
        return self

    def build(self, columns: int) -> Counts:
        sketch = partial(SketchCounts, columns, self.primes, conservative=self.conservative)
        if self.type == "sketch":
            return sketch()
        return ExactCounts(columns) if self.limit is None else LimitedCounts(self.limit, columns, sketch)


class OptimismConfig(Model):
    """The table `optimism`: higher values of rarely tried actions, when actions are chosen and bootstrapped from.

    OPIQ, Rashid et al. 2020, equations 6 and 7. A bonus on visited states does not apply to actions never tried.
    """

    scale: float = Field(
        0.1,
        ge=0.0,
        description="C, in units of value. 0: no optimism (with bounded: rarely tried actions are avoided); far above "
        "all returns: actions are tried in turn.",
    )
    exponent: float = Field(
        0.5, gt=0.0, description="M: how fast optimism decays with the count n. Large: only untried actions gain."
    )
    bounded: bool = Field(
        False,
        description="false: C / (n(s, a) + 1)^M is added to Q (OPIQ); true: Q is interpolated towards C, and equals C "
        "at n = 0, as in R-max, so that the network's values of untried actions do not matter.",
    )


def vector_unless_said(features: Any) -> Any:
    return {"type": "vector", **features} if isinstance(features, dict) else features


class AnnealConfig(Model):
    """The table `anneal`: beta falls linearly, so that the bonus does not outweigh rewards in the long run."""

    steps: int = Field(ge=1, description="Environment steps, over all environments, until the final value.")
    end: float = Field(
        0.0, ge=0.0, le=1.0, description="The final value as a fraction of beta. 0: no bonus from there."
    )

    def factor(self, env_steps: int) -> float:
        """The factor of beta after `env_steps` steps."""
        return 1.0 + (self.end - 1.0) * min(env_steps / self.steps, 1.0)


class EpisodicConfig(Model):
    """The table `episodic_codes`: what counts as the same state within an episode, if that differs."""

    features: FeaturesConfig = Field(VectorConfig(), description="The features that distinguish states.")
    hash: HashConfig = Field(HashConfig(), description="Which features count as the same state.")

    _typed = field_validator("features", mode="before")(vector_unless_said)

    @field_validator("features")
    @classmethod
    def _not_learned(cls, features: Any) -> Any:
        if features.type == "learned":
            raise ValueError(
                'type = "learned" is for bonus.features; without episodic_codes episodes use the same codes'
            )
        return features


class ObserveCountsConfig(Model):
    """The table `observe_counts`: the agent sees the episodic factor of its present state (Castanyer et al. 2023)."""

    capacity: int = Field(
        1024,
        ge=1,
        le=1_000_000,
        description="States of an episode that a policy remembers, 12 bytes each and environment; the oldest are "
        "forgotten. Acting takes longer with many.",
    )
