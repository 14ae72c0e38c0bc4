"""Which networks behave differently while they learn."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrizations

from rlkit.nn.weight_norm import MeanOnlyBatchNorm

MODAL = (nn.modules.batchnorm._NormBase, MeanOnlyBatchNorm, parametrizations._SpectralNorm)


def has_modes(module: nn.Module) -> bool:
    """Whether a part of `module` uses statistics of the batch, or takes a step of its own, in training mode only."""
    return any(isinstance(part, MODAL) for part in module.modules())
