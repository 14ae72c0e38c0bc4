"""The target network: its config."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from rlkit.config.model import Model


class TargetConfig(Model):
    """The table `target`: how the network that values the next state follows the one that learns."""

    every: int = Field(
        250,
        ge=1,
        description="Updates between two changes of the target network (Mnih et al. 2015: 10,000). 1 with tau = 1: no "
        "target network in effect. Very large: stable and slow.",
    )
    tau: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        description="Share of the online network taken over at a change. 1 copies it; below 1, with every = 1, the "
        "target is a running average (Lillicrap et al. 2016: 0.001).",
    )

    @model_validator(mode="after")
    def _averages_always(self) -> Self:
        if self.tau < 1.0 and self.every != 1:
            raise ValueError(
                f"target.tau = {self.tau} averages at every update and needs target.every = 1, not {self.every}; "
                "or target.tau = 1 to copy"
            )
        return self
