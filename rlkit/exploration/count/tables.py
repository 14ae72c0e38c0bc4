"""The table `bonus` of type "count": what it says."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rlkit.config.model import SWITCH, Model
from rlkit.exploration.bonus import BonusConfig
from rlkit.exploration.count.counts import PRIMES, Counts, ExactCounts, SketchCounts
from rlkit.exploration.count.episodic import EpisodicKind
from rlkit.exploration.count.feature_config import FeaturesConfig, VectorConfig
from rlkit.exploration.count.hashing import ExactHash, Hash, SimHash
from rlkit.replay import Column


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
    primes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        PRIMES,
        min_length=1,
        strict=False,  # accepts a list, which TOML has
        description="Sizes of the sketch's tables, 4 bytes per cell (Tang et al.: six primes below 1e6).",
    )
    conservative: bool = Field(
        False, description="Raise only the smallest cells of a sketch, which overestimates less."
    )

    def build(self, columns: int) -> Counts:
        if self.type == "exact":
            return ExactCounts(columns)
        return SketchCounts(columns, self.primes, conservative=self.conservative)


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


def _vector_unless_said(features: Any) -> Any:
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

    _typed = field_validator("features", mode="before")(_vector_unless_said)

    @field_validator("features")
    @classmethod
    def _not_learned(cls, features: Any) -> Any:
        if features.type == "learned":
            raise ValueError(
                'type = "learned" is for bonus.features; without episodic_codes episodes use the same codes'
            )
        return features


class CountTable(BonusConfig):
    """The table `bonus`: beta / sqrt(n) for rarely visited states, n their count (Tang et al. 2017, equation 1).

    In worlds that change with every episode it is multiplied by a factor of the visits within the episode.
    """

    type: Literal["count"] = Field("count", description="Kind of the bonus: visit counts.")
    beta: float = Field(
        0.1,
        ge=0.0,
        description="The bonus of a first visit, in units of (clipped) reward (Tang et al.: 0.01). 0: no bonus; too "
        "large: the agent prefers exploring to the goal.",
    )
    anneal: Annotated[AnnealConfig | None, SWITCH] = Field(
        None, description="Linear decay of beta; false or left out: beta is constant."
    )
    count_of: Literal["state", "successor", "pair"] = Field(
        "state",
        description="What n counts: visits of the state acted in (Tang et al.), of the state that follows, or of the "
        "pair of state and action.",
    )
    lifelong: Literal["count", "noveld", "none"] = Field(
        "count",
        description="The factor of the visits in the whole run. count: 1 / sqrt(n); noveld: max(1 / sqrt(n of the "
        "successor) - alpha / sqrt(n of the state before), 0), which pays at the border of what is known (Zhang et al. "
        "2021, with counts for novelty); none: 1, and the counts serve metrics and optimism only.",
    )
    alpha: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description='alpha of lifelong = "noveld". 0: as "count"; 1: steps to states equally known are not paid. Left '
        "out: 0.5.",
    )
    episodic: EpisodicKind = Field(
        "none",
        description="The factor of the visits n_e in the running episode. none: 1, for worlds that stay the same; "
        "first: 1 at the first visit of the episode, else 0 (Henaff et al. 2023); count: 1 / sqrt(n_e). Worlds that "
        "change with every episode need one of the two.",
    )
    episodic_codes: Annotated[EpisodicConfig | None, SWITCH] = Field(
        None,
        description="Features and hash of their own for n_e, for example a position; false or left out: those of the "
        "lifelong counts.",
    )
    timing: Literal["sample", "insert"] = Field(
        "sample",
        description="sample: by the current counts each time a step is sampled; insert: by the counts when the step "
        "was made (for the random warm-up: at its end), stored with it.",
    )
    count_first: bool = Field(
        True,
        description="With timing = insert: whether n includes the visit itself (Tang et al., Algorithm 1), or only the "
        "visits before it (their parallel code); n is at least 1.",
    )
    features: FeaturesConfig = Field(VectorConfig(), description="The features that distinguish states.")
    hash: HashConfig = Field(HashConfig(), description="Which features count as the same state.")
    counts: CountsConfig = Field(CountsConfig(), description="Where counts are kept.")
    optimism: Annotated[OptimismConfig | None, SWITCH] = Field(
        None, description="Optimism about rarely tried actions; false or left out: none, true: with its defaults."
    )

    _typed = field_validator("features", mode="before")(_vector_unless_said)

    @model_validator(mode="after")
    def _episodes_apply(self) -> Self:
        if self.episodic != "none" and self.count_of == "pair":
            raise ValueError('bonus.episodic counts states: set bonus.count_of = "successor" or "state", not "pair"')
        if self.episodic_codes is not None and self.episodic == "none":
            raise ValueError('bonus.episodic_codes applies with bonus.episodic = "first" or "count" only')
        if self.lifelong == "noveld" and self.count_of != "successor":
            raise ValueError('bonus.lifelong = "noveld" compares a step\'s two states: it needs count_of = "successor"')
        if self.alpha is not None and self.lifelong != "noveld":
            raise ValueError('bonus.alpha applies with bonus.lifelong = "noveld" only')
        if self.lifelong == "none" and self.episodic == "none":
            raise ValueError(
                'bonus.lifelong = "none" needs bonus.episodic = "first" or "count"; else nothing is counted'
            )
        return self

    @model_validator(mode="after")
    def _applies(self) -> Self:
        if self.timing == "insert" and self.lifelong == "none":
            raise ValueError('bonus.timing applies to the lifelong factor, which bonus.lifelong = "none" leaves out')
        if not self.count_first and self.lifelong != "count":
            raise ValueError('bonus.count_first = false applies with bonus.lifelong = "count" only')
        if not self.count_first and self.timing == "sample":
            raise ValueError(
                'bonus.count_first = false needs bonus.timing = "insert": with "sample" all visits are counted'
            )
        return self

    @property
    def needs_actions(self) -> bool:
        return self.count_of == "pair" or self.optimism is not None

    def columns(self) -> dict[str, Column]:
        """Digests to look up when rewards are read, or the lifelong factor itself, and the episodic factor."""
        names = {"next_digest"} if self.optimism else set()
        if self.episodic != "none":
            names.add("episodic")
        if self.timing == "insert" and self.lifelong != "none":
            names.add("bonus")
        elif self.lifelong != "none":
            names.add("next_digest" if self.count_of == "successor" else "digest")
            names |= {"digest"} if self.lifelong == "noveld" else set()
        latest = self.count_of == "successor"
        every = {
            "bonus": Column((), np.float32, latest=latest),
            "episodic": Column((), np.float32, latest=latest),
            "digest": Column((), np.int64, host=True),
            "next_digest": Column((), np.int64, host=True, latest=True),
        }
        return {name: every[name] for name in sorted(names)}

    def summary(self) -> str:
        """The bonus, the features and hash, and the kind of counts."""
        paid = self._paid() if self.beta else "no bonus"
        hashed = f", simhash of {self.hash.bits} bits" if self.hash.type == "simhash" else ""
        tables = 1 + self.needs_actions  # of states, and of pairs
        size = f", {tables * 4 * sum(self.counts.primes) / 1e6:.1f} MB" if self.counts.type == "sketch" else ""
        source = getattr(self.features, "source", None)
        told = f"{self.features.type} of {source or 'observations'}{hashed}"
        text = f"{paid}; {told}; {self.counts.type} counts{size}"
        if self.optimism is None:
            return text
        way = "interpolated towards" if self.optimism.bounded else "raised by"
        return f"{text}; values of untried actions {way} {self.optimism.scale:g}"

    def _paid(self) -> str:
        """What is paid, as a formula: n counts visits in the run, n_e in the episode."""
        lifelong = {
            "count": " / sqrt(n)",
            "noveld": f" * max(1 / sqrt(n) - {self.novelty_alpha:g} / sqrt(n before), 0)",
            "none": "",
        }[self.lifelong]
        often = " / sqrt(n_e)" if self.episodic == "count" else ""
        first = ", at its first visit in an episode" if self.episodic == "first" else ""
        falling = (
            "" if self.anneal is None else f", falling to {self.anneal.end:g} of it in {self.anneal.steps:,} steps"
        )
        return f"{self.beta:g}{lifelong}{often} of the {self.count_of}{first}{falling}"

    @property
    def novelty_alpha(self) -> float:
        return 0.5 if self.alpha is None else self.alpha
