"""The input shape that encoders of images require."""

from __future__ import annotations

from rlkit.errors import SpecError


def image_shape(encoder: str, shape: tuple[int, ...], smallest: int) -> tuple[int, int, int]:
    """`shape` as (C, H, W). Raises SpecError if it has another rank, or sides below `smallest`."""
    if len(shape) != 3:
        raise SpecError(f'encoder "{encoder}" needs images (C, H, W), not inputs of shape {shape}: use encoder = "mlp"')
    channels, height, width = shape
    if min(height, width) < smallest:
        raise SpecError(f'encoder "{encoder}" needs images of at least {smallest} x {smallest}, not {shape} (C, H, W)')
    return channels, height, width
