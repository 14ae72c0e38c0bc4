"""SMDP replay of option transitions: observation, chosen option, its return and discount, next observation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.errors import ConfigError, RlkitError, SpecError
from rlkit.memory import require_memory
from rlkit.replay.ring import Column, HostColumn, StagedColumn, checked
from rlkit.replay.windows import draw_uniform
from rlkit.types import EnvSpec, State, Window

_COLUMNS = {"choice": Column((), np.int64), "reward": Column((), np.float32), "discount": Column((), np.float32)}
_OWN_BYTES = 8 + 1  # next, sampleable


def option_bytes(capacity: int, spec: EnvSpec, extras: Mapping[str, Column] | None = None) -> int:
    """Bytes of a full store of `capacity` observations. Raises as `OptionStore` does, but not CapacityError."""
    if capacity < 2 * spec.num_envs:
        raise ConfigError(
            f"options: a capacity of {capacity:,} is too small; {spec.num_envs} environments need "
            f"at least {2 * spec.num_envs:,}"
        )
    columns = [_observation(spec), *_COLUMNS.values(), *(extras or {}).values()]
    return capacity * (_OWN_BYTES + sum(column.row_bytes for column in columns))


def _observation(spec: EnvSpec) -> Column:
    space = spec.observation_space
    if space.shape is None or space.dtype is None:
        raise SpecError(f"options: observations must be arrays of one shape and dtype, not {space}")
    return Column(tuple(space.shape), space.dtype)


class OptionStore:
    """Finished options of N environments in one ring; each observation, with its whole stack, is stored once.

    A row is an observation at which an option began or ended. If one option follows another, they share a row, so an
    episode takes one row more than it has options. Options differ in length, so the rows of the environments are mixed:
    each option stores the write number of the row at which it ended. That row is newer than the one at which it began,
    so an option can be sampled until its first row is overwritten.

    capacity: number of rows; the oldest are overwritten. extras: columns stored with each option. Everything is stored
    on the host and batches are copied to `device`, since options are few and rarely sampled.

    Raises ConfigError for a capacity below 2 N, CapacityError for one that does not fit into memory, and SpecError for
    observations that are not arrays.
    """

    def __init__(
        self,
        capacity: int,
        spec: EnvSpec,
        *,
        extras: Mapping[str, Column],
        device: torch.device,
        rng: np.random.Generator,
    ) -> None:
        size = option_bytes(capacity, spec, extras)
        require_memory(size, f"a store of {capacity:,} options", torch.device("cpu"), capacity)
        self._capacity = capacity
        self._device = device
        self._rng = rng
        self._obs = StagedColumn("observation", capacity, _observation(spec), device)
        self._columns = {name: HostColumn(name, capacity, column) for name, column in {**_COLUMNS, **extras}.items()}
        self._next = np.zeros(capacity, np.int64)  # write number of the row at which the option ended
        self._sampleable = np.zeros(capacity, np.bool_)  # an option began here, and is finished
        self._written = 0  # rows so far, which is the next write number
        self._total = 0
        self._began = np.full(
            spec.num_envs, -1, np.int64
        )  # (N,) row at which each environment's option began; -1: none

    def __len__(self) -> int:
        """Number of options that can be sampled now."""
        return int(np.count_nonzero(self._sampleable))

    @property
    def total(self) -> int:
        """Number of options stored so far, including those that were overwritten."""
        return self._total

    @property
    def fill(self) -> float:
        """Fraction of the rows in use, 0..1."""
        return min(self._written, self._capacity) / self._capacity

    @property
    def unplaced(self) -> NDArray[np.bool_]:
        """(N,) environments whose current observation is not stored: call `begin` for them."""
        unplaced: NDArray[np.bool_] = self._began < 0
        return unplaced

    def begin(self, envs: NDArray[np.int64], obs: NDArray[Any]) -> None:
        """Stores observations `obs` (K, *O) at which options of the environments `envs` (K,) begin.

        For the first option of an episode; the later ones begin where `add` says that the one before ended.
        """
        self._began[envs] = self._write(obs)

    def _write(self, obs: NDArray[Any]) -> NDArray[np.int64]:
        rows = self._written + np.arange(len(obs))
        slots = rows % self._capacity
        self._obs.write(slots, obs)
        self._sampleable[slots] = False
        self._written += len(obs)
        return rows

    def add(
        self,
        envs: NDArray[np.int64],
        obs: NDArray[Any],
        columns: Mapping[str, NDArray[Any]],
        ended: NDArray[np.bool_],
    ) -> None:
        """Stores the options of environments `envs` (K,) that ended at `obs` (K, *O); the next ones begin there.

        columns: choice (K,), reward (K,), discount (K,), which multiplies the value of `obs`, and the declared columns.
        ended (K,): the episode is over, and no option follows. An option is dropped if its first observation was not
        stored or was overwritten.
        """
        rows = self._began[envs]
        ends = self._write(obs)
        self._began[envs] = np.where(ended, -1, ends)
        kept = (rows >= 0) & (rows >= self._written - self._capacity)
        slots = rows[kept] % self._capacity
        for name, column in self._columns.items():
            column.write(slots, columns[name][kept])
        self._next[slots] = ends[kept]
        self._sampleable[slots] = True
        self._total += len(slots)

    def sample(self, batch_size: int) -> Window:
        """Draws options uniformly with replacement, as windows of one step, (B, 1). Raises RlkitError if empty."""
        count = len(self)
        if not count:
            raise RlkitError("options: nothing to sample yet; finish an option first")
        filled = min(self._written, self._capacity)
        return self.window(draw_uniform(self._sampleable, filled, count, batch_size, self._rng))

    def sampleable(self) -> NDArray[np.int64]:
        """(len,) slots of all options that can be sampled now, the oldest first."""
        slots = np.flatnonzero(self._sampleable)
        age = (slots - self._written) % self._capacity
        return slots[np.argsort(age)]

    def window(self, slots: NDArray[np.int64]) -> Window:
        """The options that began in `slots` (B,)."""
        obs = self._obs.fetch(np.concatenate((slots, self._next[slots] % self._capacity)))  # (2B, *O)
        taken = {name: column.gather(slots[:, None]) for name, column in self._columns.items()}
        choice, reward, discount = (self._moved(taken.pop(name)) for name in _COLUMNS)
        return Window(
            obs=obs[: len(slots)],
            action=choice,
            reward=reward,
            discount=discount,
            steps=torch.ones(len(slots), dtype=torch.int64, device=self._device),
            next_obs=obs[len(slots) :],
            extras=taken,
        )

    def _moved(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self._device)

    def state_dict(self) -> State:
        """The full state, with the random state; only filled rows. Shares memory."""
        rows = min(self._written, self._capacity)
        return {
            "capacity": self._capacity,
            "written": self._written,
            "total": self._total,
            "began": self._began,
            "next": self._next[:rows],
            "playable": self._sampleable[:rows],
            "observations": self._obs.state(rows),
            "columns": {name: column.state(rows) for name, column in self._columns.items()},
            "rng": self._rng.bit_generator.state,
        }

    def take(self, state: State) -> None:
        """Takes over the options of another store; they do not count in `total`. Raises as `load_state_dict`."""
        self.load_state_dict({**state, "rng": self._rng.bit_generator.state})
        self._total = 0
        self._began[:] = -1

    def load_state_dict(self, state: State) -> None:
        """Loads the state of a store with the same capacity, N, observations and columns; else raises ConfigError."""
        if state["capacity"] != self._capacity or state["columns"].keys() != self._columns.keys():
            raise ConfigError(
                f"options' state: {state['capacity']:,} rows of {sorted(state['columns'])}, "
                f"but this store has {self._capacity:,} of {sorted(self._columns)}"
            )
        self._written, self._total = int(state["written"]), int(state["total"])
        rows = min(self._written, self._capacity)
        self._began = checked("began", state["began"], self._began.shape, np.int64).copy()
        self._next[:rows] = checked("next", state["next"], (rows,), np.int64)
        self._sampleable[:] = False
        self._sampleable[:rows] = checked("playable", state["playable"], (rows,), np.bool_)
        self._obs.load(state["observations"], rows)
        for name, column in self._columns.items():
            column.load(state["columns"][name], rows)
        self._rng.bit_generator.state = state["rng"]
