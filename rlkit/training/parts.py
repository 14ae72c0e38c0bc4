"""The closed parts of an action log: their files, which of them are kept, and the removal of the others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlkit.files import sync_directory, write
from rlkit.types import RawStep, State

NAME = re.compile(r"env(\d{4,})-step(\d{12,})-seed(\d+)(?:-check([0-9a-f]{8}))?(-kept)?\.npy")


@dataclass(frozen=True, slots=True)
class Part:
    """The actions of one environment since a seed, (T,) int32 in a .npy file."""

    env: int  # index of the environment
    first: int  # row of its first action: the number of actions of this environment before it
    seed: int  # with which the environment was reset before it
    check: int | None  # the checksum of its rows (`RowHash`), which a playback must reach; version 0.1.0 wrote none
    kept: bool  # never removed: it contains a notable episode
    path: Path

    @classmethod
    def of(cls, folder: Path, env: int, first: int, seed: int, check: int, kept: bool) -> Part:
        name = f"env{env:04d}-step{first:012d}-seed{seed}-check{check:08x}{'-kept' if kept else ''}.npy"
        return cls(env, first, seed, check, kept, folder / name)

    def write(self, actions: NDArray[np.int64]) -> None:
        """Writes the file, durable before a checkpoint is that no longer has these actions. actions: (T,)."""
        write(self.path, lambda file: np.save(file, actions.astype(np.int32)))
        sync_directory(self.path.parent)


def parts(folder: Path) -> Iterator[Part]:
    """The parts in a folder, in the order in which they began."""
    found = []
    for path in folder.iterdir():
        if match := NAME.fullmatch(path.name):
            env, first, seed = (int(match[group]) for group in (1, 2, 3))
            check = None if match[4] is None else int(match[4], 16)
            found.append(Part(env, first, seed, check, match[5] is not None, path))
    yield from sorted(found, key=lambda part: (part.first, part.env))


def prune(folder: Path, limit: int) -> None:
    """Removes the parts that began first until all files have at most `limit` bytes; those that are kept stay."""
    sizes = {part: part.path.stat().st_size for part in parts(folder)}
    total = sum(sizes.values())
    for part, size in sizes.items():
        if total <= limit:
            return
        if not part.kept:
            part.path.unlink()
            total -= size


class Notable:
    """Whether an environment's part has an episode to keep: the first one with a positive reward, or a record.

    A record is an episode whose return no earlier one of any environment reached; the last record is the best episode.
    """

    def __init__(self, num_envs: int) -> None:
        self._returns = np.zeros(num_envs)  # of the running episodes
        self._best: float | None = None
        self._rewarded = False
        self._found = np.zeros(num_envs, dtype=np.bool_)

    def add(self, step: RawStep) -> None:
        self._returns += step.reward
        if not self._rewarded and (positive := step.reward > 0).any():
            self._rewarded = True
            self._found[np.argmax(positive)] = True
        ended = step.terminated | step.truncated
        if np.count_nonzero(ended):
            for env in np.flatnonzero(ended):
                if self._best is None or self._returns[env] > self._best:
                    self._best = float(self._returns[env])
                    self._found[env] = True
            self._returns[ended] = 0.0

    def in_part(self, env: int) -> bool:
        return bool(self._found[env])

    def begin(self, env: int) -> None:
        """A new part of an environment begins, with a new episode."""
        self._found[env] = False
        self._returns[env] = 0.0

    def state_dict(self) -> State:
        return {
            "returns": self._returns.copy(),
            "best": self._best,
            "rewarded": self._rewarded,
            "found": self._found.copy(),
        }

    def load_state_dict(self, state: State) -> None:
        self._returns, self._found = state["returns"].copy(), state["found"].copy()
        self._best, self._rewarded = state["best"], state["rewarded"]
