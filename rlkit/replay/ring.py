"""Columns of stored rows: each is a tensor on a device or an array on the host.

The operating system zeroes memory lazily, so a column on the host uses memory only for rows that were written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from rlkit.devices import to_device
from rlkit.errors import ConfigError, SpecError
from rlkit.types import State, StepBatch

# dtypes of NumPy that torch can gather on every device; others, such as uint64 digests, stay on the host
DEVICE_DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class Column:
    """Declares a column that is stored with each step and returned with each window, (B, n, *shape).

    host: a NumPy array on the host, for example for digests, which are looked up in tables there; else a tensor on the
        replay's device.
    latest: the column describes the successor. If several steps are stored as one option, the value of the last step
        is stored, not that of the first.
    """

    shape: tuple[int, ...]
    dtype: DTypeLike
    host: bool = False
    latest: bool = False

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


class HostColumn:
    """One array, (rows, *shape), on the host."""

    def __init__(self, name: str, rows: int, column: Column) -> None:
        self._name = name
        self.data: NDArray[Any] = np.zeros((rows, *column.shape), column.dtype)

    def write(self, slots: NDArray[np.int64], values: NDArray[Any]) -> None:
        self.data[slots] = values

    def gather(self, slots: NDArray[np.int64]) -> NDArray[Any]:
        """(*slots.shape, *shape)."""
        return self.data.take(slots, axis=0)

    def state(self, rows: int) -> NDArray[Any]:
        """The first `rows` rows; shares memory."""
        return self.data[:rows]

    def load(self, state: Any, rows: int) -> None:
        """Loads `rows` rows. Raises ConfigError if shape or dtype differ."""
        self.data[:rows] = checked(self._name, state, (rows, *self.data.shape[1:]), self.data.dtype)


def shares_memory(device: torch.device) -> bool:
    """Whether NumPy can write to tensors on the device."""
    return device.type == "cpu"


class DeviceColumn:
    """One tensor, (rows, *shape), on a device. On the CPU its NumPy view is written to, which is 5 times as fast."""

    def __init__(self, name: str, rows: int, column: Column, device: torch.device) -> None:
        dtype = np.dtype(column.dtype)
        if dtype.name not in DEVICE_DTYPES:
            raise SpecError(
                f"replay: {name} has dtype {dtype}; a tensor column must have one of {', '.join(DEVICE_DTYPES)}"
            )
        self._name = name
        self._dtype = dtype
        self._shape = tuple(column.shape)
        self._view: NDArray[Any] | None = None
        if shares_memory(device):  # torch.zeros would touch every page
            self._view = np.zeros((rows, *column.shape), dtype)
            self.data = torch.from_numpy(self._view)
        else:
            empty = torch.from_numpy(np.zeros(0, dtype))
            self.data = torch.zeros((rows, *column.shape), dtype=empty.dtype, device=device)

    def write(self, slots: NDArray[np.int64], values: NDArray[Any]) -> None:
        if self._view is not None:
            self._view[slots] = values
            return
        device = self.data.device
        self.data.index_copy_(0, to_device(slots, device), to_device(np.array(values, self._dtype), device))

    def gather(self, slots: Tensor, into: tuple[int, ...]) -> Tensor:
        """(*into, *shape) for the flat `slots`, on the same device."""
        return self.data.index_select(0, slots).view(into + self._shape)

    def state(self, rows: int) -> Tensor:
        """The first `rows` rows; shares memory."""
        return self.data[:rows]

    def load(self, state: Any, rows: int) -> None:
        """Loads `rows` rows. Raises ConfigError if shape or dtype differ."""
        values = state.detach().cpu().numpy() if isinstance(state, Tensor) else state
        values = checked(self._name, values, (rows, *self.data.shape[1:]), self._dtype)
        if self._view is not None:
            self._view[:rows] = values
        else:
            self.data[:rows].copy_(torch.from_numpy(values))


class StagedColumn(DeviceColumn):
    """One tensor on the host whose rows are read on a device: gathered into pinned memory and copied from there."""

    def __init__(self, name: str, rows: int, column: Column, device: torch.device) -> None:
        super().__init__(name, rows, column, torch.device("cpu"))
        self._device = device

    def fetch(self, slots: NDArray[np.int64]) -> Tensor:
        """(*slots.shape, *shape) on the device, without waiting for the work that is queued there."""
        rows = torch.from_numpy(slots.reshape(-1))
        on_cuda = self._device.type == "cuda"
        taken = torch.empty((len(rows), *self._shape), dtype=self.data.dtype, pin_memory=on_cuda)
        torch.index_select(self.data, 0, rows, out=taken)
        return taken.to(self._device, non_blocking=on_cuda).view(slots.shape + self._shape)


STEP_COLUMNS = {"action": Column((), np.int64), "reward": Column((), np.float32), "discount": Column((), np.float32)}


class StepColumns:
    """Action, reward, discount and the declared columns of steps, one step per row."""

    def __init__(self, rows: int, extras: Mapping[str, Column], device: torch.device) -> None:
        self._steps = {name: DeviceColumn(name, rows, column, device) for name, column in STEP_COLUMNS.items()}
        self._extras: dict[str, DeviceColumn | HostColumn] = {
            name: HostColumn(name, rows, column) if column.host else DeviceColumn(name, rows, column, device)
            for name, column in extras.items()
        }

    def check(self, extras: Mapping[str, NDArray[Any]], num_envs: int) -> None:
        """Raises ConfigError unless `extras` has exactly the declared columns, (num_envs, *shape) each."""
        if extras.keys() != self._extras.keys():
            raise ConfigError(f"replay: extras {sorted(extras)} given, {sorted(self._extras)} declared")
        for name, values in extras.items():
            expected = (num_envs, *self._extras[name].data.shape[1:])
            if np.shape(values) != expected:
                raise ConfigError(f"replay: extras {name!r} has shape {np.shape(values)}, declared {expected}")

    def write(self, slots: NDArray[np.int64], step: StepBatch, extras: Mapping[str, NDArray[Any]]) -> None:
        """Stores a step of all environments, with its extras (N, *shape), in `slots` (N,)."""
        for name, column in self._steps.items():
            column.write(slots, getattr(step, name))
        self.rewrite(slots, extras)

    def rewrite(self, slots: NDArray[np.int64], extras: Mapping[str, NDArray[Any]]) -> None:
        """Replaces the extras of the rows in `slots` (K,) by `extras`, (K, *shape) each."""
        for name, values in extras.items():
            self._extras[name].write(slots, values)

    def action(self, slots: NDArray[np.int64], moved: Tensor) -> Tensor:
        """Only the actions of `gather`."""
        return self._steps["action"].gather(moved, slots.shape)

    def gather(self, slots: NDArray[np.int64], moved: Tensor) -> dict[str, Any]:
        """The fields of steps in `slots`, (*slots.shape, ...) each; `moved` is a flat copy of `slots` on the device."""
        fields: dict[str, Any] = {name: column.gather(moved, slots.shape) for name, column in self._steps.items()}
        fields["extras"] = {
            name: column.gather(slots) if isinstance(column, HostColumn) else column.gather(moved, slots.shape)
            for name, column in self._extras.items()
        }
        return fields

    def _all(self) -> dict[str, DeviceColumn | HostColumn]:
        return {**self._steps, **{f"extras/{name}": column for name, column in self._extras.items()}}

    def state(self, rows: int) -> dict[str, NDArray[Any] | Tensor]:
        """The first `rows` rows; shares memory."""
        return {name: column.state(rows) for name, column in self._all().items()}

    def load(self, state: State, rows: int) -> None:
        """Loads `rows` rows. Raises ConfigError if columns, shapes or dtypes differ."""
        columns = self._all()
        if state.keys() != columns.keys():
            raise ConfigError(f"replay state: columns {sorted(state)}, but this one has {sorted(columns)}")
        for name, column in columns.items():
            column.load(state[name], rows)


def checked(name: str, values: Any, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Returns `values` if it is an array of that shape and dtype; else raises ConfigError."""
    if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype != dtype:
        found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise ConfigError(f"replay state: {name} is {found}, but this replay has {np.dtype(dtype)} {shape}")
    return values
