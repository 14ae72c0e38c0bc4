"""One Gymnasium environment as a member of a vector environment: its spec, its signals, its failures as data."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation

from rlkit.errors import SpecError
from rlkit.structure import Structure, is_array
from rlkit.types import ArraySpec, EnvSpec, Stack

Env: TypeAlias = gym.Env[Any, Any]
EnvMaker: TypeAlias = Callable[[], Env]
"""Makes one environment; called again in every worker process, so it must survive pickling."""

SignalReader: TypeAlias = Callable[[Env], Mapping[str, Any]]
"""Reads side information off an environment after each reset and step: name → array, always of the same shapes."""

OBS = "obs"
FAILURE = "failure"

SUPPORTED = "supported are Box of rank 1 and more, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these"


def layers(env: Env) -> Iterator[Env]:
    """The environment's wrappers from the outermost inwards, then the environment itself."""
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env
    yield env


def describe(make: EnvMaker, num_envs: int, signals: SignalReader | None = None, frame_skip: int = 1) -> EnvSpec:
    """The spec of `num_envs` such environments, found on one that is made for it and closed again.

    `stack` is set where the outermost wrapper is a FrameStackObservation over a Box. Raises SpecError for spaces that
    are not supported and for signals that cannot be read.
    """
    env = make()
    try:
        structure = _check_spaces(env)
        assert isinstance(env.action_space, spaces.Discrete)
        return EnvSpec(
            observation_space=env.observation_space if structure is None else structure.space,
            num_actions=int(env.action_space.n),
            num_envs=num_envs,
            frame_skip=frame_skip,
            stack=_stack(env),
            signals={} if signals is None else _signal_specs(env, signals),
            structure=structure,
        )
    finally:
        env.close()


def _check_spaces(env: Env) -> Structure | None:
    """Raises SpecError for spaces that are not supported; returns the structure of Dict and Tuple observations."""
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    action, obs = env.action_space, env.observation_space
    if not isinstance(action, spaces.Discrete) or action.start != 0:
        raise SpecError(f"{name}: action space {action} is not supported; it must be Discrete, with actions from 0")
    if isinstance(obs, spaces.Dict | spaces.Tuple):
        try:
            return Structure.of(obs)
        except SpecError as error:
            raise SpecError(f"{name}: observation space {obs}: {error}; {SUPPORTED}") from error
    if not is_array(obs):
        raise SpecError(f"{name}: observation space {obs} is not supported; {SUPPORTED}")
    return None


def _stack(env: Env) -> Stack | None:
    if not isinstance(env, FrameStackObservation) or not isinstance(env.env.observation_space, spaces.Box):
        return None
    if env.padding_type == "reset":
        return Stack(axis=0, size=env.stack_size, padding="repeat")
    # a custom padding, or a "zero" one in a space that does not hold zero, is no padding that a replay can rebuild
    return None if np.any(env.padding_value) else Stack(axis=0, size=env.stack_size, padding="zero")


def _signal_specs(env: Env, signals: SignalReader) -> dict[str, ArraySpec]:
    env.reset(seed=0)
    try:
        values = {str(name): np.asarray(value) for name, value in signals(env).items()}
    except SpecError:
        raise
    except Exception as error:
        raise SpecError(f"signals: reading them failed: {type(error).__name__}: {error}") from error
    for name, value in values.items():
        if name == OBS or value.dtype.kind not in "biuf":
            raise SpecError(
                f"signals: {name!r} has dtype {value.dtype}; it must hold numbers and not be called {OBS!r}"
            )
    return {name: ArraySpec(value.shape, value.dtype) for name, value in values.items()}


def _space_of(spec: ArraySpec) -> spaces.Box:
    dtype = np.dtype(spec.dtype)
    low: float = 0
    high: float = 1
    if dtype.kind == "f":
        low, high = -np.inf, np.inf
    elif dtype.kind in "iu":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return spaces.Box(low, high, spec.shape, dtype.type)


class SubEnv(Env):
    """One environment as Gymnasium's vector environments see it: signals beside the observation, failures as text.

    A failure travels in `info`, as data: raised in a worker it would have to be pickled, which not every exception
    survives, and the parent would then wait for it for ever. Everything else in `info` is left behind.
    The environment is made at the first reset, since Gymnasium makes one more member to look at the spaces.
    """

    def __init__(self, index: int, make: EnvMaker, spec: EnvSpec, signals: SignalReader | None) -> None:
        self.action_space = spaces.Discrete(spec.num_actions)
        self.observation_space = spec.observation_space
        self._index = index
        self._make = make
        self._obs_space = spec.observation_space
        self._structure = spec.structure
        self._signals = signals
        self._signal_specs = spec.signals
        self._env: Env | None = None
        if signals is not None:
            beside = {name: _space_of(item) for name, item in spec.signals.items()}
            self.observation_space = spaces.Dict({OBS: spec.observation_space, **beside})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        try:
            if self._env is None:
                self._env = self._made()
            return self._answer(self._env.reset(seed=seed)[0]), {}
        except Exception:
            return self._blank(), self._failure(f"in reset with seed {seed}")

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        try:
            assert self._env is not None, "step before the first reset"
            obs, reward, terminated, truncated, _ = self._env.step(int(action))
            return self._answer(obs), float(reward), bool(terminated), bool(truncated), {}
        except Exception:
            return self._blank(), 0.0, False, False, self._failure(f"in step with action {action}")

    def close(self) -> None:
        if self._env is not None:
            self._env.close()

    def _made(self) -> Env:
        env = self._make()
        obs_space = env.observation_space
        same = obs_space == self._obs_space if self._structure is None else Structure.of(obs_space) == self._structure
        if not same or env.action_space != self.action_space:
            raise SpecError(f"its spaces {env.observation_space}, {env.action_space} differ from the first one's")
        return env

    def _answer(self, obs: Any) -> Any:
        if self._structure is not None:
            obs = self._structure.flatten(obs)
        obs = np.asarray(obs, dtype=self._obs_space.dtype)
        if obs.shape != self._obs_space.shape:
            raise SpecError(f"an observation of shape {obs.shape}; its space says {self._obs_space.shape}")
        if self._signals is None:
            return obs
        assert self._env is not None
        answer = {name: np.asarray(value) for name, value in self._signals(self._env).items()}
        found = {name: ArraySpec(value.shape, value.dtype) for name, value in answer.items()}
        if found != self._signal_specs:
            raise SpecError(f"signals {found}; after the first reset they were {dict(self._signal_specs)}")
        answer[OBS] = obs
        return answer

    def _blank(self) -> Any:
        space = self.observation_space
        if isinstance(space, spaces.Dict):
            return {name: np.zeros(part.shape or (), part.dtype) for name, part in space.spaces.items()}
        return np.zeros(space.shape or (), space.dtype)

    def _failure(self, where: str) -> dict[str, Any]:
        return {FAILURE: f"environment {self._index} failed {where}:\n{traceback.format_exc()}"}


@dataclass(frozen=True, slots=True)
class EnvFactory:
    """Makes the member of one index, here or in a worker process."""

    index: int
    make: EnvMaker
    spec: EnvSpec
    signals: SignalReader | None
    parent: int  # process id

    def __call__(self) -> SubEnv:
        if os.getpid() != self.parent:
            # Both reach the whole process group, but only the parent decides when to stop. It ends its workers by
            # their pipes, and by SIGKILL where that does not help; a worker whose parent is gone ends by itself.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return SubEnv(self.index, self.make, self.spec, self.signals)
