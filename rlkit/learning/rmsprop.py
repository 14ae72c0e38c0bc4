"""Centred RMSProp as Mnih et al. 2015 used it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


class CentredRMSProp(torch.optim.Optimizer):
    """Divides by the gradient's standard deviation: g / sqrt(v - m^2 + eps), with v and m the means of g^2 and of g.

    Source: Mnih et al. 2015, Methods and authors' code (decay 0.95, eps 0.01). torch.optim.RMSprop adds eps outside the
    root, and its variance is negative by rounding where the gradient is constant, which gives NaN; here it is at least
    0. The keys of the state are those of torch.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, *, alpha: float, eps: float, momentum: float
    ) -> None:
        super().__init__(parameters, {"lr": lr, "alpha": alpha, "eps": eps, "momentum": momentum, "centered": True})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step; `closure` is not supported."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: nn.Parameter, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state, decay = self.state[parameter], group["alpha"]
        if not state:
            state["square_avg"], state["grad_avg"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            if group["momentum"]:
                state["momentum_buffer"] = torch.zeros_like(parameter)
        square, mean = state["square_avg"], state["grad_avg"]
        square.mul_(decay).addcmul_(gradient, gradient, value=1 - decay)
        mean.lerp_(gradient, 1 - decay)
        deviation = square.addcmul(mean, mean, value=-1).clamp_(min=0).add_(group["eps"]).sqrt_()
        if group["momentum"]:
            step = state["momentum_buffer"].mul_(group["momentum"]).addcdiv_(gradient, deviation)
            parameter.add_(step, alpha=-group["lr"])
        else:
            parameter.addcdiv_(gradient, deviation, value=-group["lr"])
