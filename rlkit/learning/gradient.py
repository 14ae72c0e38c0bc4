"""From a loss's gradient to an optimizer step: flat parameters, precision, clipping, projection, diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rlkit.config.model import Model
from rlkit.learning.optimizers import OptimizerConfig, build_optimizer, load_optimizer, optimizer_state, plain_step
from rlkit.nn.diagnostics import Diagnostics, with_hooks
from rlkit.nn.modes import has_modes
from rlkit.nn.parameters import flatten_parameters
from rlkit.nn.weight_norm import initialise_from_data, projection
from rlkit.types import State

Precision: TypeAlias = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class GradientSettings:
    """The settings of one network's optimizer steps; `GradientConfig.gradient` makes them from a config."""

    learning_rate: float
    optimizer: OptimizerConfig
    max_grad_norm: float = 0.0  # 0: no limit
    max_grad_value: float | None = None  # limit of each entry of the gradient; None: no limit
    precision: Precision = "float32"  # of layers; parameters, losses and optimizer keep float32
    diagnostics_every: int | None = None  # updates between two measurements of the network's layers; None: never


class GradientConfig(Model):
    """Gradient clipping and diagnostics: keys of an agent, or of one of its levels."""

    max_grad_norm: float = Field(
        10.0,
        ge=0.0,
        description="Largest norm of the gradient over all parameters; a longer one is scaled down to it (Wang et al. "
        "2016: 10). 0: no limit.",
    )
    max_grad_value: float | None = Field(
        None,
        gt=0.0,
        description="Largest absolute value of each entry of the gradient, applied before max_grad_norm. Left out: no "
        "limit.",
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
        description="Updates between two measurements of the layers: norms, gradients, dormant units, srank "
        "(docs/networks.md). 1000 costs next to nothing. Left out: never.",
    )

    @model_validator(mode="after")
    def _one_limit_of_entries(self) -> Self:
        if self.max_grad_value is not None and self.adjustable_clip is not None:
            raise ValueError("max_grad_value and adjustable_clip both limit each entry of the gradient; give one")
        return self

    def gradient(
        self, learning_rate: float, optimizer: OptimizerConfig, precision: Precision = "float32"
    ) -> GradientSettings:
        """The settings of the optimizer steps, with the keys that a config holds elsewhere."""
        value = self.max_grad_value if self.adjustable_clip is None else self.adjustable_clip / learning_rate
        return GradientSettings(learning_rate, optimizer, self.max_grad_norm, value, precision, self.diagnostics_every)


class Gradient:
    """The optimizer steps of one network.

    One update of a learner, on-policy or off-policy:

        with gradient.shared_weights():
            output = gradient.forward(*inputs)
            ...  # the loss; other passes through `evaluate`
        norm, readings = gradient.step(output, grad, inputs)

    The network's parameters become views of one vector: construct this after the last change of the network's layers,
    on its device. The network is in evaluation mode, except during `forward`.
    """

    def __init__(self, network: nn.Module, settings: GradientSettings) -> None:
        self._network = network.eval()
        self._settings = settings
        self._forward = in_precision(network, settings.precision)
        self._weights, self._gradient = flatten_parameters(network)  # (P,) each
        self._optimizer = build_optimizer(settings.optimizer, settings.learning_rate, [self._weights])
        self._step = plain_step(self._optimizer)
        self._parametrized = any(map(parametrize.is_parametrized, network.modules()))
        self._has_modes = has_modes(network)
        self._project = projection(network)
        self._diagnose = Diagnostics(network, settings.learning_rate) if settings.diagnostics_every else None
        self._updates = 0

    @property
    def updates(self) -> int:
        """Optimizer steps so far."""
        return self._updates

    @property
    def weights(self) -> Tensor:
        """(P,) the parameters of the network, with which it shares memory."""
        return self._weights.data

    def set_learning_rate(self, learning_rate: float) -> None:
        """Sets the step size of the following updates. It is not part of the state."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        if self._diagnose is not None:
            self._diagnose.learning_rate = learning_rate

    def initialise(self, inputs: tuple[Tensor, ...]) -> None:
        """Sets scales and biases of weight-normalised layers from data; call it once, before the first step.

        inputs: the network's arguments, (B, ...) each.
        """
        initialise_from_data(self._network, lambda: with_hooks(self._network)(*inputs))

    def shared_weights(self) -> AbstractContextManager[Any]:
        """A context in which parametrized weights are computed once, by the first pass, which must be `forward`.

        torch's cache belongs to the process: not for a learner in a thread of its own while other networks act.
        """
        return parametrize.cached() if self._parametrized else nullcontext()

    def forward(self, *inputs: Tensor) -> Tensor:
        """The network's output, float32 (B, ...), in training mode and with gradients."""
        with torch.enable_grad():
            if not self._has_modes:
                return self._forward(*inputs)
            self._network.train()
            output = self._forward(*inputs)
            self._network.eval()
            return output

    def evaluate(self, *inputs: Tensor) -> Tensor:
        """The network's output, float32 (B, ...), in evaluation mode and without gradients."""
        with torch.no_grad():
            return self._forward(*inputs)

    def step(self, output: Tensor, grad: Tensor | None, inputs: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Takes one optimizer step down the gradient that `output.backward(grad)` computes.

        Returns the gradient's norm before clipping, and the diagnostics if due, with the activities of `inputs`, the
        network's arguments.
        """
        self._gradient.zero_()
        output.backward(grad)  # type: ignore[no-untyped-call]
        readings = self._diagnostics(inputs)
        norm = self._clip()
        self._step()
        if self._project is not None:
            self._project()
        self._updates += 1
        return norm, readings

    def _diagnostics(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        every = self._settings.diagnostics_every
        return {} if self._diagnose is None or not every or self._updates % every else self._diagnose(inputs)

    def _clip(self) -> Tensor:
        """Clips each entry, then the norm; returns the norm before both."""
        settings = self._settings
        norm: Tensor = torch.linalg.vector_norm(self._gradient)
        length = norm
        if settings.max_grad_value is not None:
            self._gradient.clamp_(-settings.max_grad_value, settings.max_grad_value)
            length = torch.linalg.vector_norm(self._gradient)
        if settings.max_grad_norm > 0:
            self._gradient.mul_((settings.max_grad_norm / (length + 1e-6)).clamp_(max=1.0))
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Optimizer and counter, sharing memory; the network's parameters are not part of it."""
        return {"optimizer": optimizer_state(self._optimizer), "updates": self._updates}

    def load_state_dict(self, state: State) -> None:
        """Copies the part of a state that is its own. Raises ConfigError if that belongs to another optimizer."""
        load_optimizer(self._optimizer, state["optimizer"])
        self._updates = int(state["updates"])


def in_precision(network: nn.Module, precision: Precision) -> Callable[..., Tensor]:
    """The network's forward pass with layers that compute in `precision`; the output is float32 in either case."""
    if precision == "float32":
        return network
    device_type = next(network.parameters()).device.type

    def forward(*inputs: Tensor) -> Tensor:
        with torch.autocast(device_type, torch.bfloat16):
            output: Tensor = network(*inputs)
        return output.float()

    return forward
