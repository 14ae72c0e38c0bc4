"""Soft choice between action values: the softmax of Q / tau, where tau follows the scale of the values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from rlkit.config.model import Model
from rlkit.errors import ConfigError
from rlkit.types import Metrics, State

MEASUREMENTS = 100  # over which the scale is averaged
LEAST, UNKNOWN = 1e-20, 1e20  # tau if all values are equal, and the scale before it is measured


class SoftmaxConfig(Model):
    """The table `softmax`: actions are drawn from softmax(Q / tau), and values bootstrap with the same distribution."""

    temperature: float = Field(
        0.1,
        gt=0.0,
        description="tau as a fraction of the scale of the values: the running mean of the standard deviation of Q "
        "over the states and actions of a batch. Small: nearly greedy; large: nearly uniform.",
    )


class Softmax:
    """The distribution pi(a) = exp(Q(a) / tau) / sum over b of exp(Q(b) / tau), with tau = temperature * scale.

    The scale is the running mean of the standard deviation of Q over the states and actions of the batches learned
    from, so rewards times a constant, or plus a constant, lead to the same distribution. Before the first measurement
    all actions are equally likely. A value of -inf (a masked action) has probability 0.
    """

    def __init__(self, config: SoftmaxConfig, device: torch.device) -> None:
        self._temperature = config.temperature
        self._scale = torch.full((), UNKNOWN, device=device)
        self._measurements = 0

    @property
    def tau(self) -> Tensor:
        """() float32, in units of value."""
        return (self._temperature * self._scale).clamp(min=LEAST)

    def measure(self, q: Tensor) -> None:
        """Takes the action values (B, A) of a batch into account: a mean over all, later with a horizon of 100."""
        deviation = q.std(correction=0)
        self._measurements += 1
        if self._measurements == 1:
            self._scale = deviation
        else:
            self._scale = torch.lerp(self._scale, deviation, 1.0 / min(self._measurements, MEASUREMENTS))

    def probabilities(self, q: Tensor) -> Tensor:
        """(B, A) of action values (B, A)."""
        return ((q - q.max(1, keepdim=True).values) / self.tau).softmax(1)

    def draw(self, q: NDArray[np.float32], coins: NDArray[np.float64]) -> NDArray[np.int64]:
        """Actions (N,) for action values (N, A), with uniform random numbers (N,) in [0, 1)."""
        return draw((q - q.max(1, keepdims=True)) / np.float32(self.tau.item()), coins)[0]

    def gauges(self) -> Metrics:
        """Readings for the log; none before the first measurement."""
        return {"explore/tau": self.tau} if self._measurements else {}

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self._scale, "measurements": self._measurements}

    def load_state_dict(self, state: State | None) -> None:
        """Raises ConfigError for the state of a policy without a softmax."""
        if state is None:
            raise ConfigError("the policy's state has no scale of values: it was learned without agent.softmax")
        self._scale = torch.as_tensor(state["scale"]).to(self._scale).clone()
        self._measurements = int(state["measurements"])


def build_softmax(config: SoftmaxConfig | None, device: torch.device) -> Softmax | None:
    """The softmax of a config; None for a greedy choice."""
    return None if config is None else Softmax(config, device)


def state_values(q: Tensor, softmax: Softmax | None) -> Tensor:
    """The values (B,) of states with action values q (B, A), where bootstrapping.

    softmax None: max_a q(a), as in Q-learning; else sum_a pi(a) q(a), as in expected Sarsa (van Seijen et al. 2009).
    """
    return q.max(1).values if softmax is None else expectation(softmax.probabilities(q), q)


def expectation(pi: Tensor, q: Tensor) -> Tensor:
    """sum_a pi(a) q(a), (B,), of (B, A) each; actions of probability 0 may have the value -inf."""
    return torch.where(pi > 0, pi * q, 0.0).sum(1)


def draw(logits: NDArray[np.float32], coins: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Actions (N,) from the softmax of logits (N, A), and the logarithms of their probabilities, (N,) float32.

    coins: uniform random numbers (N,) in [0, 1).
    """
    shifted = logits - logits.max(1, keepdims=True)
    totals = np.exp(shifted).cumsum(1)  # (N, A)
    action = (totals[:, :-1] <= (coins * totals[:, -1])[:, None]).sum(1)
    return action, shifted[np.arange(len(action)), action] - np.log(totals[:, -1])
