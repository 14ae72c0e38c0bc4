"""The target network: a copy of the online network that follows it slowly."""

from __future__ import annotations

from operator import attrgetter
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rlkit.config.model import Model
from rlkit.nn.parameters import flatten_parameters, load_parameters, parameter_state
from rlkit.nn.weight_norm import plain_copy
from rlkit.types import State


class TargetConfig(Model):
    """The table `target`: how the target network, which values next observations, follows the online network."""

    whole = True  # with `every` alone the network is copied, whatever tau an agent has by default

    every: int = Field(
        250,
        ge=1,
        description="Updates between two changes of the target network (Mnih et al. 2015: 10,000). 1 with tau = 1: the "
        "target is always the online network. Very large: stable but slow.",
    )
    tau: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        description="Weight of the online network at a change. 1 copies it; below 1, with every = 1, the "
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


class TargetNetwork:
    """The target network and its updates: copies, or Polyak steps.

    Its weights are ordinary parameters, whatever parametrization the online network has: it averages the weights w, not
    the numbers from which w is computed. It computes no gradients.

    online: the online network, on its device. Where a method takes `weights`, these are its parameters as one vector
    (P,), `Gradient.weights`.
    """

    def __init__(self, online: nn.Module, config: TargetConfig) -> None:
        self._online = online
        self._config = config
        self._parametrized = any(map(parametrize.is_parametrized, online.modules()))
        self.network = plain_copy(online.eval()).requires_grad_(False)
        self._weights = flatten_parameters(self.network)[0].data  # (P,) unless the online network is parametrized

    def update(self, weights: Tensor, updates: int) -> None:
        """Copies the online network, or takes a Polyak step, if due after `updates` updates."""
        if updates % self._config.every == 0:
            self._move(weights, self._config.tau)

    def copy(self, weights: Tensor) -> None:
        """Copies the online network."""
        self._move(weights, 1.0)

    @torch.no_grad()
    def _move(self, weights: Tensor, tau: float) -> None:
        if self._parametrized:
            for name, kept in self.network.named_parameters():
                current = attrgetter(name)(self._online)
                kept.lerp_(current, tau) if tau < 1.0 else kept.copy_(current)
        elif tau < 1.0:
            self._weights.lerp_(weights, tau)
        else:
            self._weights.copy_(weights)
        for name, buffer in self.network.named_buffers():
            buffer.copy_(attrgetter(name)(self._online))

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by name; they share memory with the network."""
        return parameter_state(self.network)

    def load_state_dict(self, state: State) -> None:
        """Copies a state into the network. Raises ConfigError if it belongs to another network."""
        load_parameters(self.network, state, "the target network's state")
