"""The network behind learned codes (Tang et al. 2017, section 2.3): frames in, bits out, grey levels back."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rlkit.nn.layers import LayerFactory
from rlkit.nn.weight_norm import MeanOnlyBatchNorm

CHANNELS = 16  # of each convolution
HIDDEN = 128  # units between convolutions and code
GRID = 4096.0  # the frozen encoder's weights and activations are whole multiples of 1/GRID
LARGEST_WEIGHT, LARGEST_ACTIVATION = 2.0**10, 2.0**8


class Autoencoder(nn.Module):
    """A small autoencoder of grey frames, three convolutions each way, with K sigmoid units between.

    The authors' has 96 channels in 6x6 convolutions, 1,024 hidden units and batch normalisation in every layer. This
    one has 16 channels, 4x4 convolutions and 128 hidden units, is normalised in the code layer only, and is much
    cheaper. Without that normalisation the penalty saturates all units before they distinguish frames, so the code
    layer is normalised whatever the other layers have.
    """

    def __init__(self, side: int, codes: int, levels: int, factory: LayerFactory | None = None) -> None:
        """side: height and width of the frames; codes: K; levels: number of grey levels; factory: of all layers."""
        super().__init__()
        factory = factory or LayerFactory()
        self.side, self.levels = side, levels
        self.encoder = encoder(side, codes, factory)
        self.norm = nn.BatchNorm1d(codes)
        sizes = [side // 2**level for level in range(4)]
        flat = CHANNELS * sizes[3] ** 2

        self.decoder = nn.Sequential(
            *(*factory.linear(codes, HIDDEN), *factory.linear(HIDDEN, flat)),
            nn.Unflatten(1, (CHANNELS, sizes[3], sizes[3])),
            *(*factory.doubled(CHANNELS, CHANNELS, sizes[2] % 2), *factory.doubled(CHANNELS, CHANNELS, sizes[1] % 2)),
            *factory.doubled(CHANNELS, CHANNELS // 2, sizes[0] % 2),
        )
        self.softmax = factory.output(CHANNELS // 2, levels)  # the same for all pixels
        self._by_pixel = type(self.softmax) is not nn.Linear  # a weight-normalised layer takes each pixel as a sample

    def encode(self, frames: Tensor) -> Tensor:
        """b, the activations of the code units in 0..1, (B, K), of frames (B, side * side) in 0..255."""
        logits: Tensor = self.norm(self.encoder(scaled(frames, torch.float32)))
        return logits.sigmoid()

    def decode(self, code: Tensor) -> Tensor:
        """Unnormalised log-probabilities of each pixel's grey levels, (B, side * side, levels)."""
        pixels: Tensor = self.decoder(code).flatten(2).transpose(1, 2)  # (B, side * side, channels)
        logits: Tensor = self.softmax(pixels.flatten(0, 1) if self._by_pixel else pixels)
        return logits.view(*pixels.shape[:2], self.levels)


def encoder(side: int, codes: int, factory: LayerFactory) -> nn.Sequential:
    """(B, 1, side, side) → (B, codes), before normalisation and sigmoid."""
    flat = CHANNELS * (side // 8) ** 2
    return nn.Sequential(
        *(*factory.conv(1, CHANNELS, 4, 2, 1), *factory.conv(CHANNELS, CHANNELS, 4, 2, 1)),
        *(*factory.conv(CHANNELS, CHANNELS, 4, 2, 1), nn.Flatten()),
        *(*factory.linear(flat, HIDDEN), factory.output(HIDDEN, codes, 1.0)),
    )


def scaled(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Frames (B, side * side) of 0..255 as (B, 1, side, side) in (-1, 1), exactly, in multiples of 1/256."""
    side = round(frames.shape[1] ** 0.5)
    return ((2 * frames.to(dtype) - 255) / 256).view(-1, 1, side, side)


def code_loss(logits: Tensor, frames: Tensor, code: Tensor, penalty: float) -> Tensor:
    """Tang et al. 2017, equation 4, the mean over the batch, () float32.

    - log p(frame) + penalty * min((1 - b)^2, b^2): the second term pushes each unit to 0 or 1. As in the authors' code
    (and not as in the text, which sums over the pixels: with a thousand of them that is a thousandth of the penalty)
    the first is a mean over pixels, and so is the second over units.

    logits: (B, pixels, levels); frames: (B, pixels) of 0..255; code: b, (B, K), without noise; penalty: lambda.
    """
    levels = logits.shape[2]
    target = (frames.to(torch.int64) * levels) // 256
    uncertain = torch.minimum(1 - code, code).square().mean()
    return cross_entropy(logits.reshape(-1, levels), target.reshape(-1)) + penalty * uncertain


class OnGrid(nn.Module):
    """An activation, clipped and rounded to a multiple of 1/GRID.

    The activation must consist of operations with IEEE rounding, such as ReLU and leaky ReLU. exp is none: its last
    bits may change with the shape of the batch.
    """

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(x)
        return y.clamp_(-LARGEST_ACTIVATION, LARGEST_ACTIVATION).mul_(GRID).round_().div_(GRID)


class GridStyle(LayerFactory):
    """Plain layers with activations on the grid."""

    def activate(self) -> nn.Module:
        return OnGrid(super().activate())


def folded(parts: list[nn.Module]) -> Iterator[tuple[Tensor, Tensor]]:
    """Effective weight and bias, float64 on the host, of each linear layer and convolution among `parts`.

    For a weight-normalised layer the weight is w. Batch normalisation after a layer is folded into it, with its running
    statistics.
    """
    for layer, norm in zip(parts, [*parts[1:], None], strict=True):
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        weight = layer.weight.double().cpu()
        bias = torch.zeros(len(weight), dtype=torch.float64) if layer.bias is None else layer.bias.double().cpu()
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            assert norm.running_var is not None
            assert norm.running_mean is not None
            factor = norm.weight.double().cpu() / (norm.running_var.double().cpu() + norm.eps).sqrt()
            weight = weight * factor.view(-1, *[1] * (weight.dim() - 1))
            bias = (bias - norm.running_mean.double().cpu()) * factor + norm.bias.double().cpu()
        if isinstance(norm, MeanOnlyBatchNorm):
            bias = bias - norm.running_mean.double().cpu() + norm.bias.double().cpu()
        yield weight, bias


class BitEncoder(nn.Module):
    """A frozen copy of an autoencoder's encoder; returns the bits b > 0.5, the same for a frame in every batch.

    In float32 the last bits of a convolution change with the shape of the batch, and sometimes the code changes with
    them. Therefore weights and activations are clipped and rounded to multiples of 1/4096, and sums are in float64. For
    frames of up to 95 x 95 no sum needs more than 53 bits, so sums are exact in any order, in any batch, with any
    number of threads. The codes are those of the rounded network.
    """

    CHUNK = 64  # frames at a time; larger chunks need more memory and are not faster

    def __init__(self, side: int, codes: int, factory: LayerFactory | None = None) -> None:
        """factory: the autoencoder's; only its activation is used."""
        super().__init__()
        grid = GridStyle(activation=(factory or LayerFactory()).activation)
        self.layers = encoder(side, codes, grid).double().requires_grad_(False)

    @torch.no_grad()
    def follow(self, autoencoder: Autoencoder) -> None:
        """Copies the current encoder weights."""
        own = [layer for layer in self.layers if isinstance(layer, nn.Conv2d | nn.Linear)]
        learned = folded([*autoencoder.encoder, autoencoder.norm])
        for layer, (weight, bias) in zip(own, learned, strict=True):
            layer.weight.copy_(weight)
            assert layer.bias is not None
            layer.bias.copy_(bias)
        for parameter in self.layers.parameters():
            parameter.clamp_(-LARGEST_WEIGHT, LARGEST_WEIGHT).mul_(GRID).round_().div_(GRID)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """(B, K) bool of frames (B, side * side) of 0..255."""
        return torch.cat([self.layers(scaled(chunk, torch.float64)) > 0 for chunk in torch.split(frames, self.CHUNK)])
