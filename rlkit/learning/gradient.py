"""Gradient clipping and diagnostics: the config keys."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from rlkit.config.model import Model


class GradientConfig(Model):
    """Keys of an agent, or of a level of one, that say what becomes of gradients and how closely layers are watched."""

    max_grad_norm: float = Field(
        10.0,
        ge=0.0,
        description="Longest gradient over all parameters, shortened to it (Wang et al. 2016: 10). 0: no limit.",
    )
    max_grad_value: float | None = Field(
        None,
        gt=0.0,
        description="Largest entry of the gradient, up or down, limited to it before max_grad_norm is applied. Left "
        "out: no limit.",
    )
    adjustable_clip: float | None = Field(
        None,
        gt=0.0,
        description="theta of adjustable gradient clipping (Kim et al. 2016): each entry of the gradient is limited to "
        "+-theta / learning_rate, so that no plain step is longer than theta. Left out: no limit.",
    )
    diagnostics_every: int | None = Field(
        None,
        ge=1,
        description="Updates between two looks at the layers: lengths, gradients, dormant units, srank "
        "(docs/networks.md). 1000 costs next to nothing. Left out: never.",
    )

    @model_validator(mode="after")
    def _one_limit_of_entries(self) -> Self:
        if self.max_grad_value is not None and self.adjustable_clip is not None:
            raise ValueError("max_grad_value and adjustable_clip both limit each entry of the gradient; give one")
        return self

    def largest_entry(self, learning_rate: float) -> float | None:
        """The limit of each entry of the gradient; None for none."""
        return self.max_grad_value if self.adjustable_clip is None else self.adjustable_clip / learning_rate
