"""The input layer: the one place where observations become floats on the learner's device.

`act` and `learn` both go through `to_tensor` (acting only; replayed batches are tensors already) and the `InputLayer`
inside the network, so they cannot disagree. ``kind = "measured"``, the default, applies the first rule that fits:

=====================================================  ================================================================
space of one observation                               input of the network
=====================================================  ================================================================
Discrete(n), MultiDiscrete                             one-hot, concatenated
MultiBinary, Box of bool                               0.0 and 1.0
Box uint8, bounds 0 and 255, of shape (h, w, 3k) or    "codes": MiniGrid's object, colour and state numbers, one-hot
(k, h, w, 3) with h and w <= 25                        (11 + 6 + 4 planes; a number outside these is all zeros)
other Box uint8, bounds 0 and 255, of rank >= 2        "pixels": divided by 255
other Box of floats, of rank 1                         "measured": each entry divided by its unit; entries that random
                                                       play shows to be large are centred and made smaller
other Box, all bounds finite and within 1e6            "bounds": scaled to [-1, 1] by its bounds
other Box                                              "raw": unchanged
=====================================================  ================================================================

The unit of an entry is half its range where this is below 1, else 1. ``kind = "standardise"`` always subtracts the
mean of such vectors and divides by their deviation, unless it is nearly 0. ``kind = "auto"`` applies the same rules
without measuring, as version 0.1.0 did: the space alone decides, and bounds that observations never come near make
their inputs small.

The layout follows: rank 2 gets one channel, (1, h, w). If two neighbouring axes of rank 3 are equal, the third one
holds the channels: (17, 9, 9) is channel-first, (9, 9, 17) channel-last. Otherwise it is channel-last if no other axis
is smaller than the last (MinAtar's Seaquest has 10 x 10 cells and 10 channels), else channel-first. The key
`network.layout` says otherwise. A last axis of channels is moved to the front. Rank 4 is a stack of channel-last
frames, (k, h, w, c), and becomes (k * c, h, w). The rules mistake only colour images of at most 25 x 25 pixels for
codes: `rlkit check` and `train` refuse values that no code has; give "pixels" for them.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Self, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlkit.errors import SpecError
from rlkit.nn.beside import Beside
from rlkit.nn.conversions import (
    LARGEST_BOUND,
    Flattened,
    Measured,
    OneHot,
    Scaled,
    by_bounds,
    is_bounded,
    standardised,
    tamed,
)
from rlkit.structure import Structure

InputKind: TypeAlias = Literal["measured", "standardise", "auto", "pixels", "codes", "bounds", "raw"]

Layout: TypeAlias = Literal["auto", "channels_first", "channels_last"]

MEASURED = ("measured", "standardise")  # kinds that need mean and deviation
RULES = (*MEASURED, "auto")  # kinds that choose another by the space
MINIGRID_CODES = (11, 6, 4)  # objects, colours, states (doors: 3; the agent seen from above has 4 directions)
LARGEST_CODE = 20  # of a grid that is taken for one of codes; amounts are usually larger
LARGEST_GRID = 25  # the largest MiniGrid world is 25 x 25; colour images are rarely that small
LEAST_OBSERVATIONS = 100  # mean and deviation of fewer say little


def to_tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    """The observations `array` (N, *O) on `device`, dtype unchanged. Shares memory on the CPU: read only."""
    if not array.flags.writeable:
        array = array.copy()  # torch warns of read-only memory
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.to(device)


class InputLayer(nn.Module):
    """Raw observations (B, *O) of any supported dtype -> float32 (B, *shape); images channel-first."""

    def __init__(
        self, values: nn.Module, raw_shape: tuple[int, ...], valued_shape: tuple[int, ...], layout: Layout = "auto"
    ) -> None:
        """`raw_shape` is O with a last axis of numbers, `valued_shape` the shape after `values`."""
        super().__init__()
        self._beside: Beside | None = None
        self.values = values
        self._raw_shape = raw_shape
        codes = raw_shape[-1:] != valued_shape[-1:]
        self._order = _channel_order(valued_shape, "channels_last" if codes else layout)
        self._merge = len(valued_shape) == 4
        self._add_channel = len(valued_shape) == 2
        self.shape = _laid_out(valued_shape, self._order)

    def join(self, structure: Structure) -> Self:
        """From now on observations are rows (B, size) of `structure`, whose second part has one byte, b.

        The first part is converted as before, and b / 255 joins it: as an entry of a vector, or a plane of an image.
        """
        self._beside = Beside(structure)
        self.shape = (self.shape[0] + 1, *self.shape[1:])
        return self

    @property
    def joined(self) -> bool:
        """Whether observations have a second part."""
        return self._beside is not None

    @property
    def measures(self) -> bool:
        """Whether mean and deviation are to be measured: `initialise` needs observations before the first update."""
        return isinstance(self.values, Measured)

    def initialise(self, obs: Tensor) -> None:
        """Fixes mean and deviation, if the input is measured, from observations (K, *O); else does nothing.

        An agent calls it once, before its first update and before its weights are initialised from data: an off-policy
        agent with the observations of its random steps, an on-policy agent with those of its first rollout, (T, N, *O)
        flattened to (T * N, *O). Every copy of the network needs the same values: `QLearner.update_target` copies them
        to the target network. Fewer than LEAST_OBSERVATIONS change nothing: "measured" stays division by units, and
        "standardise" as "auto".
        """
        if isinstance(self.values, Measured) and len(obs) >= LEAST_OBSERVATIONS:
            self.values.measure(obs if self._beside is None else self._beside.split(obs)[0])

    def forward(self, obs: Tensor) -> Tensor:
        if self._beside is None:
            return self.converted(obs)
        main, number = self.split(obs)
        return with_number(self.converted(main), number)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The observation (B, *O), and the number beside it from 0 to 1, (B,), of a layer that is `joined`."""
        assert self._beside is not None
        return self._beside.split(rows)

    def converted(self, obs: Tensor) -> Tensor:
        """The input of observations (B, *O), without the number beside them."""
        if obs.dim() != len(self._raw_shape) + 1:  # Discrete: the number itself is the last axis
            obs = obs.reshape(-1, *self._raw_shape)
        values: Tensor = self.values(obs)
        if self._order is not None:
            values = values.permute(self._order)
        if self._merge:
            return values.flatten(1, 2)
        return values.unsqueeze(1) if self._add_channel else values


def with_number(values: Tensor, number: Tensor) -> Tensor:
    """Inputs (B, C, ...) with one more entry or plane, which is the number (B,)."""
    return torch.cat((values, number.view(-1, *[1] * (values.dim() - 1)).expand_as(values[:, :1])), 1)


def build_input(space: gym.Space[Any], kind: InputKind = "auto", layout: Layout | None = None) -> InputLayer:
    """The input layer for one observation's `space`. Raises SpecError if `kind` or `layout` does not apply to it.

    Whoever passes kind = "measured" or "standardise" must call the layer's `initialise`. A Tuple is that of
    `input_space`; observations are its rows.
    """
    if isinstance(space, gym.spaces.Tuple):
        return build_input(space[0], kind, layout).join(Structure.of(space))
    if isinstance(space, gym.spaces.Box):
        return _box_input(space, _box_kind(space, kind), layout or "auto")
    if kind not in RULES:
        raise SpecError(f'network.input = "{kind}" applies to Box observations only, not to {space}; leave it out')
    if isinstance(space, gym.spaces.Discrete):
        size = int(space.n)
        return InputLayer(OneHot([size], [int(space.start)]), (1,), (size,))
    if isinstance(space, gym.spaces.MultiDiscrete):
        sizes = [int(size) for size in space.nvec.flat]
        return InputLayer(
            Flattened(OneHot(sizes, [int(start) for start in space.start.flat])), space.shape, (sum(sizes),)
        )
    if isinstance(space, gym.spaces.MultiBinary):
        return InputLayer(Scaled(), space.shape, space.shape)
    raise SpecError(f"observations of {space} are not supported: use Box, Discrete, MultiDiscrete or MultiBinary")


def describe_input(space: gym.Space[Any], kind: InputKind, random_steps: int, layout: Layout | None = None) -> str:
    """How observations of `space` enter, in words; mean and deviation are measured over `random_steps`."""
    if isinstance(space, gym.spaces.Tuple):
        return f"{describe_input(space[0], kind, random_steps, layout)}; beside it, how new the state is in its episode"
    layer = build_input(space, kind, layout)
    names: dict[str, str] = {"pixels": "divided by 255", "codes": "MiniGrid's codes, one-hot"}
    names |= {"bounds": "scaled to [-1, 1] by their bounds", "raw": "unchanged"}
    if not isinstance(space, gym.spaces.Box):
        text = "0.0 and 1.0" if isinstance(space, gym.spaces.MultiBinary) else "one-hot"
    elif not layer.measures:
        text = names[_box_kind(space, kind)]
    elif random_steps < LEAST_OBSERVATIONS:
        at_first = "divided by their units" if kind == "measured" else names[_box_kind(space, "auto")]
        text = f"{at_first}: {random_steps} random steps are too few to measure"
    elif kind == "standardise":
        text = f"standardised by the mean and deviation of the first {random_steps:,} steps"
    else:
        text = f"divided by their units; entries that are large in the first {random_steps:,} steps are scaled down"
    if len(layer.shape) == 3:
        channels, height, width = layer.shape
        guess = layout in (None, "auto") and len(space.shape or ()) == 3 and _is_ambiguous(space.shape or ())
        planes = f"{channels} channel{'s' if channels > 1 else ''} of {height} x {width}"
        return f"{text}; {space.shape} enters as {planes}{' (a guess: else set network.layout)' if guess else ''}"
    return text if layer.shape == space.shape else f"{text}; {space.shape} enters as {layer.shape}"


def _box_kind(space: gym.spaces.Box, kind: InputKind) -> InputKind:
    """`kind`, or the first rule of the module's table that fits a Box."""
    if kind not in RULES:
        return kind
    if space.dtype == np.bool_:
        return "raw"
    whole_bytes = space.dtype == np.uint8 and bool((space.low == 0).all() and (space.high == 255).all())
    if whole_bytes and _may_hold_codes(space) and max(space.shape[-3:-1]) <= LARGEST_GRID:
        return "codes"
    if whole_bytes and len(space.shape) >= 2:
        return "pixels"
    if kind in MEASURED and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
        return kind
    return "bounds" if is_bounded(space) else "raw"


def holds_no_codes(space: gym.Space[Any], kind: InputKind, high: NDArray[Any]) -> bool:
    """Whether the rules would take `space` for MiniGrid's codes, but observed values up to `high` (*O) are none."""
    if kind not in RULES or not isinstance(space, gym.spaces.Box) or _box_kind(space, kind) != "codes":
        return False
    return bool((high.reshape(*high.shape[:-1], -1, 3) >= MINIGRID_CODES).any())


def may_be_unnamed_codes(space: gym.Space[Any], kind: InputKind, high: NDArray[Any]) -> bool:
    """Whether a small grid of whole numbers, observed up to `high` (*O), enters as amounts, but may hold codes."""
    if kind not in RULES or not isinstance(space, gym.spaces.Box) or len(space.shape) not in (2, 3):
        return False
    grid = np.issubdtype(space.dtype, np.integer) and max(space.shape[:2]) <= LARGEST_GRID
    return bool(grid and _box_kind(space, kind) != "codes" and 1 < high.max() <= LARGEST_CODE and space.low.min() >= 0)


def _may_hold_codes(space: gym.spaces.Box) -> bool:
    groups = space.shape[-1] // 3 if len(space.shape) == 3 else 1
    return space.dtype == np.uint8 and len(space.shape) in (3, 4) and space.shape[-1] == 3 * groups and groups > 0


def _box_input(space: gym.spaces.Box, kind: InputKind, layout: Layout) -> InputLayer:
    shape = space.shape
    if layout != "auto" and len(shape) != 3:
        raise SpecError(f'network.layout = "{layout}" applies to observations of rank 3, not of shape {shape}')
    if len(shape) == 0 or len(shape) > 4:
        raise SpecError(f"observations of rank 1 to 4 are supported, not of shape {shape}")
    if kind == "codes":
        if not _may_hold_codes(space):
            raise SpecError(f'network.input = "codes" needs uint8 observations of shape (h, w, 3), not {space}')
        sizes = MINIGRID_CODES * (shape[-1] // 3)
        return InputLayer(OneHot(sizes), shape, (*shape[:-1], sum(sizes)))
    if kind == "pixels":
        return InputLayer(Scaled(factor=1.0 / 255.0), shape, shape, layout)
    if kind == "bounds":
        if not is_bounded(space):
            raise SpecError(
                f'network.input = "bounds" needs finite bounds within {LARGEST_BOUND:g}, not {space}; use "raw"'
            )
        return InputLayer(Scaled(*by_bounds(space)), shape, shape, layout)
    if kind == "measured":
        return InputLayer(Measured(space, tamed), shape, shape, layout)
    if kind == "standardise":
        start = by_bounds(space) if is_bounded(space) else (np.zeros(shape), np.ones(shape))
        return InputLayer(Measured(space, standardised, start), shape, shape, layout)
    return InputLayer(Scaled(), shape, shape, layout)


def _channel_order(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...] | None:
    """The permutation of (B, *shape) that puts channels before height and width; None if they are there already."""
    if len(shape) == 4:
        return (0, 1, 4, 2, 3)
    if len(shape) != 3:
        return None
    if layout == "auto":
        layout = _guessed(shape)
    return (0, 3, 1, 2) if layout == "channels_last" else None


def _guessed(shape: tuple[int, ...]) -> Layout:
    """The layout of rank 3: channels are the axis besides two equal ones, or else last if no other axis is smaller."""
    if not _is_ambiguous(shape):
        return "channels_last" if shape[0] == shape[1] else "channels_first"
    return "channels_last" if shape[2] <= min(shape[:2]) else "channels_first"


def _is_ambiguous(shape: tuple[int, ...]) -> bool:
    """Whether a shape of rank 3 does not tell where its channels are: no two neighbouring sides are equal, or all."""
    return (shape[0] == shape[1]) == (shape[1] == shape[2])


def _laid_out(shape: tuple[int, ...], order: tuple[int, ...] | None) -> tuple[int, ...]:
    if len(shape) == 2:
        return (1, *shape)
    if order is None:
        return shape
    moved = tuple(shape[axis - 1] for axis in order[1:])
    return (math.prod(moved[:2]), *moved[2:]) if len(shape) == 4 else moved
