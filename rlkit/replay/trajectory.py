"""The store of on-policy agents: collects T steps of N environments and returns them as one batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.devices import to_device
from rlkit.errors import ConfigError, RlkitError
from rlkit.memory import require_memory
from rlkit.replay.frames import FrameLayout
from rlkit.replay.rewrite import Compute, rewrite_columns
from rlkit.replay.ring import STEP_COLUMNS, Column, StepColumns, checked
from rlkit.replay.stacks import FrameStore
from rlkit.types import EnvSpec, State, StepBatch, Window


@dataclass(frozen=True, slots=True)
class TrajectoryBatch:
    """T consecutive steps of N environments; tensors on the learner's device."""

    obs: Tensor  #: (T, N, *O) before each step
    action: Tensor  #: (T, N) int64
    reward: Tensor  #: (T, N) float32, raw
    discount: Tensor  #: (T, N) float32: 0 if nothing is bootstrapped (termination), else 1, also at a truncation
    first: Tensor  #: (T, N) bool: an episode begins with this step
    ended: Tensor  #: (T, N) bool: the next row belongs to another episode; in the last row: the episode is over
    #: (N + K, *O) the true successors that are not in `obs`: those of the last row, then those of the K earlier steps
    #: that ended an episode. `next_values` puts their values where they belong
    successors: Tensor
    final: Tensor  #: (K,) int64: these K steps, as t * N + environment; `next_values` uses them
    extras: Mapping[str, Tensor | NDArray[Any]]  #: (T, N, ...) each

    def next_values(self, values: Tensor, successor_values: Tensor) -> Tensor:
        """(T, N, ...) values of the true successors, from values of `obs` (T, N, ...) and of `successors` (N + K, ...).

        So no observation is evaluated twice. For `obs` and `successors` themselves it returns the observations after
        each step, (T, N, *O).
        """
        num_envs = values.shape[1]
        following = torch.cat((values[1:].flatten(0, 1), successor_values[:num_envs]))  # (T * N, ...)
        return following.index_copy(0, self.final, successor_values[num_envs:]).view_as(values)

    def windows(self) -> Window:
        """The steps as T * N windows of one step, in the order of `obs.flatten(0, 1)`, as a bonus takes them."""
        column = {name: getattr(self, name).view(-1, 1) for name in ("action", "reward", "discount")}
        return Window(
            obs=self.obs.flatten(0, 1),
            **column,
            steps=torch.ones_like(column["action"][:, 0]),
            next_obs=self.next_values(self.obs, self.successors).flatten(0, 1),
            extras={name: values.reshape(-1, 1, *values.shape[2:]) for name, values in self.extras.items()},
        )


def trajectory_bytes(length: int, spec: EnvSpec, extras: Mapping[str, Column] | None = None) -> int:
    """Bytes that a `Trajectory` and the batch taken from it need at most. Raises SpecError as `Trajectory` does."""
    layout = FrameLayout(spec)
    steps, rows = length * spec.num_envs, _rows(length, layout, spec.num_envs)
    step_bytes = 2 + sum(column.row_bytes for column in (*STEP_COLUMNS.values(), *(extras or {}).values()))
    batch = 2 * steps * (layout.size * layout.frame.row_bytes) + steps * step_bytes
    return rows * (layout.frame.row_bytes + (layout.size > 1)) + steps * (8 + step_bytes) + batch


def _rows(length: int, layout: FrameLayout, num_envs: int) -> int:
    """Rows for the newest stack of each environment and two frames per step: if an episode begins, it needs both."""
    return num_envs * (layout.size + 2 * length)


class Trajectory:
    """Collects `length` steps of N environments: `add` until `full`, then `take` all of them as tensors.

    Each frame is stored once; `take` rebuilds the stacks. The final frame of an episode has a row of its own, so every
    step has its true successor, and values can be bootstrapped at truncations.

    The trainer sends the next actions before the agent learns. That step in flight is the first of the next trajectory,
    although the parameters from before the update chose its action. So store with each step what the update needs to
    know of those parameters, such as the log-probability of the action.

    length: number of steps of each environment.
    extras: columns stored with each step.
    device: where steps are stored and returned, except for columns with `host=True`.

    Raises ConfigError for a length below 1, CapacityError for one that does not fit into memory, and SpecError for
    observations that are not arrays of a dtype that torch supports.
    """

    def __init__(
        self, length: int, spec: EnvSpec, *, extras: Mapping[str, Column] | None = None, device: torch.device
    ) -> None:
        if length < 1:
            raise ConfigError(f"trajectory: a length of {length} steps is too small; give 1 or more")
        what = f"a trajectory of {length:,} steps of {spec.num_envs} environments"
        require_memory(trajectory_bytes(length, spec, extras), what, device)
        layout = FrameLayout(spec)
        self._length = length
        self._device = device
        self._envs = np.arange(spec.num_envs)
        self._frames = FrameStore(layout, _rows(length, layout, spec.num_envs), spec.num_envs, device, device)
        self._columns = StepColumns(length * spec.num_envs, extras or {}, device)
        self._steps = 0
        self._row = np.zeros((length, spec.num_envs), np.int64)  # (T, N) row of the frame before each step
        self._first = np.zeros((length, spec.num_envs), np.bool_)
        self._start = self._envs + spec.num_envs * (layout.size - 1)  # (N,) rows of the newest frames after `take`
        self._newest = self._start
        self._ended = np.ones(spec.num_envs, np.bool_)  # (N,) the newest frame ended an episode, or there is none

    def __len__(self) -> int:
        """Number of steps of each environment so far."""
        return self._steps

    @property
    def length(self) -> int:
        """T, the steps of each environment."""
        return self._length

    @property
    def full(self) -> bool:
        return self._steps == self._length

    def add(self, step: StepBatch, extras: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Stores one step of all environments; extras: (N, *shape) for each declared column.

        `step.before` is read only if an episode begins, which may happen although the last step did not end one.
        Raises RlkitError if the trajectory is full.
        """
        if self.full:
            raise RlkitError(f"trajectory: it has its {self._length} steps; call take() before the next add()")
        extras = {} if extras is None else extras
        self._columns.check(extras, len(step.action))
        begins = step.before.first | self._ended
        row = self._newest + len(begins) * begins
        rows = np.flatnonzero(begins)
        if len(rows):
            self._frames.write(row[rows], step.before.obs[rows], begins=True)
        self._columns.write(self._steps * len(begins) + self._envs, step, extras)
        self._row[self._steps], self._first[self._steps] = row, begins
        self._newest = row + len(begins)
        self._frames.write(self._newest, step.after.obs, begins=False)
        self._ended = step.ended
        self._steps += 1

    def take(self) -> TrajectoryBatch:
        """Returns all steps and begins the next trajectory. Raises RlkitError if this one is not full."""
        if not self.full:
            raise RlkitError(f"trajectory: it has {self._steps} of {self._length} steps; take() needs all of them")
        ended = np.concatenate((self._first[1:], self._ended[None]))
        final = np.flatnonzero(ended[:-1])
        row, num_envs = self._row.reshape(-1), len(self._envs)
        obs = self._frames.observations(np.concatenate((row, self._newest, row[final] + num_envs)))
        slots = np.arange(len(row)).reshape(ended.shape)
        batch = TrajectoryBatch(
            obs=obs[: len(row)].view(*ended.shape, *obs.shape[1:]),
            first=self._moved(self._first.copy()),
            ended=self._moved(ended),
            successors=obs[len(row) :],
            final=self._moved(final),
            **self._columns.gather(slots, self._moved(slots.reshape(-1))),
        )
        self._frames.restart(self._newest)
        self._newest, self._steps = self._start, 0
        return batch

    def rewrite(self, names: Collection[str], compute: Compute) -> dict[str, NDArray[Any]]:
        """Recomputes the columns `names` of all steps so far and returns everything that `compute` gives.

        As `Replay.rewrite`; the index of step t of environment e is t * N + e.
        """
        rows = self._row[: self._steps].reshape(-1)
        index = np.arange(len(rows))
        return rewrite_columns(self._frames, self._columns, index, index, rows, names, compute)

    def begins(self, index: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(K,) whether an episode begins with the steps `index` (K,), numbered as by `rewrite`."""
        return self._first.reshape(-1)[index]

    def _moved(self, values: NDArray[Any]) -> Tensor:
        return to_device(values, self._device)

    def state_dict(self) -> State:
        """The full state; only filled rows. Shares memory."""
        return {
            "length": self._length,
            "steps": self._steps,
            "newest": self._newest,
            "ended": self._ended,
            "row": self._row[: self._steps],
            "first": self._first[: self._steps],
            **self._frames.state(self._filled()),
            "columns": self._columns.state(self._steps * len(self._envs)),
        }

    def _filled(self) -> int:
        """Number of rows in use, rounded up to a multiple of N."""
        return int(self._newest.max()) // len(self._envs) * len(self._envs) + len(self._envs)

    def load_state_dict(self, state: State) -> None:
        """Loads the state of a trajectory with the same length, N, observations and columns; else ConfigError."""
        if state["length"] != self._length:
            raise ConfigError(f"trajectory state: length is {state['length']}, but this one has {self._length}")
        shape = (int(state["steps"]), len(self._envs))
        self._frames.clear(self._filled())
        self._newest = checked("newest", state["newest"], shape[1:], np.int64)
        self._ended = checked("ended", state["ended"], shape[1:], np.bool_)
        self._steps = shape[0]
        self._row[: self._steps] = checked("row", state["row"], shape, np.int64)
        self._first[: self._steps] = checked("first", state["first"], shape, np.bool_)
        self._frames.load(state, self._filled())
        self._columns.load(state["columns"], self._steps * len(self._envs))
