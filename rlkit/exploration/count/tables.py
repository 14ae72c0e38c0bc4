"""The table `bonus` of type "count": what it says."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from rlkit.config.model import SWITCH
from rlkit.exploration.bonus import BonusConfig
from rlkit.exploration.count.episodic import EpisodicKind
from rlkit.exploration.count.feature_config import FeaturesConfig, VectorConfig
from rlkit.exploration.count.observed import EpisodeVisits
from rlkit.exploration.count.subtables import (
    AnnealConfig,
    CountsConfig,
    EpisodicConfig,
    HashConfig,
    ObserveCountsConfig,
    OptimismConfig,
    vector_unless_said,
)
from rlkit.replay import Column
from rlkit.types import EnvSpec


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
    observe_counts: Annotated[ObserveCountsConfig | None, SWITCH] = Field(
        None,
        description="Whether the agent (ppo, pqn, dqn) has the episodic factor of its present state as an input, on "
        "which rewards depend; false or left out: no, true: with its defaults.",
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

    _typed = field_validator("features", mode="before")(vector_unless_said)

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
    def _observable(self) -> Self:
        if self.observe_counts is None:
            return self
        if self.episodic == "none" or self.optimism is not None:
            raise ValueError(
                'bonus.observe_counts shows the episodic factor: it needs bonus.episodic = "first" or "count", and no '
                "bonus.optimism"
            )
        if self.hash.type != "exact" or self.features.type == "learned" or self._seen.hash.type != "exact":
            raise ValueError(
                'bonus.observe_counts needs codes that never change: hash.type = "exact", in episodic_codes too, and '
                "no learned features"
            )
        return self

    @property
    def _seen(self) -> CountTable | EpisodicConfig:
        """What counts as the same state within an episode."""
        return self if self.episodic_codes is None else self.episodic_codes

    @property
    def observed(self) -> bool:
        return self.observe_counts is not None

    def build_input(self, spec: EnvSpec) -> EpisodeVisits | None:
        if self.observe_counts is None:
            return None
        return EpisodeVisits(self.episodic, self._seen.features.build(spec), self.observe_counts.capacity)

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
        limit = "" if self.counts.limit is None else f", a sketch beyond {self.counts.limit:,} codes"
        text = f"{paid}; {told}; {self.counts.type} counts{size}{limit}"
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
