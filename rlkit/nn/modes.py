"""Which networks behave differently while they learn."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrizations

from rlkit.errors import ConfigError
from rlkit.nn.weight_norm import MeanOnlyBatchNorm

MODAL = (nn.modules.batchnorm._NormBase, MeanOnlyBatchNorm, parametrizations._SpectralNorm)  # noqa: SLF001  torch has no public names


def has_modes(module: nn.Module) -> bool:
    """Whether a part of `module` uses statistics of the batch, or takes a step of its own, in training mode only."""
    return any(isinstance(part, MODAL) for part in module.modules())


def refuse_single(module: nn.Module, batch_size: int) -> None:
    """Raises ConfigError where `module` takes statistics of batches of one; built-in ones are checked by the config."""
    if batch_size < 2 and any(isinstance(part, nn.modules.batchnorm._NormBase) for part in module.modules()):  # noqa: SLF001
        raise ConfigError(
            "the encoder normalises by the batch, which of one observation is the observation itself: batch_size = "
            f"{batch_size} must be at least 2"
        )
