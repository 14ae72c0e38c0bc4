"""Trajectories against a list of all steps: nothing lost, nothing twice, every successor the true one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.replay_oracle import EXTRAS, Stream, World, assert_equal_states, copied
from rlkit.errors import CapacityError, ConfigError, RlkitError
from rlkit.replay import Column, Trajectory, TrajectoryBatch, trajectory_bytes
from rlkit.runs.checkpoint import load_state, save_state
from rlkit.types import EnvSpec, Observation, Stack, StepBatch

CPU = torch.device("cpu")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    probability = st.sampled_from([0.0, 0.1, 0.5, 1.0])
    stack = draw(st.sampled_from([None, Stack(0, 2, "zero"), Stack(0, 4, "repeat"), Stack(1, 3, "zero")]))
    return World(
        num_envs=draw(st.integers(1, 4)),
        frame_shape=(2, 3) if stack else draw(st.sampled_from([(), (4,), (2, 3)])),
        dtype=draw(st.sampled_from([np.uint8, np.float32, np.int64])),
        stack=stack,
        p_terminated=draw(probability),
        p_truncated=draw(probability),
        p_life=draw(probability),
        p_restart=draw(st.sampled_from([0.0, 0.0, 0.2])),
    )


def compare(batch: TrajectoryBatch, history: list[tuple[StepBatch, dict[str, Any]]]) -> None:
    """`history`: the steps of the batch, in order."""
    steps = [step for step, _ in history]
    fields = {
        "obs": [step.before.obs for step in steps],
        "action": [step.action for step in steps],
        "reward": [step.reward for step in steps],
        "discount": [step.discount for step in steps],
        "first": [step.before.first for step in steps],
    }
    ended = [step.ended | later.before.first for step, later in pairwise(steps)] + [steps[-1].ended]
    for name, expected in {**fields, "ended": ended}.items():
        found = getattr(batch, name)
        assert found.numpy().dtype == expected[0].dtype
        np.testing.assert_array_equal(found.numpy(), np.stack(expected))
    for name, values in batch.extras.items():
        np.testing.assert_array_equal(np.asarray(values), np.stack([extras[name] for _, extras in history]))
    successors = np.stack([step.after.obs for step in steps])
    np.testing.assert_array_equal(batch.next_values(batch.obs, batch.successors).numpy(), successors)
    assert len(batch.successors) == len(ended[0]) + np.sum(ended[:-1]), "a successor is valued twice"


@settings(max_examples=40, deadline=None)
@given(worlds(), st.integers(1, 7), st.integers(0, 2**31), st.integers(0, 25), st.booleans())
def test_every_trajectory_is_what_happened(
    world: World, length: int, seed: int, resumed: int, torch_only: bool
) -> None:
    """Resumed after so many steps, in an empty store and in one that was used; written to as on another device."""

    def make() -> Trajectory:
        with pytest.MonkeyPatch.context() as patch:
            if torch_only:
                patch.setattr("rlkit.replay.ring.shares_memory", lambda device: False)
            return Trajectory(length, world.spec(), extras=EXTRAS, device=CPU)

    stream, whole, others, used = Stream(world, seed), make(), [make(), make()], Stream(world, seed + 1)
    for _ in range(3 * length - 1):
        if others[1].full:
            others[1].take()
        others[1].add(*used.next()[:2])
    history: list[tuple[StepBatch, dict[str, Any]]] = []
    for number in range(40):
        if number == resumed:
            state = copied(whole.state_dict())
            for other in others:
                other.load_state_dict(state)
        stores = [whole, *others] if number >= resumed else [whole]
        step, extras, _ = stream.next()
        for store in stores:
            store.add(step, extras)
            assert len(store) == len(history) + 1
        history.append((step, extras))
        if whole.full:
            for store in stores:
                compare(store.take(), history)
            history = []
        for other in stores[1:]:
            assert_equal_states(other.state_dict(), whole.state_dict())


def test_a_truncation_bootstraps_from_its_own_successor() -> None:
    """By hand: environment 0 is truncated at its second step, environment 1 terminates there; values are 10 * obs."""
    trajectory = Trajectory(3, EnvSpec(gym.spaces.Discrete(100), 2, 2), device=CPU)
    before, after = [[1, 5], [2, 6], [20, 30]], [[2, 6], [3, 7], [21, 31]]
    no, ones = np.zeros(2, np.bool_), np.ones(2, np.float32)
    for t in range(3):
        end = np.array([t == 1, False]), np.array([False, t == 1])
        first = Observation(np.array(before[t]), {}, np.full(2, t != 1))
        discount = ones - end[1]
        trajectory.add(
            StepBatch(first, no + 0, ones, discount, end[1], end[0], Observation(np.array(after[t]), {}, no), {})
        )
    batch = trajectory.take()
    assert batch.obs.tolist() == before
    assert batch.successors.tolist() == [21, 31, 3, 7]
    assert batch.final.tolist() == [2, 3]
    values = 10.0 * batch.obs
    target = batch.reward + batch.discount * batch.next_values(values, 10.0 * batch.successors)
    assert target.tolist() == [[21, 61], [31, 1], [211, 311]]


def test_a_step_has_the_windows_of_a_trajectory_of_one_step() -> None:
    world = World(num_envs=3, frame_shape=(4,), p_terminated=0.3, p_truncated=0.3)
    trajectory, stream = Trajectory(1, world.spec(), extras=EXTRAS, device=CPU), Stream(world, 0)
    for _ in range(20):
        step, extras, _ = stream.next()
        trajectory.add(step, extras)
        expected, found = trajectory.take().windows(), step.windows(extras)
        for name in ("obs", "action", "reward", "discount", "steps", "next_obs"):
            assert torch.equal(getattr(found, name), getattr(expected, name)), name
        for name, values in expected.extras.items():
            np.testing.assert_array_equal(np.asarray(found.extras[name]), np.asarray(values))


def test_a_taken_batch_is_not_written_to_later() -> None:
    world = World(num_envs=2, stack=Stack(0, 3, "zero"), p_terminated=0.3)
    trajectory, stream = Trajectory(5, world.spec(), extras=EXTRAS, device=CPU), Stream(world, 0)
    history = [stream.next()[:2] for _ in range(9)]
    for step in history[:5]:
        trajectory.add(*step)
    batch = trajectory.take()
    for step in history[5:]:
        trajectory.add(*step)
    compare(batch, history[:5])


@pytest.mark.parametrize("steps", [0, 3, 5])
def test_its_state_goes_through_a_checkpoint_and_is_no_larger_than_what_is_there(tmp_path: Path, steps: int) -> None:
    world = World(num_envs=2, frame_shape=(8, 8), stack=Stack(0, 4, "zero"), p_truncated=0.2)
    one, other = (Trajectory(5_000, world.spec(), extras=EXTRAS, device=CPU) for _ in range(2))
    stream = Stream(world, 0)
    for _ in range(steps):
        one.add(*stream.next()[:2])
    save_state(tmp_path / "state", one.state_dict(), tmp_path / "objects")
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 20_000
    other.load_state_dict(load_state(tmp_path / "state", tmp_path / "objects"))
    assert_equal_states(one.state_dict(), other.state_dict())


def test_refusals() -> None:
    spec = EnvSpec(gym.spaces.Box(0, 255, (4, 84, 84), np.uint8), 18, 2, stack=Stack(0, 4, "zero"))
    with pytest.raises(ConfigError, match="length of 0"):
        Trajectory(0, spec, device=CPU)
    with pytest.raises(CapacityError, match=r"a trajectory of 1,000,000,000 steps of 2 environments needs [\d.]+ GiB"):
        Trajectory(10**9, spec, device=CPU)
    world = World(num_envs=2)
    trajectory, stream = Trajectory(2, world.spec(), extras=EXTRAS, device=CPU), Stream(world, 0)
    with pytest.raises(ConfigError, match=r"extras \[\] given, \['achieved', 'digest', 'seen'\] declared"):
        trajectory.add(stream.next()[0])
    trajectory.add(*stream.next()[:2])
    with pytest.raises(RlkitError, match="1 of 2 steps"):
        trajectory.take()
    trajectory.add(*stream.next()[:2])
    with pytest.raises(RlkitError, match="call take"):
        trajectory.add(*stream.next()[:2])
    for other, message in (
        (Trajectory(3, world.spec(), extras=EXTRAS, device=CPU), "length is 2, but this one has 3"),
        (Trajectory(2, World(num_envs=1).spec(), extras=EXTRAS, device=CPU), "newest is int64 .2,."),
        (Trajectory(2, world.spec(), device=CPU), "columns"),
        (Trajectory(2, World(num_envs=2, frame_shape=(9,)).spec(), extras=EXTRAS, device=CPU), "observation is uint8"),
    ):
        with pytest.raises(ConfigError, match=message):
            other.load_state_dict(trajectory.state_dict())


@pytest.mark.parametrize("stack", [None, Stack(0, 4, "zero")])
def test_the_bytes_that_are_asked_for_suffice(stack: Stack | None) -> None:
    shape = (4, 84, 84) if stack else (84, 84)
    spec = EnvSpec(gym.spaces.Box(0, 255, shape, np.uint8), 18, 3, stack=stack)
    columns = {"value": Column((), np.float32), "digest": Column((2,), np.uint64, host=True)}
    trajectory = Trajectory(20, spec, extras=columns, device=CPU)
    world = World(num_envs=3, frame_shape=(84, 84), stack=stack, p_terminated=1.0)
    stream, rng = Stream(world, 0), np.random.default_rng(0)
    for _ in range(20):
        values = {"value": np.zeros(3, np.float32), "digest": rng.integers(0, 9, (3, 2), np.uint64)}
        trajectory.add(stream.next()[0], values)

    def size(state: Any) -> int:
        return sum(map(size, state.values())) if isinstance(state, dict) else getattr(state, "nbytes", 0)

    stored, batch = size(trajectory.state_dict()), trajectory.take()
    taken = size({name: getattr(batch, name) for name in TrajectoryBatch.__slots__ if name != "extras"})
    taken += size(dict(batch.extras))
    assert 0.9 * (stored + taken) < trajectory_bytes(20, spec, columns) < 1.1 * (stored + taken)
