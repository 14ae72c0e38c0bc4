"""A wrapper that checks what environments return against the contract of `rlkit.environments.Environments`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rlkit.environments import Environments
from rlkit.types import EnvSpec, Observation, RawStep, Stack

REMEMBERED = 8  # answers whose arrays must stay unchanged; emulators that reuse buffers have two or three


def named(observation: Observation, prefix: str = "") -> dict[str, NDArray[Any]]:
    """The arrays of an observation by name; copies, so that later steps cannot change them."""
    arrays = {f"{prefix}observation": observation.obs.copy()}
    return arrays | {f"{prefix}signal {name!r}": value.copy() for name, value in observation.signals.items()}


class Watched:
    """Forwards every call; raises AssertionError where an answer breaks the contract or an argument was changed."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments
        self._latest: Observation | None = None
        self._action: NDArray[np.int64]
        self._given: NDArray[np.int64]
        self._answers: deque[list[tuple[str, NDArray[Any], NDArray[Any]]]] = deque(maxlen=REMEMBERED)

    @property
    def spec(self) -> EnvSpec:
        return self._environments.spec

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> Observation:
        given_mask, given_seeds = mask.copy(), seeds.copy()
        observation = self._environments.reset(mask, seeds)
        assert (mask == given_mask).all(), "reset changed the mask that it was given; expected no change"
        assert (seeds == given_seeds).all(), "reset changed the seeds that it was given; expected no change"
        self._check_observation(observation, "reset")
        assert (observation.first == mask).all(), f"reset of {mask}: `first` is {observation.first}; expected the mask"
        if self._latest is not None:
            before, after = named(self._latest), named(observation)
            for name, value in after.items():
                same = value[~mask].tobytes() == before[name][~mask].tobytes()
                assert same, f"reset: {name} of an environment outside the mask changed; expected its latest one"
        if self.spec.stack is not None:
            _check_padding(observation.obs[mask], self.spec.stack)
        self._remember("reset", {"first": observation.first, "observation": observation.obs, **observation.signals})
        self._latest = observation
        return observation

    def send(self, action: NDArray[np.int64]) -> None:
        self._action, self._given = action, action.copy()
        self._environments.send(action)

    def receive(self) -> RawStep:
        step = self._environments.receive()
        assert (self._action == self._given).all(), (
            "send or receive changed the action that it was given; expected no change"
        )
        self._check_observation(step.after, "receive")
        assert not step.after.first.any(), (
            "receive: `first` is set; expected all False, since only a reset begins an episode"
        )
        self._check_step(step)
        if self.spec.stack is not None and self._latest is not None:
            _check_shift(self._latest.obs, step.after.obs, self.spec.stack)
        ends = {"terminated": step.terminated, "truncated": step.truncated, "discount": step.discount}
        arrays = {"first": step.after.first, "observation": step.after.obs, "reward": step.reward, **ends}
        self._remember("receive", {**arrays, **step.after.signals})
        self._latest = step.after
        return step

    def close(self) -> None:
        self._environments.close()

    def _check_observation(self, observation: Observation, where: str) -> None:
        spec, space = self.spec, self.spec.observation_space
        dtype = np.int64 if isinstance(space, gym.spaces.Discrete) else space.dtype
        _check_array(f"{where}: observation", observation.obs, (spec.num_envs, *(space.shape or ())), dtype)
        for env, row in enumerate(observation.obs):
            assert space.contains(row), f"{where}: observation of environment {env} is {row}; expected one in {space}"
        found, expected = sorted(observation.signals), sorted(spec.signals)
        assert found == expected, f"{where}: signals are {found}; the spec says {expected}"
        for name, signal in spec.signals.items():
            shape = (spec.num_envs, *signal.shape)
            _check_array(f"{where}: signal {name!r}", observation.signals[name], shape, signal.dtype)
        _check_array(f"{where}: first", observation.first, (spec.num_envs,), np.bool_)

    def _check_step(self, step: RawStep) -> None:
        shape = (self.spec.num_envs,)
        _check_array("receive: reward", step.reward, shape, np.float32)
        _check_array("receive: discount", step.discount, shape, np.float32)
        _check_array("receive: terminated", step.terminated, shape, np.bool_)
        _check_array("receive: truncated", step.truncated, shape, np.bool_)
        assert np.isfinite(step.reward).all(), f"receive: reward is {step.reward}; expected finite numbers"
        binary = np.isin(step.discount, (0, 1)).all()
        assert binary, f"receive: discount is {step.discount}; expected 0 where the value ends, else 1"
        ended = (step.discount[step.terminated] == 0).all()
        assert ended, f"receive: discount is {step.discount}; expected 0 where terminated, {step.terminated}"

    def _remember(self, where: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Earlier arrays must not have changed, and writable memory must not be returned twice."""
        for answer in self._answers:
            for name, array, copy in answer:
                unchanged = array.tobytes() == copy.tobytes()
                assert unchanged, f"{where} changed the {name} that an earlier call returned; expected fresh arrays"
                shared = name in arrays and array.flags.writeable and np.may_share_memory(array, arrays[name])
                assert not shared, f"{where}: {name} shares memory with an earlier answer; expected fresh arrays"
        self._answers.append([(name, array, array.copy()) for name, array in arrays.items()])


def _check_array(what: str, array: Any, shape: tuple[int, ...], dtype: Any) -> None:
    assert isinstance(array, np.ndarray), f"{what} is a {type(array).__name__}; expected an array"
    assert array.shape == shape, f"{what} has shape {array.shape}; expected {shape}"
    assert array.dtype == np.dtype(dtype), f"{what} has dtype {array.dtype}; expected {np.dtype(dtype)}"


def _frames(obs: NDArray[Any], stack: Stack) -> NDArray[Any]:
    """(rows, *O) -> (size, rows, ...), the oldest frame first."""
    return np.stack(np.split(obs, stack.size, axis=stack.axis + 1))


def _check_padding(obs: NDArray[Any], stack: Stack) -> None:
    frames = _frames(obs, stack)
    expected = np.zeros_like(frames[-1]) if stack.padding == "zero" else frames[-1]
    padded = (frames[:-1] == expected).all()
    assert padded, f"reset: the older frames of the stack are not padded; expected {stack.padding!r}, as the spec says"


def _check_shift(before: NDArray[Any], after: NDArray[Any], stack: Stack) -> None:
    shifted = (_frames(before, stack)[1:] == _frames(after, stack)[:-1]).all()
    assert shifted, (
        "receive: the older frames of the stack are not the newer ones of the observation before; expected a shift"
    )
