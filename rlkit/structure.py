"""Dict and Tuple observations as flat rows: environments flatten them, networks split them again.

The engine stores one array per observation. For a Dict or Tuple of arrays it is a row that holds the parts one after
the other, and `EnvSpec.structure` describes the row::

    parts = spec.structure.split(observation.obs)                   # in act: {"image": (N, 7, 7, 3), "direction": (N,)}
    allowed = spec.structure.split(window.next_obs)["action_mask"]  # where the successor is valued: (B, A)

An action mask is such a part. An environment that has one names it "action_mask"; it is stored with its observation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from rlkit.errors import SpecError

Rows = TypeVar("Rows", NDArray[Any], Tensor)
Path: TypeAlias = tuple[str | int, ...]

# dtypes of a row; the first one that holds every part exactly is used
ROW_DTYPES = ("uint8", "int8", "int16", "int32", "int64", "float32", "float64")


def is_array(space: gym.Space[Any]) -> bool:
    """Whether observations of `space` are arrays that the engine can store."""
    if isinstance(space, spaces.Box):
        return math.prod(space.shape) > 0 and len(space.shape) > 0
    return isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)


def stored(obs: Any, space: gym.Space[Any], name: str = "an observation") -> NDArray[Any]:
    """`obs` in the dtype of its space, which is that of an array.

    Raises SpecError for another shape, for values that the dtype cannot hold (0.5 in a uint8 space would become 0), and
    for numbers that a space other than Box does not contain, which would enter a network as zeros.
    """
    given, dtype = np.asarray(obs), np.dtype(space.dtype)
    if given.shape != space.shape:
        raise SpecError(f"{name} has shape {given.shape}; its space says {space.shape}")
    if given.dtype == dtype:
        array = given
    elif given.dtype.kind not in "biuf":
        raise SpecError(f"{name} has dtype {given.dtype}; its space {space} says {dtype}")
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            array = given.astype(dtype)
        exact = np.can_cast(given.dtype, dtype, "safe") or given.dtype.kind == dtype.kind == "f"
        if not exact and (array != given).any():
            raise SpecError(
                f"{name} has {given.dtype} values from {given.min():g} to {given.max():g}, which storing as {dtype} "
                f"would change; its space is {space}: correct the space's dtype, or convert observations with a wrapper"
            )
    if not isinstance(space, spaces.Box) and not space.contains(array if array.shape else array[()]):
        raise SpecError(f"{name} is {array}, which is outside its space {space}")
    return array


@dataclass(frozen=True, slots=True)
class Part:
    """One array of a structured observation; its values are the columns start .. stop - 1 of a row."""

    path: Path  # keys of Dicts and positions in Tuples, the outermost first
    space: gym.Space[Any]
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Its path joined by dots: "image", "state.position", "0"."""
        return ".".join(map(str, self.path))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.space.shape or ()

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.space.dtype)

    def find(self, observation: Any) -> NDArray[Any]:
        """This part of a nested observation. Raises SpecError if it is missing or has another shape."""
        value = observation
        for key in self.path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError) as error:
                raise SpecError(f"the observation has no {self.name!r}") from error
        return stored(value, self.space, f"observation {self.name!r}")

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {self.shape}"


@dataclass(frozen=True, slots=True)
class Structure:
    """The layout of the flat rows of a Dict or Tuple observation."""

    parts: tuple[Part, ...]
    space: spaces.Box  # of one row, (size,)

    @classmethod
    def of(cls, space: gym.Space[Any]) -> Structure:
        """The structure of a Dict or Tuple of arrays, which may be nested.

        A row has the smallest dtype that holds all parts exactly: uint8 for bytes and small integers, float32 or
        float64 if one part is a float. Raises SpecError for parts that are not arrays, and if no dtype holds all parts.
        """
        found = list(leaves(space))
        refused = [f"{'.'.join(map(str, path))!r} ({_kind(leaf)})" for path, leaf in found if not is_array(leaf)]
        if refused:
            raise SpecError(
                f"observations {', '.join(refused)} are not supported; remove or convert them with a wrapper"
            )
        parts, start = [], 0
        for path, leaf in found:
            parts.append(Part(path, leaf, start, start + math.prod(leaf.shape or ())))
            start = parts[-1].stop
        names = [part.name for part in parts]
        if not parts or len(set(names)) < len(names):
            raise SpecError(f"a structured observation needs parts with different names, at least one; got {names}")
        dtype = _row_dtype(parts)
        bounds = [_bounds(part) for part in parts]
        low, high = (np.concatenate([side[end].astype(dtype) for side in bounds]) for end in (0, 1))
        return cls(tuple(parts), spaces.Box(low, high, dtype=dtype.type))

    def flatten(self, observation: Any) -> NDArray[Any]:
        """(size,) the row of one nested observation.

        Raises SpecError for a missing part, for another shape, and for integers that a row cannot hold.
        """
        row = np.empty(self.space.shape, self.space.dtype)
        for part in self.parts:
            values = part.find(observation).reshape(-1)
            stored = row[part.start : part.stop]
            stored[:] = values
            if part.dtype != row.dtype and part.dtype.kind != "f" and (stored != values).any():
                raise SpecError(f"observation {part.name!r} has values outside its space {part.space}: {values}")
        return row

    def split(self, rows: Rows) -> dict[str, Rows]:
        """The parts of `rows` (..., size) by name, (..., *shape) each, in their own dtypes."""
        return {part.name: _restored(rows[..., part.start : part.stop], part) for part in self.parts}

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.parts))}; stored as {self.space.dtype} {self.space.shape}"


Observed: TypeAlias = gym.Space[Any] | Structure  # what is observed: arrays of a space, or the parts of flat rows


def _restored(columns: Rows, part: Part) -> Rows:
    values = columns.reshape((*columns.shape[:-1], *part.shape))
    if isinstance(values, Tensor):
        return values.to(torch.from_numpy(np.zeros(0, part.dtype)).dtype)
    return values.astype(part.dtype, copy=False)


def _kind(space: gym.Space[Any]) -> str:
    return str(space) if isinstance(space, spaces.Box) else type(space).__name__  # some describe themselves at length


def space_text(space: gym.Space[Any]) -> str:
    """The space in one line; a Box without its bounds if they are long."""
    text = " ".join(str(space).split())
    return text if len(text) <= 80 else f"{type(space).__name__}{space.shape} {space.dtype}"


def leaves(space: gym.Space[Any], path: Path = ()) -> Iterator[tuple[Path, gym.Space[Any]]]:
    """The spaces inside nested Dicts and Tuples, with their paths; another space itself."""
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for place, inner in enumerate(space.spaces):
            yield from leaves(inner, (*path, place))
    else:
        yield path, space


def _bounds(part: Part) -> tuple[NDArray[Any], NDArray[Any]]:
    """The lowest and the highest values, (size,) each."""
    space = part.space
    if isinstance(space, spaces.Box):
        return space.low.reshape(-1), space.high.reshape(-1)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start.reshape(-1), (space.start + space.nvec - 1).reshape(-1)
    low, count = (space.start, space.n) if isinstance(space, spaces.Discrete) else (0, 2)
    bounds = np.full((2, part.stop - part.start), low, np.int64)
    bounds[1] += count - 1
    return bounds[0], bounds[1]


def _row_dtype(parts: list[Part]) -> np.dtype[Any]:
    for dtype in map(np.dtype, ROW_DTYPES):
        if all(_holds(dtype, part) for part in parts):
            return dtype
    raise SpecError(
        f"no dtype that torch supports holds all of {', '.join(map(str, parts))} exactly; give integer spaces narrower "
        "bounds (float32 holds integers up to 2**24, float64 up to 2**53) or convert a part with a wrapper"
    )


def _holds(dtype: np.dtype[Any], part: Part) -> bool:
    """Whether every value of the part's space is a value of `dtype`."""
    if part.dtype.kind == "f":
        return dtype.kind == "f" and dtype.itemsize >= part.dtype.itemsize
    least, largest = _bounds(part)
    low, high = int(least.min()), int(largest.max())
    if dtype.kind == "f":
        exact = 2 ** (np.finfo(dtype).nmant + 1)  # all integers up to here
        return bool(-exact <= low and high <= exact)
    return bool(np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max)
