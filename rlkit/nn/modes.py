"""Networks whose training mode differs from evaluation mode."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrizations

from rlkit.errors import ConfigError
from rlkit.nn.weight_norm import MeanOnlyBatchNorm

MODAL = (nn.modules.batchnorm._NormBase, MeanOnlyBatchNorm, parametrizations._SpectralNorm)  # noqa: SLF001  torch has no public names


def has_modes(module: nn.Module) -> bool:
    """Whether a part of `module` uses batch statistics, or a power iteration, in training mode."""
    return any(isinstance(part, MODAL) for part in module.modules())


def refuse_single(module: nn.Module, batch_size: int) -> None:
    """Raises ConfigError if `module` would normalise by batches of one; of built-in layers the config checks it."""
    if batch_size < 2 and any(isinstance(part, nn.modules.batchnorm._NormBase) for part in module.modules()):  # noqa: SLF001
        raise ConfigError(
            "the encoder subtracts the mean over the batch, so that a batch of one observation is always 0: batch_size "
            f"= {batch_size} must be at least 2"
        )
