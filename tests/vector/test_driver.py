"""The driver, with both backends, against single environments stepped by hand; failures name their environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.vectors import Toy, Vectors, cartpole, everyone, lake, state_of
from rlkit.errors import WorkerError
from rlkit.types import ArraySpec, EnvSpec
from rlkit.vector.driver import VectorEnvironments
from rlkit.vector.environment import describe

MODES = ["sync", "async"]


class Oracle:
    """The contract, the slow and obvious way: a list of environments."""

    def __init__(self, make: Any, num_envs: int) -> None:
        self.envs = [make() for _ in range(num_envs)]
        self.obs: list[Any] = [None] * num_envs

    def reset(self, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        for i, env in enumerate(self.envs):
            if mask[i]:
                self.obs[i], _ = env.reset(seed=int(seeds[i]) if seeds[i] >= 0 else None)
        return np.array(self.obs)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, ...]:
        steps = [env.step(int(a)) for env, a in zip(self.envs, action, strict=True)]
        self.obs = [step[0] for step in steps]
        return np.array(self.obs), *(np.array([step[k] for step in steps]) for k in (1, 2, 3))


def play_against_oracle(environments: VectorEnvironments, make: Any, steps: int, seed: int) -> int:
    """How many episodes ended. Now and then resets environments in mid-episode, with a seed or without."""
    n, rng, ends = environments.spec.num_envs, np.random.default_rng(seed), 0
    oracle = Oracle(make, n)
    seeds = rng.integers(0, 2**31, n)
    np.testing.assert_array_equal(environments.reset(everyone(n), seeds).obs, oracle.reset(everyone(n), seeds))
    for _ in range(steps):
        action = rng.integers(0, environments.spec.num_actions, n)
        environments.send(action)
        step = environments.receive()
        obs, reward, terminated, truncated = oracle.step(action)
        np.testing.assert_array_equal(step.after.obs, obs)
        np.testing.assert_array_equal(step.reward, reward)
        np.testing.assert_array_equal(step.terminated, terminated)
        np.testing.assert_array_equal(step.truncated, truncated)
        np.testing.assert_array_equal(step.discount, [0.0 if end else 1.0 for end in terminated])
        assert not step.after.first.any()
        mask = terminated | truncated | (rng.random(n) < 0.05)
        ends += int((terminated | truncated).sum())
        if mask.any():
            seeds = np.where(rng.random(n) < 0.5, -1, rng.integers(0, 2**31, n))
            observation = environments.reset(mask, seeds)
            np.testing.assert_array_equal(observation.obs, oracle.reset(mask, seeds))
            np.testing.assert_array_equal(observation.first, mask)
    return ends


@settings(max_examples=25, deadline=None)
@given(num_envs=st.integers(1, 4), seed=st.integers(0, 2**31 - 1), make=st.sampled_from([cartpole, lake]))
def test_sync_equals_single_environments(num_envs: int, seed: int, make: Any) -> None:
    environments = VectorEnvironments(make, describe(make, num_envs))
    assert play_against_oracle(environments, make, 120, seed) > 0
    environments.close()


@pytest.mark.parametrize("make", [cartpole, lake])
def test_async_equals_single_environments(vectors: Vectors, make: Any) -> None:
    environments = vectors(make, 3, "async")
    for seed in range(3):
        assert play_against_oracle(environments, make, 60, seed) > 0


@pytest.mark.parametrize("mode", MODES)
def test_dtypes_and_fresh_arrays(vectors: Vectors, mode: str) -> None:
    environments = vectors(lake, 2, mode)
    observation = environments.reset(everyone(2), np.arange(2))
    assert (observation.obs.dtype, observation.obs.shape) == (np.int64, (2,))
    kept = []
    for _ in range(5):
        environments.send(np.array([2, 1]))
        step = environments.receive()
        dtypes = [a.dtype for a in (step.reward, step.discount, step.terminated, step.truncated)]
        assert dtypes == [np.float32, np.float32, np.bool_, np.bool_]
        arrays = (step.after.obs, step.reward, step.discount, step.terminated, step.truncated)
        kept += [(array, array.copy()) for array in arrays]
        ended = step.terminated | step.truncated
        if ended.any():
            environments.reset(ended, np.full(2, -1))
    assert all((array == copy).all() for array, copy in kept)


@pytest.mark.parametrize("mode", MODES)
def test_masked_reset_leaves_inputs_and_others_alone(vectors: Vectors, mode: str) -> None:
    one, other = vectors(cartpole, 3, mode), vectors(cartpole, 3, mode)
    for environments in (one, other):
        environments.reset(everyone(3), np.array([3, 4, 5]))
    mask, seeds = np.array([False, True, False]), np.array([77, 8, 99])  # seeds outside the mask mean nothing
    latest = None
    for t in range(6):
        for environments in (one, other):
            environments.send(np.array([t % 2, 0, 1]))
        a, b = one.receive(), other.receive()
        np.testing.assert_array_equal(a.after.obs[[0, 2]], b.after.obs[[0, 2]])
        if t == 2:
            latest = other.reset(mask, seeds)
            np.testing.assert_array_equal(latest.obs[[0, 2]], b.after.obs[[0, 2]])
            np.testing.assert_array_equal(latest.first, mask)
    assert latest is not None
    np.testing.assert_array_equal(latest.obs[1], cartpole().reset(seed=8)[0])
    assert mask.tolist() == [False, True, False]
    assert seeds.tolist() == [77, 8, 99]


def test_first_reset_is_of_all(vectors: Vectors) -> None:
    with pytest.raises(ValueError, match="first reset must include all"):
        vectors(cartpole, 2).reset(np.array([True, False]), np.arange(2))


@pytest.mark.parametrize("mode", MODES)
def test_signals_belong_to_their_observation(vectors: Vectors, mode: str) -> None:
    environments = vectors(cartpole, 2, mode, state_of)
    assert environments.spec.signals == {
        "state": ArraySpec((4,), np.dtype(np.float32)),
        "sum": ArraySpec((), np.dtype(np.float64)),
    }
    observation, ends = environments.reset(everyone(2), np.arange(2)), 0
    kept = []
    for _ in range(30):
        # CartPole's observation is its state: so the signal must equal it, at an episode's end and after a reset too
        np.testing.assert_array_equal(observation.signals["state"], observation.obs)
        np.testing.assert_allclose(observation.signals["sum"], observation.obs.sum(axis=1), atol=1e-5)
        kept.append((observation.signals["state"], observation.signals["state"].copy()))
        environments.send(np.array([1, 0]))
        step = environments.receive()
        np.testing.assert_array_equal(step.after.signals["state"], step.after.obs)
        observation = step.after
        if (ended := step.terminated | step.truncated).any():
            ends += 1
            observation = environments.reset(ended, np.full(2, -1))
    assert ends > 1
    assert all((array == copy).all() for array, copy in kept)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(4, start=2),
        spaces.MultiBinary((2, 3)),
        spaces.MultiDiscrete([3, 4]),
        spaces.Box(0, 1, (3, 3, 2), bool),
        spaces.Box(0, 255, (2, 5), np.uint8),
        spaces.Box(-1, 1, (7,), np.float64),
        spaces.Box(-5, 5, (2,), np.int16),
    ],
    ids=str,
)
def test_observation_spaces(vectors: Vectors, space: spaces.Space, mode: str) -> None:
    environments = vectors(lambda: Toy(space), 2, mode)
    observation = environments.reset(everyone(2), np.array([3, 4]))
    expected = [Toy(space).reset(seed=seed)[0] for seed in (3, 4)]
    np.testing.assert_array_equal(observation.obs, expected)
    assert observation.obs.dtype == (np.int64 if isinstance(space, spaces.Discrete) else space.dtype)
    assert all(space.contains(row) for row in observation.obs)


class NeedsTwo(Exception):
    """Cannot be unpickled: its constructor wants two arguments and pickle gives one."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.handle = lambda: None  # nor can it be pickled


def fail_in_step(what: str, action: Any, seed: Any) -> None:
    if action == 2:
        raise NeedsTwo(4, 5)


def fail_in_reset(what: str, action: Any, seed: Any) -> None:
    if seed == 13:
        raise ValueError("unlucky")


@pytest.mark.parametrize("mode", MODES)
def test_exceptions_name_the_environment_and_carry_its_traceback(vectors: Vectors, mode: str) -> None:
    environments = vectors(lambda: Toy(trouble=fail_in_step), 3, mode)
    environments.reset(everyone(3), np.arange(3))
    environments.send(np.array([0, 2, 0]))
    with pytest.raises(WorkerError, match=r"(?s)environment 1 failed in step with action 2.*fail_in_step.*4 and 5"):
        environments.receive()


@pytest.mark.parametrize("mode", MODES)
def test_exceptions_in_reset(vectors: Vectors, mode: str) -> None:
    environments = vectors(lambda: Toy(trouble=fail_in_reset), 3, mode)
    with pytest.raises(WorkerError, match=r"(?s)environment 2 failed in reset with seed 13.*ValueError: unlucky"):
        environments.reset(everyone(3), np.array([1, 2, 13]))


@pytest.mark.parametrize("mode", MODES)
def test_exceptions_in_constructors(vectors: Vectors, mode: str) -> None:
    spec = describe(Toy, 2)

    def broken() -> gym.Env:
        raise RuntimeError("no emulator here")

    environments = VectorEnvironments(broken, spec, mode)
    vectors.made.append(environments)
    with pytest.raises(WorkerError, match=r"(?s)environment 0 failed in reset.*no emulator here"):
        environments.reset(everyone(2), np.arange(2))


@pytest.mark.parametrize("mode", MODES)
def test_what_does_not_fit_the_spec_is_a_failure(vectors: Vectors, mode: str) -> None:
    class Liar(Toy):
        def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
            return np.zeros(1, np.float32), 0.0, False, False, {}

    environments = vectors(Liar, 1, mode)
    environments.reset(everyone(1), np.arange(1))
    environments.send(np.zeros(1, np.int64))
    with pytest.raises(WorkerError, match=r"observation has shape \(1,\); its space says \(2,\)"):
        environments.receive()
    lengths = iter([2, 2, 3])
    signals = vectors(Toy, 1, "sync", lambda env: {"x": np.zeros(next(lengths))})
    signals.reset(everyone(1), np.arange(1))
    signals.send(np.zeros(1, np.int64))
    with pytest.raises(WorkerError, match=r"signals are .*shape=\(3,\).*they were .*shape=\(2,\)"):
        signals.receive()


def test_spec_is_what_was_described(vectors: Vectors) -> None:
    assert vectors(cartpole, 2).spec == EnvSpec(
        cartpole().observation_space, num_actions=2, num_envs=2, steps_per_second=50.0
    )
