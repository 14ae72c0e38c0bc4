"""The replay of off-policy agents: stores single steps and samples windows of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.devices import to_device
from rlkit.errors import ConfigError, RlkitError
from rlkit.memory import placed, require_memory
from rlkit.replay.frames import FrameLayout
from rlkit.replay.hindsight import Hindsight, Later
from rlkit.replay.prioritised import Priorities, Prioritised, SumTree
from rlkit.replay.rewrite import Compute, rewrite_columns
from rlkit.replay.ring import STEP_COLUMNS, Column, StepColumns, checked
from rlkit.replay.sequences import gather_sequences
from rlkit.replay.stacks import FrameStore
from rlkit.replay.windows import draw_uniform, occupants, window_rows
from rlkit.types import Batch, EnvSpec, Sequences, State, StepBatch, Window

_NONE = np.zeros(0, np.int64)


def replay_bytes(
    capacity: int,
    spec: EnvSpec,
    extras: Mapping[str, Column] | None = None,
    prioritised: Prioritised | None = None,
    hindsight: Hindsight | None = None,
) -> int:
    """Bytes of a full replay of `capacity` rows, host and device together. Raises SpecError as `Replay` does."""
    layout = FrameLayout(spec)
    marks = 2 if layout.size == 1 else 3  # stop, sampleable, depth
    columns = [layout.frame, *STEP_COLUMNS.values(), *(extras or {}).values()]
    columns += [] if hindsight is None else 2 * [(extras or {})[hindsight.column]]
    tree = SumTree.num_bytes(capacity) if prioritised is not None else 0
    return capacity * (marks + sum(column.row_bytes for column in columns)) + layout.frame.row_bytes + tree


def require_capacity(capacity: int, spec: EnvSpec, steps: int) -> None:
    """Raises ConfigError if `capacity` rows are too few for the rings of all environments and windows of `steps`."""
    stacks = FrameLayout(spec).size
    smallest = spec.num_envs * (stacks + steps + 2)
    if steps < 1 or capacity < smallest:
        raise ConfigError(
            f"replay_capacity: {capacity:,} with windows of {steps} steps; {spec.num_envs} environments with "
            f"stacks of {stacks} need steps >= 1 and a capacity of at least {smallest:,}"
        )


class Replay:
    """Steps of N environments, a ring for each, every frame stored once; sampled as windows of up to `steps` steps.

    A row is one step: the newest frame of the observation before it, its action, raw reward, discount and extras. The
    observation after a step is that of the next row. When an episode ends, its final observation gets a row of its
    own, which is never sampled. So every step can be sampled at once, also the newest, with its true successor: the
    episode may have continued, terminated or been truncated. Rows whose stacks contain overwritten frames are not
    sampled.

    capacity: total number of rows, rounded down to a multiple of N. An episode takes one row more than it has steps.
    extras: columns stored with each step.
    device: where frames, actions, rewards, discounts and columns are stored, and where windows are returned. Frames are
        stored on the host if the device is too small.
    rng: the only source of randomness of `sample`; its state is saved with the replay.
    prioritised: sample by temporal-difference error instead of uniformly.
    hindsight: the column of bits, bool (G,), that `later` returns; it is stored twice.

    Raises ConfigError for a capacity too small for N rings, CapacityError for one that does not fit into memory, and
    SpecError for observations that are not arrays of a dtype that torch supports.
    """

    def __init__(
        self,
        capacity: int,
        spec: EnvSpec,
        *,
        steps: int = 1,
        extras: Mapping[str, Column] | None = None,
        device: torch.device,
        rng: np.random.Generator,
        prioritised: Prioritised | None = None,
        hindsight: Hindsight | None = None,
    ) -> None:
        layout = FrameLayout(spec)
        self._num_envs = spec.num_envs
        require_capacity(capacity, spec, steps)
        self._capacity = capacity - capacity % self._num_envs
        num_bytes = replay_bytes(self._capacity, spec, extras, prioritised, hindsight)
        home = placed(num_bytes, device)
        require_memory(num_bytes, f"a replay of {self._capacity:,} steps", home, self._capacity)
        self._steps = steps
        self._device = device
        self._rng = rng
        self._keeps_newest = layout.size > 1 and home == device and device.type != "cpu"
        self._frames = FrameStore(layout, self._capacity, self._num_envs, device, home)
        self._columns = StepColumns(self._capacity, extras or {}, device)
        self._stop = np.zeros(self._capacity, np.bool_)  # a window ends with this step
        self._sampleable = np.zeros(self._capacity, np.bool_)  # this row can be sampled
        self._count = 0
        self._ones = torch.zeros(0)  # weights of uniform batches, reused; never written to
        self._newest = np.arange(self._num_envs) - self._num_envs  # (N,) write number of the newest frame
        self._ended = np.ones(self._num_envs, np.bool_)  # (N,) the newest frame ended an episode, or there is none
        self._cut = np.zeros(self._num_envs, np.bool_)  # (N,) windows end with the newest step
        self._priorities = None if prioritised is None else Priorities(prioritised, self._capacity)
        self._later = None if hindsight is None else Later(hindsight, extras or {}, self._capacity, self._num_envs)

    def __len__(self) -> int:
        """Number of steps that can be sampled now."""
        return self._count

    @property
    def capacity(self) -> int:
        """Total number of rows, a multiple of N."""
        return self._capacity

    @property
    def device(self) -> torch.device:
        """Where windows are returned."""
        return self._device

    @property
    def fill(self) -> float:
        """Fraction of the capacity in use, 0..1."""
        rows = self._newest // self._num_envs + 1
        return float(np.minimum(rows, self._capacity // self._num_envs).sum()) / self._capacity

    def add(
        self,
        step: StepBatch,
        extras: Mapping[str, NDArray[Any]] | None = None,
        cut: NDArray[np.bool_] | None = None,
    ) -> None:
        """Stores one step of all environments.

        extras: (N, *shape) for each declared column. cut: (N,) windows end with this step, as if the episode had been
        truncated here. `step.before` is read only if an episode begins. An episode may begin although the last step
        did not end one; windows and stacks do not cross that boundary either.
        """
        extras = {} if extras is None else extras
        self._columns.check(extras, self._num_envs)
        head, lost = self._newest, _NONE  # (N,) rows of this step; their frames are stored, unless an episode begins
        begins = step.before.first | self._ended
        if np.count_nonzero(begins):
            head = head + self._num_envs * begins
            rows = np.flatnonzero(begins)
            lost = self._write_frames(head[rows], step.before.obs[rows], begins=True)
        slots = head % self._capacity
        # the mark of the newest step was provisional; if an episode begins, this is the mark of a final frame, unused
        self._stop[slots - self._num_envs] = self._cut
        self._stop[slots] = True
        self._sampleable[slots] = True
        self._count += self._num_envs
        self._columns.write(slots, step, extras)
        self._newest = head + self._num_envs
        lost_ahead = self._write_frames(self._newest, step.after.obs, begins=False)
        self._ended = step.ended
        self._cut = np.zeros_like(self._ended) if cut is None else cut.copy()
        if self._priorities is not None:
            self._priorities.add(slots, np.concatenate((lost, lost_ahead)))
        if self._later is not None:
            self._later.add(head, begins, step.ended | (step.discount == 0), extras)

    def _write_frames(self, index: NDArray[np.int64], obs: NDArray[Any], *, begins: bool) -> NDArray[np.int64]:
        """Writes the newest frames of `obs` (K, *O) to the rows `index` (K,); returns slots no longer sampleable."""
        broken = self._frames.write(index, obs, begins=begins)
        lost = broken[self._sampleable[broken]]
        self._sampleable[lost] = False
        self._count -= len(lost)
        return lost

    def sample(self, batch_size: int, beta: float = 0.0) -> Batch:
        """Draws `batch_size` steps as `draw` does, and returns the windows that begin with them."""
        index, weight = self.draw(batch_size, beta)
        return Batch(self.window(index), index, weight)

    def draw(self, batch_size: int, beta: float = 0.0) -> tuple[NDArray[np.int64], Tensor]:
        """Draws `batch_size` sampleable steps with replacement: their write numbers and importance weights, (B,) each.

        beta: exponent of the importance weights, 0 (none) to 1 (full); no effect where sampling is uniform.
        Raises RlkitError while the replay is empty.
        """
        if not self._count:
            raise RlkitError("replay: nothing to sample yet; add a step first")
        if self._priorities is None:
            slots = draw_uniform(self._sampleable, self._filled(), self._count, batch_size, self._rng)
            weight = self._ones if len(self._ones) == batch_size else torch.ones(batch_size, device=self._device)
            self._ones = weight
        else:
            slots = self._priorities.draw(batch_size, self._rng)
            weight = to_device(self._priorities.weights(slots, beta), self._device)
        return occupants(slots, self._newest, self._capacity), weight

    def sampleable(self) -> NDArray[np.int64]:
        """(len,) the write numbers of all steps that can be sampled now, ascending."""
        index = occupants(np.flatnonzero(self._sampleable), self._newest, self._capacity)
        index.sort()
        return index

    def rewrite(self, names: Collection[str], compute: Compute) -> dict[str, NDArray[Any]]:
        """Recomputes the columns `names` of all sampleable steps and returns everything that `compute` gives.

        `compute(index, obs, action, next_obs)` is called with chunks in the order in which the steps were made, (K,),
        (K, *O), (K,) and (K, *O), and returns arrays (K, ...) by name. Those in `names` are stored; all of them are
        returned, (len, ...), in the order of `sampleable`.
        """
        index = self.sampleable()
        return rewrite_columns(self._frames, self._columns, index, index % self._capacity, index, names, compute)

    def latest(self, env: int | None = None, count: int = 1) -> NDArray[np.int64]:
        """(N,) the write numbers of the newest steps; with `env` those of its last `count` steps that can be sampled.

        These are ascending; all must be of one episode.
        """
        newest: NDArray[np.int64] = self._newest - self._num_envs
        if env is None:
            return newest
        index: NDArray[np.int64] = (
            newest[env] - self._num_envs * np.arange(min(count, self._capacity // self._num_envs))[::-1]
        )
        slots = index % self._capacity
        present = self._sampleable[slots] & (occupants(slots, self._newest, self._capacity) == index)
        kept: NDArray[np.int64] = index[present]
        return kept

    def store(self, index: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> None:
        """Replaces the columns (B, ...) of the steps `index` (B,), which must be sampleable."""
        self._columns.rewrite(index % self._capacity, columns)

    def window(self, index: NDArray[np.int64]) -> Window:
        """The windows that begin at the steps `index` (B,), which must be sampleable."""
        slots, steps = window_rows(index, self._steps, self._stop, self._num_envs)  # (B, n), (B,)
        frames = self._frames.slots(np.concatenate((index, index + self._num_envs * steps)))  # (2B, size)
        # one array, for one transfer to the device
        moved = to_device(np.concatenate((slots.reshape(-1), steps, frames.reshape(-1))), self._device)
        rows, counted, held = torch.split(moved, [slots.size, len(index), frames.size])
        obs = self._frames.join(frames, held)
        fields = self._columns.gather(slots, rows)
        return Window(obs=obs[: len(index)], steps=counted, next_obs=obs[len(index) :], **fields)

    def sequences(self, index: NDArray[np.int64], length: int, lead: int = 0) -> Sequences:
        """The `length` steps that begin at each of `index` (B,), which must be sampleable; for recurrent learners.

        lead: number of steps before `index` that come first, as far as they are stored and belong to the same episode.

        Like a window, a sequence ends at its episode's end, at a cut and at the newest step; `mask` says which steps
        are valid. `draw` samples an `index`, of which every sequence has at least one valid step. If the policy's
        recurrent state is a declared column, extras[name][:, 0] is the state to start from, at the first valid step.
        """
        _, steps = window_rows(index, length, self._stop, self._num_envs)  # (B,)
        before = self._steps_before(index, lead)
        first = self.begins(index - self._num_envs * before)
        return gather_sequences(self._frames, self._columns, index, before, steps, first, lead, length)

    def _steps_before(self, index: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """(B,) how many of the `most` steps before `index` (B,) can be sampled, in a row and in its episode."""
        rows = index[:, None] - self._num_envs * np.arange(1, most + 1)  # (B, most), the nearest first
        slots = (rows % self._capacity).reshape(-1)
        present = (occupants(slots, self._newest, self._capacity) == rows.reshape(-1)) & (rows.reshape(-1) >= 0)
        goes_on = present & self._sampleable[slots] & ~self._stop[slots]
        count: NDArray[np.int64] = np.logical_and.accumulate(goes_on.reshape(rows.shape), axis=1).sum(1)
        return count

    def begins(self, index: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(B,) whether the steps `index` (B,) are known to begin an episode."""
        begins = self._frames.begins(index)
        if begins is None:  # not stacks: an episode begins after a row that is not sampleable
            before = index - self._num_envs
            present = occupants(before % self._capacity, self._newest, self._capacity) == before
            begins = (before < 0) | present & ~self._sampleable[before % self._capacity]
        return begins

    @property
    def keeps_newest(self) -> bool:
        """Whether `newest` saves a transfer: observations are stacks, and the frames are stored on an accelerator."""
        return self._keeps_newest

    def newest(self) -> Tensor:
        """(N, *O) the observations after the newest step, on the device, from frames that are stored there."""
        return self._frames.observations(self._newest)

    def _filled(self) -> int:
        """Number of slots in use, rounded up to a multiple of N."""
        return min(self._capacity, (int(self._newest.max()) // self._num_envs + 1) * self._num_envs)

    def update_priorities(self, index: NDArray[np.int64], td_error: Tensor) -> None:
        """Applies the errors of the previous call; `td_error` (B,) for `index` (B,) is applied by the next call.

        So a learner never waits for its device, and results do not depend on the device. Errors of steps that were
        overwritten since they were sampled are dropped; if a step occurs more than once, its last error counts. Does
        nothing if sampling is uniform. Raises RlkitError if an applied error is not finite.
        """
        if self._priorities is None:
            return
        applied = self._priorities.exchange(index, td_error)
        if applied is not None:
            index, values = applied
            slots = index % self._capacity
            present = self._sampleable[slots] & (occupants(slots, self._newest, self._capacity) == index)
            self._priorities.tree.set(slots[present], values[present])

    def later(self, index: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(B, G) bits that were set from the steps `index` (B,) to the end of their episodes; see `Hindsight`."""
        if self._later is None:
            raise RlkitError("replay: `later` needs a replay that was made with `hindsight`")
        return self._later(index)

    def state_dict(self) -> State:
        """The full state, with random state and pending priorities; only filled rows. Shares memory."""
        rows = self._filled()
        return {
            "capacity": self._capacity,
            "num_envs": self._num_envs,
            "newest": self._newest,
            "ended": self._ended,
            "cut": self._cut,
            "stop": self._stop[:rows],
            "playable": self._sampleable[:rows],
            **self._frames.state(rows),
            "columns": self._columns.state(rows),
            "priorities": None if self._priorities is None else self._priorities.state(rows),
            "later": None if self._later is None else self._later.state(rows),
            "rng": self._rng.bit_generator.state,
        }

    def take(self, state: State) -> None:
        """Takes over the steps of another replay, but not its random state. Raises as `load_state_dict`."""
        self.load_state_dict({**state, "rng": self._rng.bit_generator.state})

    def load_state_dict(self, state: State) -> None:
        """Loads the state of a replay with the same capacity, N, observations, columns and kind of sampling.

        Raises ConfigError if one of them differs; the replay must not be used after that.
        """
        for name, own in (("capacity", self._capacity), ("num_envs", self._num_envs)):
            if state[name] != own:
                raise ConfigError(f"replay state: {name} is {state[name]:,}, but this replay has {own:,}")
        if (state["priorities"] is None) != (self._priorities is None):
            raise ConfigError("replay state: one replay is prioritised, the other samples uniformly")
        n = self._num_envs
        self._newest = checked("newest", state["newest"], (n,), np.int64).copy()
        self._ended = checked("ended", state["ended"], (n,), np.bool_).copy()
        self._cut = checked("cut", state["cut"], (n,), np.bool_).copy()
        rows = self._filled()
        self._stop[:rows] = checked("stop", state["stop"], (rows,), np.bool_)
        self._sampleable[:] = False
        self._sampleable[:rows] = checked("playable", state["playable"], (rows,), np.bool_)
        self._count = int(np.count_nonzero(self._sampleable))
        self._frames.load(state, rows)
        self._columns.load(state["columns"], rows)
        if self._priorities is not None:
            self._priorities.load(state["priorities"], rows)
        if self._later is not None:
            self._later.load(state["later"], rows)
        try:
            self._rng.bit_generator.state = state["rng"]
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"replay state: the random state does not fit {self._rng}: {error}") from error
