"""What a chooser of options learns from: an observation, a choice, what it brought, and where it led."""

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
_OWN_BYTES = 8 + 1  # next, playable


def option_bytes(capacity: int, spec: EnvSpec, extras: Mapping[str, Column] | None = None) -> int:
    """What a full store of `capacity` observations takes. Raises as `OptionStore` does, but for its size."""
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
    """Finished options of N environments in one ring; each observation, a stack as a whole, is kept once.

    A row is an observation at which an option began or ended. Where an option follows another the row is both, so an
    episode takes one row more than it has options. Options last differently long, so rows of the environments mix;
    an option points to its last row, which is always newer, and can be drawn as long as its first one is there.

    capacity: rows; the oldest go. extras: columns stored with each option. Everything lies on the host, and batches are
    moved to `device`: options are few, and learned from seldom.

    Raises ConfigError for a capacity below 2 N, CapacityError for one that does not fit into memory, and SpecError for
    observations that are no arrays.
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
        self._columns = {name: HostColumn(name, capacity, extra) for name, extra in {**_COLUMNS, **extras}.items()}
        self._next = np.zeros(capacity, np.int64)  # the write number of the row that an option led to
        self._playable = np.zeros(capacity, np.bool_)  # an option begins here, and is finished
        self._written = 0  # rows so far: the next one's write number
        self._total = 0
        self._began = np.full(spec.num_envs, -1, np.int64)  # (N,) the row of each environment's newest observation

    def __len__(self) -> int:
        """How many options can be drawn now."""
        return int(np.count_nonzero(self._playable))

    @property
    def total(self) -> int:
        """Options stored so far, those that were overwritten included."""
        return self._total

    @property
    def fill(self) -> float:
        """Share of the rows in use, 0..1."""
        return min(self._written, self._capacity) / self._capacity

    @property
    def unplaced(self) -> NDArray[np.bool_]:
        """(N,) where no option has led to the observation at which the environment stands: `begin` is due."""
        unplaced: NDArray[np.bool_] = self._began < 0
        return unplaced

    def begin(self, envs: NDArray[np.int64], obs: NDArray[Any]) -> None:
        """Environments `envs` (K,) stand at observations `obs` (K, *O) that no option has led to."""
        self._began[envs] = self._write(obs)

    def _write(self, obs: NDArray[Any]) -> NDArray[np.int64]:
        rows = self._written + np.arange(len(obs))
        slots = rows % self._capacity
        self._obs.write(slots, obs)
        self._playable[slots] = False
        self._written += len(obs)
        return rows

    def add(
        self,
        envs: NDArray[np.int64],
        obs: NDArray[Any],
        columns: Mapping[str, NDArray[Any]],
        ended: NDArray[np.bool_],
    ) -> None:
        """The options of environments `envs` (K,) ended at `obs` (K, *O), where their next ones begin unless `ended`.

        columns: choice (K,), reward (K,), discount (K,), the factor of the value of `obs`, and the extras. ended (K,):
        their episodes. An option whose first observation is not here, or was overwritten, is dropped.
        """
        rows = self._began[envs]
        ends = self._write(obs)
        self._began[envs] = np.where(ended, -1, ends)
        kept = (rows >= 0) & (rows >= self._written - self._capacity)
        slots = rows[kept] % self._capacity
        for name, column in self._columns.items():
            column.write(slots, columns[name][kept])
        self._next[slots] = ends[kept]
        self._playable[slots] = True
        self._total += len(slots)

    def sample(self, batch_size: int) -> Window:
        """Draws options uniformly, with replacement, as windows of one step, (B, 1). Raises RlkitError where empty."""
        count = len(self)
        if not count:
            raise RlkitError("options: nothing to sample yet; finish an option first")
        filled = min(self._written, self._capacity)
        return self.window(draw_uniform(self._playable, filled, count, batch_size, self._rng))

    def sampleable(self) -> NDArray[np.int64]:
        """(len,) the slots of all options that can be drawn now, ordered by when they began."""
        slots = np.flatnonzero(self._playable)
        oldest = self._written % self._capacity if self._written > self._capacity else 0
        return slots[np.argsort((slots - oldest) % self._capacity)]

    def window(self, slots: NDArray[np.int64]) -> Window:
        """The options that begin in `slots` (B,)."""
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
        """Everything, the random state included; arrays as far as filled. Shares memory."""
        rows = min(self._written, self._capacity)
        return {
            "capacity": self._capacity,
            "written": self._written,
            "total": self._total,
            "began": self._began,
            "next": self._next[:rows],
            "playable": self._playable[:rows],
            "observations": self._obs.state(rows),
            "columns": {name: column.state(rows) for name, column in self._columns.items()},
            "rng": self._rng.bit_generator.state,
        }

    def load_state_dict(self, state: State) -> None:
        """Takes over the state of a store of the same capacity, N, observations and extras. Else raises ConfigError."""
        if state["capacity"] != self._capacity or state["columns"].keys() != self._columns.keys():
            raise ConfigError(
                f"options' state: {state['capacity']:,} rows of {sorted(state['columns'])}, "
                f"but this store has {self._capacity:,} of {sorted(self._columns)}"
            )
        self._written, self._total = int(state["written"]), int(state["total"])
        rows = min(self._written, self._capacity)
        self._began = checked("began", state["began"], self._began.shape, np.int64).copy()
        self._next[:rows] = checked("next", state["next"], (rows,), np.int64)
        self._playable[:] = False
        self._playable[:rows] = checked("playable", state["playable"], (rows,), np.bool_)
        self._obs.load(state["observations"], rows)
        for name, column in self._columns.items():
            column.load(state["columns"][name], rows)
        self._rng.bit_generator.state = state["rng"]
