"""Features: observations as rows of numbers, (N, *O) → (N, d), to be hashed. They define which states differ."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rlkit.errors import ConfigError, SpecError
from rlkit.replay.frames import FrameLayout
from rlkit.replay.ring import Column
from rlkit.types import ArraySpec, EnvSpec, Observation

GREY = (0.299, 0.587, 0.114)  # luminance of red, green, blue (ITU-R BT.601)


class Features(Protocol):
    """A pure function of observations; rows do not depend on each other."""

    size: int  # d
    midpoint: NDArray[Any] | None  # (d,) the middle of each feature's range; None: features are centred by their mean
    stored: bool  # whether the replay holds all that is needed: no signals

    def __call__(self, observation: Observation) -> NDArray[Any]:
        """(N, d)"""


class Vector:
    """Every number of the observation, or of the signal `source`; Discrete and MultiDiscrete spaces as one-hot."""

    midpoint: NDArray[Any] | None = None

    def __init__(self, spec: EnvSpec, source: str | None) -> None:
        self._source = source
        self.stored = source is None
        self._sizes: NDArray[np.int64] | None = None
        space = spec.observation_space
        if source is not None:
            self.size = int(np.prod(_signal(spec, source).shape))
        elif isinstance(space, gym.spaces.Discrete):
            self._one_hot([int(space.n)], [int(space.start)])
        elif isinstance(space, gym.spaces.MultiDiscrete):
            self._one_hot(space.nvec.reshape(-1).tolist(), space.start.reshape(-1).tolist())
        else:
            self.size = int(np.prod(_shape(space)))

    def _one_hot(self, sizes: Sequence[int], starts: Sequence[int]) -> None:
        self._sizes = np.array(sizes)
        self._first = np.concatenate(([0], np.cumsum(sizes)[:-1])) - np.array(starts)
        self.size = int(sum(sizes))

    def __call__(self, observation: Observation) -> NDArray[Any]:
        values = observation.obs if self._source is None else observation.signals[self._source]
        rows = values.reshape(len(values), -1)
        if self._sizes is None:
            return rows
        hot = np.zeros((len(rows), self.size), np.uint8)
        np.put_along_axis(hot, rows + self._first, 1, axis=1)
        return hot


class Pixels:
    """The latest frame, grey, averaged down to `side` x `side`: whole numbers in 0..255."""

    def __init__(self, spec: EnvSpec, side: int, source: str | None) -> None:
        self._frame = LatestFrame(spec, source)
        self.stored = source is None
        height, width = self._frame.shape[:2]
        if side > min(height, width):
            raise SpecError(f"features.side = {side} is more than the {height} x {width} frames have")
        down, across = windows(height, side), windows(width, side)
        area = np.outer(down.sum(1), across.sum(1))  # (side, side)
        # Sums of whole numbers are exact below 2^24 (float32) or 2^53 (float64), so the rounded means of a frame do
        # not depend on the batch
        exact = np.dtype(np.float32 if area.max() < 2**15 else np.float64)
        self._down: NDArray[Any] = down.astype(exact)
        self._across: NDArray[Any] = across.T.astype(exact, order="C")
        self._area: NDArray[Any] = area.astype(exact)
        self.size = side * side
        self.midpoint: NDArray[Any] | None = np.full(self.size, 127.5)

    def __call__(self, observation: Observation) -> NDArray[Any]:
        frames = grey(self._frame(observation))  # (N, H, W)
        means: NDArray[Any] = self._down @ frames.astype(self._down.dtype) @ self._across
        means /= self._area
        rows: NDArray[Any] = np.rint(means).astype(np.uint8).reshape(len(frames), -1)
        return rows


def windows(length: int, count: int) -> NDArray[np.bool_]:
    """(count, length): whether a pixel belongs to a window; the windows are those of torch's adaptive_avg_pool2d.

    They overlap if `count` does not divide `length`. With torch's own call the bonus costs a third more in Atari
    (benchmarks/exploration.py).
    """
    starts = np.arange(count) * length // count
    ends = -(-np.arange(1, count + 1) * length // count)
    covered: NDArray[np.bool_] = (np.arange(length) >= starts[:, None]) & (np.arange(length) < ends[:, None])
    return covered


class Bass:
    """Basic abstraction of screenshots (Tang et al. 2017, equation 3; Bellemare et al. 2013): cells' mean intensities.

    feature(i, j, z) = floor(bins * mean of channel z over the cell / 255), at most bins - 1, in C x C cells from the
    upper left. Two differences from the paper: a white cell is limited to bins - 1, as in the authors' code; and the
    sum of a cell at the edge is divided by its number of pixels, not by C^2, which the code does not do.
    """

    def __init__(self, spec: EnvSpec, cell: int, bins: int, colour: bool, source: str | None) -> None:
        self._frame = LatestFrame(spec, source)
        self.stored = source is None
        self._bins, self._colour = bins, colour
        height, width, channels = self._frame.shape
        if colour and channels != 3:
            raise SpecError(f"features.colour = true needs colour frames, these have {channels} channel(s)")
        if cell > min(height, width):
            raise SpecError(f"features.cell = {cell} is more than the {height} x {width} frames have")
        self._rows, self._columns = np.arange(0, height, cell), np.arange(0, width, cell)
        area = np.outer(np.diff(self._rows, append=height), np.diff(self._columns, append=width))
        self._white = 255 * area[:, :, None]  # (rows, columns, 1)
        self.size = area.size * (3 if colour else 1)
        self.midpoint: NDArray[Any] | None = np.full(self.size, (bins - 1) / 2)

    def __call__(self, observation: Observation) -> NDArray[Any]:
        frames = self._frame(observation)  # (N, H, W, channels)
        if not self._colour:
            frames = grey(frames)[..., None]
        sums = np.add.reduceat(np.add.reduceat(frames.astype(np.int64), self._rows, 1), self._columns, 2)
        cells = np.minimum(sums * self._bins // self._white, self._bins - 1)
        rows: NDArray[Any] = cells.reshape(len(cells), -1)
        return rows


class Bytes:
    """Chosen bytes of the console's memory, floor((byte - min) / size) each (Tang et al. 2017, section 3.4)."""

    stored = False

    def __init__(self, spec: EnvSpec, source: str, bytes_: Sequence[tuple[int, int, int]]) -> None:
        memory = _signal(spec, source)
        if len(memory.shape) != 1 or np.dtype(memory.dtype) != np.uint8:
            raise SpecError(f'features.source: "{source}" must be a row of bytes, not {_describe(memory)}')
        index, low, width = (np.array(column) for column in zip(*bytes_, strict=True))
        if index.max() >= memory.shape[0]:
            last = memory.shape[0] - 1
            raise SpecError(f'features.bytes: no byte {index.max()} in the signal "{source}", whose last is {last}')
        self._source, self._index, self._low, self._width = source, index, low, width
        self.size = len(index)
        self.midpoint: NDArray[Any] | None = ((0 - low) // width + (255 - low) // width) / 2

    def __call__(self, observation: Observation) -> NDArray[Any]:
        chosen = observation.signals[self._source][:, self._index]
        steps: NDArray[Any] = (chosen - self._low) // self._width
        return steps


class Function:
    """A user's function: (obs (N, *O), signals) → (N, d) numbers; each row depends on its observation alone."""

    midpoint: NDArray[Any] | None = None

    def __init__(
        self, spec: EnvSpec, function: Callable[[NDArray[Any], Mapping[str, NDArray[Any]]], Any], name: str
    ) -> None:
        self._function, self._name = function, name
        self.stored = not spec.signals
        self.size = 0  # until the first call
        space = copy.deepcopy(spec.observation_space)
        space.seed(0)
        probe = np.stack([np.asarray(space.sample(), space.dtype)] * 2)
        signals = {key: np.zeros((2, *signal.shape), signal.dtype) for key, signal in spec.signals.items()}
        self.size = int(self._checked(probe, signals).shape[1])

    def __call__(self, observation: Observation) -> NDArray[Any]:
        return self._checked(observation.obs, observation.signals)

    def _checked(self, obs: NDArray[Any], signals: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        try:
            rows = np.asarray(self._function(obs, signals))
        except Exception as error:  # a user's function may raise anything
            raise ConfigError(f'features.function "{self._name}" failed: {type(error).__name__}: {error}') from error
        numbers = rows.dtype.kind in "biuf" and rows.ndim == 2 and len(rows) == len(obs)
        if not numbers or rows.shape[1] != (self.size or rows.shape[1]):
            raise ConfigError(
                f'features.function "{self._name}" gave {rows.dtype} {rows.shape} for {len(obs)} observations; '
                f"expected numbers of shape ({len(obs)}, {self.size or 'd'})"
            )
        return rows


class LatestFrame:
    """The newest frame of each observation, or the signal `source`, as (N, H, W, channels) uint8, 1 or 3 channels."""

    def __init__(self, spec: EnvSpec, source: str | None) -> None:
        self._source = source
        self._layout = FrameLayout(spec) if source is None else None
        pixels = self._layout.frame if self._layout is not None else _signal(spec, str(source))
        shape = tuple(pixels.shape)
        self._first = len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3)  # channels come first
        self.shape = (*shape[1:], shape[0]) if self._first else shape if len(shape) == 3 else (*shape, 1)
        if len(self.shape) != 3 or self.shape[2] not in (1, 3) or np.dtype(pixels.dtype) != np.uint8:
            what = (
                f"observations are {spec.observation_space}, frames" if source is None else f'the signal "{source}" is'
            )
            raise SpecError(
                f"these features need grey or colour frames of uint8 pixels, but {what} {_describe(pixels)}"
            )

    def __call__(self, observation: Observation) -> NDArray[Any]:
        if self._layout is None:
            assert self._source is not None
            frames = observation.signals[self._source]
        else:
            frames = self._layout.newest(observation.obs)
        if self._first:
            frames = np.moveaxis(frames, 1, -1)
        return frames.reshape(len(frames), *self.shape)


def grey(frames: NDArray[Any]) -> NDArray[Any]:
    """(N, H, W) uint8 from (N, H, W, 1 or 3) uint8."""
    if frames.shape[3] == 1:
        return frames[..., 0]
    # elementwise, because the rounding of a matrix product depends on the batch
    red, green, blue = (frames[..., channel] * weight for channel, weight in enumerate(GREY))
    mixed: NDArray[Any] = np.rint(red + green + blue).astype(np.uint8)
    return mixed


def _shape(space: gym.Space[Any]) -> tuple[int, ...]:
    if space.shape is None or space.dtype is None:
        raise SpecError(f"counting needs observations that are arrays of numbers, not {space}")
    return tuple(int(length) for length in space.shape)


def _signal(spec: EnvSpec, name: str) -> ArraySpec:
    """The signal of this name. Raises SpecError if there is none."""
    if name not in spec.signals:
        known = ", ".join(spec.signals) or "none"
        raise SpecError(f'features.source: this environment has no signal "{name}" (it has: {known})')
    return spec.signals[name]


def _describe(array: ArraySpec | Column) -> str:
    return f"{np.dtype(array.dtype)} {tuple(array.shape)}"
