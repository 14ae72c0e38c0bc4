"""The replay's hindsight against a search in the episodes, in one environment and in several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from rlkit.errors import ConfigError, RlkitError
from rlkit.replay import Column, Hindsight, Replay, replay_bytes
from rlkit.types import EnvSpec, Observation, StepBatch

ENVS, GOALS = 3, 4


def replay(which: Any, capacity: int) -> Replay:
    return Replay(
        capacity,
        EnvSpec(Discrete(1000), 2, ENVS),
        extras={"bits": Column((GOALS,), np.bool_)},
        device=torch.device("cpu"),
        rng=np.random.default_rng(0),
        hindsight=Hindsight("bits", which),
    )


def add(kept: Replay, number: int, first: Any, ended: Any, died: Any, bits: np.ndarray) -> None:
    """The step `number` of all environments; observations tell environments apart: 100 for each."""
    first, ended, died = (np.asarray(marks, np.bool_) for marks in (first, ended, died))
    seen = 100 * np.arange(ENVS) + number
    before, after = Observation(seen, {}, first), Observation(seen + 1, {}, np.zeros(ENVS, np.bool_))
    no = np.zeros(ENVS, np.bool_)
    discount = (~died).astype(np.float32)
    kept.add(
        StepBatch(before, np.zeros(ENVS, np.int64), np.zeros(ENVS, np.float32), discount, ended, no, after, {}),
        {"bits": bits},
    )


def found(kept: Replay) -> dict[int, list[int]]:
    """By the observation that each step began with: the goals that came later."""
    index = kept.sampleable()
    seen, later = kept.window(index).obs.tolist(), kept.later(index)
    return {number: np.flatnonzero(bits).tolist() for number, bits in zip(seen, later, strict=True)}


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("future", {0: [0, 1], 1: [1], 2: [2], 100: [], 101: [], 102: [], 200: [3], 201: [3], 202: [1]}),
        ("final", {0: [1], 1: [1], 2: [2], 100: [], 101: [], 102: [], 200: [3], 201: [3], 202: [1]}),
    ],
)
def test_each_environment_has_its_own_episodes(which: Any, expected: dict[int, list[int]]) -> None:
    """Environment 0: two steps and one; 1: never ends; 2: loses a life after two steps, and ends after the third."""
    kept = replay(which, 60)
    bits = np.zeros((3, ENVS, GOALS), np.bool_)  # (step, environment, goal)
    bits[0, 0, 0] = bits[1, 0, 1] = bits[2, 0, 2] = True
    bits[0, 1, 0] = bits[1, 1, 1] = True
    bits[1, 2, 3] = bits[2, 2, 1] = True
    no = [False, False, False]
    add(kept, 0, [True, True, True], no, no, bits[0])
    add(kept, 1, no, [True, False, False], [True, False, True], bits[1])
    add(kept, 2, [True, False, False], [True, False, True], [True, False, True], bits[2])
    assert found(kept) == expected


@pytest.mark.parametrize("which", ["future", "final"])
@pytest.mark.parametrize("capacity", [21, 600])
def test_it_is_what_a_search_in_each_environment_finds(which: Any, capacity: int) -> None:
    kept, rng = replay(which, capacity), np.random.default_rng(capacity)
    episodes: list[list[list[tuple[int, np.ndarray]]]] = [[[]] for _ in range(ENVS)]
    first = np.ones(ENVS, np.bool_)
    for number in range(90):
        ended = rng.random(ENVS) < 0.15
        died, bits = ended | (rng.random(ENVS) < 0.05), rng.random((ENVS, GOALS)) < 0.1
        add(kept, number, first, ended, died, bits)
        for env, running in enumerate(episodes):
            running[-1].append((100 * env + number, bits[env]))
            if died[env]:
                running.append([])
        first = ended
    expected = {}
    for running in episodes:
        for episode in running[:-1]:
            for place, (seen, _) in enumerate(episode):
                rest = [bits for _, bits in episode[place:]]
                expected[seen] = np.flatnonzero(np.any(rest, 0) if which == "future" else rest[-1]).tolist()
        expected |= {seen: [] for seen, _ in running[-1]}
    assert found(kept) == {seen: expected[seen] for seen in found(kept)}
    assert len(found(kept)) > (200 if capacity == 600 else 10)


def one(number: int, first: bool, bits: np.ndarray, ended: bool, dies: bool) -> tuple[StepBatch, dict[str, np.ndarray]]:
    def see(begins: bool) -> Observation:
        return Observation(np.array([number]), {}, np.array([begins]))

    ones, no = np.ones(1, np.float32), np.zeros(1, np.bool_)
    step = StepBatch(see(first), np.zeros(1, np.int64), ones, ones * (not dies), np.array([ended]), no, see(False), {})
    return step, {"bits": bits[None]}


@pytest.mark.parametrize("which", ["future", "final"])
@pytest.mark.parametrize("capacity", [17, 500])
def test_later_is_what_a_search_finds(which: Any, capacity: int) -> None:
    """Episodes longer than the ring, one that begins although the last did not end, and lives lost within them."""
    kept = Replay(
        capacity,
        EnvSpec(Discrete(1000), 2, 1),
        extras={"bits": Column((3,), np.bool_)},
        device=torch.device("cpu"),
        rng=np.random.default_rng(0),
        hindsight=Hindsight("bits", which),
    )
    rng, episodes, first = np.random.default_rng(capacity), [[]], True  # [bits, write number] of each episode's steps
    row, finished, set_bits = 0, set(), 0
    for number in range(220):
        bits, ended = rng.random(3) < 0.1, bool(rng.random() < (0.0 if 60 < number < 100 else 0.1))
        dies = bool(rng.random() < (0.0 if 60 < number < 100 else 0.1))
        if number == 130 and not first:  # as after a resume that could not play back
            first = True
            episodes.append([])
            row += 1
        kept.add(*one(number, first, bits, ended, dies))
        episodes[-1].append((bits, row))
        row += 2 if ended else 1
        first = ended
        if ended or dies:
            finished.add(len(episodes) - 1)
            episodes.append([])
        index = kept.sampleable()
        found = kept.later(index)
        wanted = later(episodes, finished, which)
        np.testing.assert_array_equal(found, [wanted[number] for number in index.tolist()])
        set_bits += int(found.sum())
    assert set_bits > 100


def later(episodes: list[Any], finished: set[int], which: str) -> dict[int, np.ndarray]:
    """By write number: the bits of the rest of the episode (or life), or of its last step; none while it goes on."""
    expected = {}
    for place, steps in enumerate(episodes):
        for begin, (_, index) in enumerate(steps):
            rest = [bits for bits, _ in steps[begin:]]
            value = np.any(rest, 0) if which == "future" else rest[-1]
            expected[index] = value if place in finished else np.zeros(3, np.bool_)
    return expected


def test_hindsight_needs_its_column() -> None:
    world = EnvSpec(Discrete(5), 2, 1)
    with pytest.raises(ConfigError, match="'bits'"):
        Replay(
            50, world, extras={"bits": Column((), np.bool_)}, device=torch.device("cpu"), rng=np.random.default_rng(0),
            hindsight=Hindsight("bits", "final"),
        )  # fmt: skip
    plain = Replay(50, world, device=torch.device("cpu"), rng=np.random.default_rng(0))
    with pytest.raises(RlkitError, match="made with `hindsight`"):
        plain.later(np.zeros(1, np.int64))
    bits = {"bits": Column((3,), np.bool_)}
    assert replay_bytes(10, world, bits, hindsight=Hindsight("bits", "final")) - replay_bytes(10, world, bits) == 60
