"""Optimizers: the config, construction, and the state as plain mappings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Self, TypeAlias

import torch
from pydantic import Field, model_validator
from torch import nn

from rlkit.config.model import Model
from rlkit.errors import ConfigError
from rlkit.learning.rmsprop import CentredRMSProp
from rlkit.types import State

_KEYS: dict[str, tuple[str, ...]] = {
    "adam": ("betas", "eps"),
    "adamax": ("betas", "eps"),
    "radam": ("betas", "eps"),
    "rmsprop": ("decay", "eps", "centered", "momentum"),
    "sgd": ("momentum",),
}


OptimizerType: TypeAlias = Literal["adam", "adamax", "radam", "rmsprop", "sgd"]


class OptimizerConfig(Model):
    """The table `optimizer` of an agent; the learning rate is a key of the agent."""

    type: OptimizerType = Field(
        "adam",
        description="Update rule: adam and adamax (Kingma and Ba 2015), radam (Liu et al. 2020), rmsprop (Tieleman and "
        "Hinton 2012), sgd.",
    )
    eps: float | None = Field(
        None,
        gt=0.0,
        description="Added to the denominator (all but sgd). Left out: 1e-8. Large values, such as 1.5e-4 in "
        "Hessel et al. 2018, keep steps small if gradients are tiny.",
    )
    betas: tuple[float, float] | None = Field(
        None,
        description="Decay of the gradient's running mean and of its scale (adam, adamax, radam), each in [0, 1). Left "
        "out: 0.9, 0.999. 0 as the first means no momentum.",
    )
    decay: float | None = Field(
        None, ge=0.0, lt=1.0, description="Decay of the squared gradient's running mean (rmsprop). Left out: 0.95."
    )
    centered: bool | None = Field(
        None,
        description="Divide by the gradient's standard deviation instead of its root mean square, with eps inside the "
        "root (rmsprop); Mnih et al. 2015 did. Left out: false.",
    )
    momentum: float | None = Field(
        None, ge=0.0, lt=1.0, description="Decay of the accumulated step (rmsprop, sgd). Left out: 0, no momentum."
    )

    @model_validator(mode="after")
    def _applies(self) -> Self:
        for key in ("eps", "betas", "decay", "centered", "momentum"):
            if getattr(self, key) is not None and key not in _KEYS[self.type]:
                allowed = ", ".join(_KEYS[self.type])
                raise ValueError(
                    f'optimizer.{key} does not apply to optimizer.type = "{self.type}", which takes {allowed}'
                )
        if self.betas is not None and not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"optimizer.betas = {list(self.betas)} must lie in [0, 1)")
        return self


def build_optimizer(
    config: OptimizerConfig, learning_rate: float, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer of `parameters`, with one kernel per step if torch has a fused one, else with few."""
    parameters = list(parameters)
    on_gpu = any(parameter.is_cuda for parameter in parameters)
    eps = 1e-8 if config.eps is None else config.eps
    betas = config.betas or (0.9, 0.999)
    momentum = config.momentum or 0.0
    if config.type == "adam":
        return torch.optim.Adam(parameters, learning_rate, betas=betas, eps=eps, fused=True)
    if config.type == "adamax":
        return torch.optim.Adamax(parameters, learning_rate, betas=betas, eps=eps, foreach=on_gpu)
    if config.type == "radam":  # capturable: its step is counted on the GPU, so that no update waits for it
        return torch.optim.RAdam(parameters, learning_rate, betas=betas, eps=eps, foreach=on_gpu, capturable=on_gpu)
    if config.type == "sgd":
        return torch.optim.SGD(parameters, learning_rate, momentum=momentum, fused=True)
    decay = 0.95 if config.decay is None else config.decay
    if config.centered:
        return CentredRMSProp(parameters, learning_rate, alpha=decay, eps=eps, momentum=momentum)
    return torch.optim.RMSprop(
        parameters,
        learning_rate,
        alpha=decay,
        eps=eps,
        momentum=momentum,
        foreach=on_gpu,
    )


def plain_step(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """`optimizer.step` without torch's hooks for profilers and compilers, a third of its time for a small network.

    Registered step hooks are not run.
    """
    step = inspect.unwrap(type(optimizer).step)

    def without_hooks() -> None:
        with torch.no_grad():
            step(optimizer)

    return without_hooks


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Moments and step counts by the parameter's index: {"0": {"step": ..., "exp_avg": ...}, ...}; shares memory.

    Learning rates and other settings are not part of it; the config has them.
    """
    return {str(place): dict(moments) for place, moments in optimizer.state_dict()["state"].items()}


def load_optimizer(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Copies an `optimizer_state` into the optimizer. Raises ConfigError if the shapes differ."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for place, moments in state.items():
        shape = parameters[int(place)].shape if place.isdecimal() and int(place) < len(parameters) else None
        for name, value in moments.items():
            if name != "step" and value is not None and (shape is None or tuple(value.shape) != tuple(shape)):
                raise ConfigError(f"the optimizer's state does not fit this network: {name} of parameter {place}")
    copied = {int(place): _copied(moments) for place, moments in state.items()}
    optimizer.load_state_dict({"state": copied, "param_groups": optimizer.state_dict()["param_groups"]})


def _copied(moments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value is None else torch.as_tensor(value).clone() for name, value in moments.items()}
