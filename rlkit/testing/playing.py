"""Plays given actions in environments, and compares what came out."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlkit.config.model import PluginConfig
from rlkit.environments import Environments, EnvPlugin
from rlkit.seeding import MAX_SEED
from rlkit.testing.watched import named
from rlkit.types import Purpose

Line: TypeAlias = dict[str, NDArray[Any]]
"""Everything that one step of all environments returned, by name, (N, ...) each."""


@dataclass
class EnvCase:
    """An environment's plug-in with its config, under test."""

    plugin: EnvPlugin[Any]
    config: PluginConfig
    num_steps: int
    num_resets: int

    @contextmanager
    def made(self, num_envs: int, global_seed: int, purpose: Purpose = Purpose.TRAIN) -> Iterator[Environments]:
        """Environments made and used under seeds of the global generators, which are restored afterwards."""
        before = random.getstate(), np.random.get_state()  # noqa: NPY002  environments must not depend on it
        random.seed(global_seed)
        np.random.seed(global_seed)  # noqa: NPY002
        try:
            environments = self.plugin.make(self.config, num_envs, purpose)
            try:
                yield environments
            finally:
                environments.close()
                environments.close()  # closing twice is safe by contract
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002

    @cached_property
    def num_actions(self) -> int:
        with self.made(1, 0) as environments:
            return environments.spec.num_actions

    def actions(self, rng: np.random.Generator, steps: int, num_envs: int) -> NDArray[np.int64]:
        """Random actions, (steps, num_envs)."""
        return rng.integers(0, self.num_actions, (steps, num_envs))


def everyone(environments: Environments) -> NDArray[np.bool_]:
    return np.ones(environments.spec.num_envs, dtype=np.bool_)


def seeds(rng: np.random.Generator, num_envs: int) -> NDArray[np.int64]:
    return rng.integers(0, MAX_SEED, num_envs, endpoint=True)


def play(environments: Environments, actions: NDArray[np.int64]) -> list[Line]:
    """Plays actions (T, N), with a reset by mask, without seeds, wherever an episode ends."""
    lines = []
    for action in actions:
        environments.send(action.copy())
        step = environments.receive()
        line = named(step.after) | {"reward": step.reward.copy(), "discount": step.discount.copy()}
        line |= {"terminated": step.terminated.copy(), "truncated": step.truncated.copy()}
        ended = step.terminated | step.truncated
        if ended.any():
            line |= named(environments.reset(ended, np.full(len(ended), -1)), "next ")
        lines.append(line)
    return lines


def assert_equal_rows(
    message: str, expected: Sequence[Line], found: Sequence[Line], rows: Sequence[int], found_rows: Sequence[int]
) -> None:
    """Raises AssertionError unless environments `rows` of `expected` and `found_rows` of `found` returned the same."""
    for number, (left, right) in enumerate(zip(expected, found, strict=True), start=1):
        for name in left.keys() & right.keys():  # "next" arrays are missing where nothing ended
            for row, found_row in zip(rows, found_rows, strict=True):
                a, b = left[name][row], right[name][found_row]
                assert a.tobytes() == b.tobytes(), (
                    f"{message}: environment {found_row}, step {number}: {name} is {_short(b)}; expected {_short(a)}"
                )


def _short(value: NDArray[Any]) -> str:
    return np.array2string(value, threshold=12).replace("\n", "")
