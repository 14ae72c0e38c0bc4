"""The input layer: the one place where observations become floats on the learner's device.

`act` and `learn` both go through `to_tensor` (acting only; replayed batches are tensors already) and the `InputLayer`
inside the network, so they cannot disagree. ``kind = "auto"`` applies the first rule that fits:

=====================================================  ================================================================
space of one observation                               input of the network
=====================================================  ================================================================
Discrete(n), MultiDiscrete                             one-hot, concatenated
MultiBinary, Box of bool                               0.0 and 1.0
Box uint8, bounds 0 and 255, of shape (h, w, 3k) or    "codes": MiniGrid's object, colour and state numbers, one-hot
(k, h, w, 3) with h and w <= 25                        (11 + 6 + 4 planes; a number outside these is all zeros)
other Box uint8, bounds 0 and 255, of rank >= 2        "pixels": divided by 255
other Box, all bounds finite and within 1e6            "bounds": scaled to [-1, 1] by its bounds
other Box                                              "raw": unchanged (CartPole, whose velocities are unbounded)
=====================================================  ================================================================

The layout follows: rank 2 gets one channel, (1, h, w). Rank 3 is taken as channel-last, and its last axis is moved to
the front, if no other axis is smaller (MinAtar's Seaquest has 10 x 10 cells and 10 channels); else it is channel-first
already. Rank 4 is a stack of channel-last frames, (k, h, w, c), and becomes (k * c, h, w). "auto" mistakes only colour
images of at most 25 x 25 pixels for codes: give "pixels" for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlkit.errors import SpecError
from rlkit.structure import Structure

InputKind: TypeAlias = Literal["auto", "pixels", "codes", "bounds", "raw"]

MINIGRID_CODES = (11, 6, 4)  # objects, colours, states (doors: 3; the agent seen from above has 4 directions)
LARGEST_GRID = 25  # the largest MiniGrid world is 25 x 25; colour images are rarely that small
LARGEST_BOUND = 1e6  # some environments give the largest float as bound where there is none


def to_tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    """The observations `array` (N, *O) on `device`, dtype unchanged. Shares memory on the CPU: read only."""
    if not array.flags.writeable:
        array = array.copy()  # torch warns of read-only memory
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.to(device)


class Scaled(nn.Module):
    """(x - shift) * factor in float32; without either a conversion to float32."""

    def __init__(self, shift: NDArray[Any] | None = None, factor: NDArray[Any] | float = 1.0) -> None:
        super().__init__()
        self.shift: Tensor | None
        self.factor: Tensor | None
        trivial = isinstance(factor, float) and factor == 1.0
        # Not persistent: the observation space determines them.
        self.register_buffer("shift", None if shift is None else _float32(shift), persistent=False)
        self.register_buffer("factor", None if trivial else _float32(factor), persistent=False)

    def forward(self, obs: Tensor) -> Tensor:
        values = obs.to(torch.float32)
        if self.shift is not None:
            values = values - self.shift
        return values if self.factor is None else values * self.factor


class OneHot(nn.Module):
    """Numbers along the last axis, (..., k), as k concatenated one-hot vectors, (..., sum(sizes)).

    Number i takes the values starts[i] .. starts[i] + sizes[i] - 1; any other value gives zeros. It compares instead of
    scattering, since a scatter would check the values first, which synchronises with the GPU.
    """

    def __init__(self, sizes: Sequence[int], starts: Sequence[int] | None = None) -> None:
        super().__init__()
        starts = starts or [0] * len(sizes)
        column = [i for i, size in enumerate(sizes) for _ in range(size)]
        code = [start + j for size, start in zip(sizes, starts, strict=True) for j in range(size)]
        self.column: Tensor
        self.code: Tensor
        self.register_buffer("column", torch.tensor(column), persistent=False)
        self.register_buffer("code", torch.tensor(code), persistent=False)

    def forward(self, obs: Tensor) -> Tensor:
        return (obs.index_select(-1, self.column) == self.code).to(torch.float32)


class InputLayer(nn.Module):
    """Raw observations (B, *O) of any supported dtype -> float32 (B, *shape); images channel-first."""

    def __init__(self, values: nn.Module, raw_shape: tuple[int, ...], valued_shape: tuple[int, ...]) -> None:
        """`raw_shape` is O with a last axis of numbers, `valued_shape` the shape after `values`."""
        super().__init__()
        self.values = values
        self._raw_shape = raw_shape
        self._order = _channel_order(valued_shape, channel_last=raw_shape[-1:] != valued_shape[-1:])
        self._merge = len(valued_shape) == 4
        self._add_channel = len(valued_shape) == 2
        self.shape = _laid_out(valued_shape, self._order)

    def forward(self, obs: Tensor) -> Tensor:
        if obs.dim() != len(self._raw_shape) + 1:  # Discrete: the number itself is the last axis
            obs = obs.reshape(-1, *self._raw_shape)
        values: Tensor = self.values(obs)
        if self._order is not None:
            values = values.permute(self._order)
        if self._merge:
            return values.flatten(1, 2)
        return values.unsqueeze(1) if self._add_channel else values


def build_input(space: gym.Space[Any], kind: InputKind = "auto") -> InputLayer:
    """The input layer for one observation's `space`. Raises SpecError if `kind` does not apply to it."""
    if isinstance(space, gym.spaces.Box):
        return _box_input(space, _box_kind(space) if kind == "auto" else kind)
    if kind != "auto":
        raise SpecError(f'network.input = "{kind}" applies to Box observations only, not to {space}; use "auto"')
    if isinstance(space, gym.spaces.Discrete):
        size = int(space.n)
        return InputLayer(OneHot([size], [int(space.start)]), (1,), (size,))
    if isinstance(space, gym.spaces.MultiDiscrete):
        sizes = [int(size) for size in space.nvec.flat]
        return InputLayer(
            _Flattened(OneHot(sizes, [int(start) for start in space.start.flat])), space.shape, (sum(sizes),)
        )
    if isinstance(space, gym.spaces.MultiBinary):
        return InputLayer(Scaled(), space.shape, space.shape)
    raise SpecError(f"observations of {space} are not supported: use Box, Discrete, MultiDiscrete or MultiBinary")


class StructuredInput(nn.Module):
    """Rows (B, size) of a structured observation -> its parts by name, each converted as `build_input` does.

    For networks with an encoder for each part; `shapes` are the shapes of their inputs, without B. Raises SpecError for
    parts that `build_input` does not support.
    """

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self._structure = structure
        layers = [build_input(part.space) for part in structure.parts]
        self.shapes = {part.name: layer.shape for part, layer in zip(structure.parts, layers, strict=True)}
        self.layers = nn.ModuleList(layers)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        parts = self._structure.split(rows)
        return {name: layer(part) for layer, (name, part) in zip(self.layers, parts.items(), strict=True)}


class _Flattened(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, obs: Tensor) -> Tensor:
        out: Tensor = self.inner(obs.flatten(1))
        return out


def _box_kind(space: gym.spaces.Box) -> InputKind:
    """The first rule of the module's table that fits a Box."""
    if space.dtype == np.bool_:
        return "raw"
    whole_bytes = space.dtype == np.uint8 and bool((space.low == 0).all() and (space.high == 255).all())
    if whole_bytes and _may_hold_codes(space) and max(space.shape[-3:-1]) <= LARGEST_GRID:
        return "codes"
    if whole_bytes and len(space.shape) >= 2:
        return "pixels"
    return "bounds" if _is_bounded(space) else "raw"


def _may_hold_codes(space: gym.spaces.Box) -> bool:
    groups = space.shape[-1] // 3 if len(space.shape) == 3 else 1
    return space.dtype == np.uint8 and len(space.shape) in (3, 4) and space.shape[-1] == 3 * groups and groups > 0


def _is_bounded(space: gym.spaces.Box) -> bool:
    bounds = np.abs(np.stack([space.low, space.high]).astype(np.float64))
    return bool((bounds <= LARGEST_BOUND).all())


def _box_input(space: gym.spaces.Box, kind: InputKind) -> InputLayer:
    shape = space.shape
    if len(shape) == 0 or len(shape) > 4:
        raise SpecError(f"observations of rank 1 to 4 are supported, not of shape {shape}")
    if kind == "codes":
        if not _may_hold_codes(space):
            raise SpecError(f'network.input = "codes" needs uint8 observations of shape (h, w, 3), not {space}')
        sizes = MINIGRID_CODES * (shape[-1] // 3)
        return InputLayer(OneHot(sizes), shape, (*shape[:-1], sum(sizes)))
    if kind == "pixels":
        return InputLayer(Scaled(factor=1.0 / 255.0), shape, shape)
    if kind == "bounds":
        if not _is_bounded(space):
            raise SpecError(
                f'network.input = "bounds" needs finite bounds within {LARGEST_BOUND:g}, not {space}; use "raw"'
            )
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        half = np.where(high > low, (high - low) / 2, 1.0)  # a value that cannot change becomes 0
        return InputLayer(Scaled((low + high) / 2, 1.0 / half), shape, shape)
    return InputLayer(Scaled(), shape, shape)


def _channel_order(shape: tuple[int, ...], *, channel_last: bool) -> tuple[int, ...] | None:
    """The permutation of (B, *shape) that puts channels before height and width; None if they are there already."""
    if len(shape) == 4:
        return (0, 1, 4, 2, 3)
    if len(shape) == 3 and (channel_last or shape[2] <= min(shape[:2])):
        return (0, 3, 1, 2)
    return None


def _laid_out(shape: tuple[int, ...], order: tuple[int, ...] | None) -> tuple[int, ...]:
    if len(shape) == 2:
        return (1, *shape)
    if order is None:
        return shape
    moved = tuple(shape[axis - 1] for axis in order[1:])
    return (math.prod(moved[:2]), *moved[2:]) if len(shape) == 4 else moved


def _float32(values: NDArray[Any] | float) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float32))
