"""The network behind learned codes (Tang et al. 2017, section 2.3): frames in, bits out, grey levels back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

CHANNELS = 16  # of each convolution
HIDDEN = 128  # units between convolutions and code
GRID = 4096.0  # the frozen encoder's weights and activations are whole multiples of 1/GRID
LARGEST_WEIGHT, LARGEST_ACTIVATION = 2.0**10, 2.0**8


class Autoencoder(nn.Module):
    """A small autoencoder of grey frames, three convolutions each way, with K sigmoid units between.

    The authors' has 96 channels in 6x6 convolutions, 1,024 hidden units and batch normalisation in every layer, and
    an update costs about 18 of a Nature network's. This one has 16 channels, 4x4, 128 hidden units, normalised in the
    code layer alone; an update of 32 frames of 42 x 42 costs about 0.7 of a Nature network's. Without that one
    normalisation the penalty of the loss saturates all units before they tell anything apart: on random play in
    Freeway every frame had the same code within 300 updates.
    """

    def __init__(self, side: int, codes: int, levels: int) -> None:
        """side: height and width of the frames; codes: K; levels: grey levels that are told apart."""
        super().__init__()
        self.side, self.levels = side, levels
        self.encoder = encoder(side, codes, nn.ReLU)
        self.norm = nn.BatchNorm1d(codes)
        sizes = [side // 2**level for level in range(4)]
        flat = CHANNELS * sizes[3] ** 2

        def larger(level: int, channels: int) -> nn.Module:
            return nn.ConvTranspose2d(CHANNELS, channels, 4, 2, 1, output_padding=sizes[level] % 2)

        self.decoder = nn.Sequential(
            *(nn.Linear(codes, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, flat), nn.ReLU()),
            *(nn.Unflatten(1, (CHANNELS, sizes[3], sizes[3])), larger(2, CHANNELS), nn.ReLU()),
            *(larger(1, CHANNELS), nn.ReLU(), larger(0, CHANNELS // 2), nn.ReLU()),
        )
        self.softmax = nn.Linear(CHANNELS // 2, levels)  # the same for all pixels

    def encode(self, frames: Tensor) -> Tensor:
        """b, the activations of the code units in 0..1, (B, K), of frames (B, side * side) in 0..255."""
        logits: Tensor = self.norm(self.encoder(scaled(frames, torch.float32)))
        return logits.sigmoid()

    def decode(self, code: Tensor) -> Tensor:
        """Unnormalised log-probabilities of each pixel's grey levels, (B, side * side, levels)."""
        logits: Tensor = self.softmax(self.decoder(code).flatten(2).transpose(1, 2))
        return logits


def encoder(side: int, codes: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """(B, 1, side, side) → (B, codes), before normalisation and sigmoid."""
    flat = CHANNELS * (side // 8) ** 2
    return nn.Sequential(
        *(nn.Conv2d(1, CHANNELS, 4, 2, 1), activation()),
        *(nn.Conv2d(CHANNELS, CHANNELS, 4, 2, 1), activation()),
        *(nn.Conv2d(CHANNELS, CHANNELS, 4, 2, 1), activation(), nn.Flatten()),
        *(nn.Linear(flat, HIDDEN), activation(), nn.Linear(HIDDEN, codes)),
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
    """ReLU, limited, and rounded to a multiple of 1/GRID."""

    def forward(self, x: Tensor) -> Tensor:
        return relu(x).clamp_(max=LARGEST_ACTIVATION).mul_(GRID).round_().div_(GRID)


class BitEncoder(nn.Module):
    """A frozen copy of an autoencoder's encoder that gives the bits b > 0.5, the same for a frame in any batch.

    In float32 the last bits of a convolution change with the batch's shape, and now and then a code with them. So
    weights and activations are rounded to multiples of 1/4096 and limited, and everything is summed in float64, where
    no sum then needs more than 53 bits: it is exact in any order, in any batch, with any number of threads. The codes
    are those of the rounded network. On one core a frame takes 0.17 ms, as in float32, and a thousand 0.1 to 0.2 s.
    """

    CHUNK = 64  # frames at once; more need more memory and are no faster

    def __init__(self, side: int, codes: int) -> None:
        super().__init__()
        self.layers = encoder(side, codes, OnGrid).double().requires_grad_(False)

    @torch.no_grad()
    def follow(self, autoencoder: Autoencoder) -> None:
        """Becomes what the autoencoder's encoder is now."""
        own, learned = dict(self.layers.named_parameters()), dict(autoencoder.encoder.named_parameters())
        for name, parameter in own.items():
            parameter.copy_(learned[name])
        last, norm = self.layers[-1], autoencoder.norm
        assert isinstance(last, nn.Linear)
        assert norm.running_var is not None
        assert norm.running_mean is not None
        # The normalisation is part of the last layer from now on
        factor = norm.weight.double().cpu() / (norm.running_var.double().cpu() + norm.eps).sqrt()
        last.weight.mul_(factor[:, None])
        last.bias.sub_(norm.running_mean.double().cpu()).mul_(factor).add_(norm.bias.double().cpu())
        for parameter in own.values():
            parameter.clamp_(-LARGEST_WEIGHT, LARGEST_WEIGHT).mul_(GRID).round_().div_(GRID)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """(B, K) bool of frames (B, side * side) of 0..255."""
        return torch.cat([self.layers(scaled(chunk, torch.float64)) > 0 for chunk in torch.split(frames, self.CHUNK)])
