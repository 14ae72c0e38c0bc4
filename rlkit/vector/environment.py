"""One Gymnasium environment of a vector: its spec, its signals, and its failures as data."""

from __future__ import annotations

import ctypes
import inspect
import math
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray

from rlkit.errors import RlkitError, SpecError
from rlkit.structure import Structure, is_array, stored
from rlkit.types import ACTION_MASK, ArraySpec, EnvSpec, Stack

Env: TypeAlias = gym.Env[Any, Any]
EnvMaker: TypeAlias = Callable[[], Env]
"""Makes one environment. It is called in every worker process, so it must be picklable."""

SignalReader: TypeAlias = Callable[[Env], Mapping[str, Any]]
"""Returns an environment's side information after each reset and step: name → array, always of the same shape."""

LARGEST_JOINT = 4096  # joint actions of a MultiDiscrete, each of which gets an output of the network
OBS = "obs"
SUCCESS = "success"  # the signal that evaluations count: one value
FAILURE = "failure"
CRASH = "crash"  # a failure after which the environment is made anew
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent ends

SUPPORTED = "supported are Box of rank 1 and more, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these"


def layers(env: Env) -> Iterator[Env]:
    """The environment's wrappers, the outermost first, then the environment itself."""
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env
    yield env


def num_actions(space: gym.Space[Any]) -> int:
    """The number of actions; for a MultiDiscrete that of joint actions."""
    return math.prod(map(int, space.nvec.flat)) if isinstance(space, spaces.MultiDiscrete) else int(space.n)  # type: ignore[attr-defined]


def action_of(space: gym.Space[Any], number: int) -> Any:
    """The environment's action for 0 .. num_actions - 1; joint actions are counted with the last part fastest."""
    if isinstance(space, spaces.MultiDiscrete):
        parts = np.unravel_index(number, space.nvec.ravel())
        return (np.array(parts, space.dtype).reshape(space.shape) + space.start).astype(space.dtype)
    return number + int(space.start)  # type: ignore[attr-defined]


def describe(
    make: EnvMaker,
    num_envs: int,
    signals: SignalReader | None = None,
    frame_skip: int = 1,
    names: Callable[[Env], tuple[str, ...]] = lambda env: (),
) -> EnvSpec:
    """The spec of `num_envs` such environments; makes one environment and closes it.

    names: reads the names of its actions.
    `stack` is set if the outermost wrapper is a FrameStackObservation of a Box. `structure` is set for Dict and Tuple
    observations. Raises SpecError for spaces that are not supported and for signals that cannot be read.
    """
    env = make()
    try:
        structure = _check_spaces(env)
        return EnvSpec(
            observation_space=env.observation_space if structure is None else structure.space,
            num_actions=num_actions(env.action_space),
            num_envs=num_envs,
            frame_skip=frame_skip,
            stack=_stack(env),
            signals={} if signals is None else _signal_specs(env, signals),
            observation_names=_entry_names(env, structure),
            structure=structure,
            action_names=names(env),
            steps_per_second=_rate(env),
        )
    finally:
        env.close()


def _check_spaces(env: Env) -> Structure | None:
    """Raises SpecError for spaces that are not supported; returns the structure of Dict and Tuple observations."""
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    action, obs = env.action_space, env.observation_space
    if not isinstance(action, spaces.Discrete | spaces.MultiDiscrete):
        others = "; for continuous actions use Stable-Baselines3 or CleanRL" if isinstance(action, spaces.Box) else ""
        raise SpecError(f"{name}: action space {action} is not supported; it must be Discrete or MultiDiscrete{others}")
    if (count := num_actions(action)) > LARGEST_JOINT:
        raise SpecError(
            f"{name}: action space {action} has {count:,} joint actions; at most {LARGEST_JOINT:,} are supported"
        )
    if isinstance(obs, spaces.Dict | spaces.Tuple):
        try:
            return Structure.of(obs)
        except SpecError as error:
            raise SpecError(f"{name}: {error} ({SUPPORTED})") from error
    if not is_array(obs):
        raise SpecError(f"{name}: observation space {obs} is not supported; {SUPPORTED}")
    return None


def _names(env: Env, key: str, count: int) -> tuple[str, ...]:
    """The `count` names that the environment's metadata states; () if it states none, or another number."""
    stated = env.metadata.get(key, ()) if isinstance(env.metadata, dict) else ()
    names = tuple(map(str, stated)) if isinstance(stated, list | tuple) else ()
    return names if len(names) == count else ()


def _entry_names(env: Env, structure: Structure | None) -> tuple[str, ...]:
    """A name for each entry of a vector, from the metadata, or from the names of the parts of a structure."""
    if structure is None:
        shape = env.observation_space.shape or ()
        return _names(env, "observation_names", shape[0]) if len(shape) == 1 else ()
    sizes = [(part.name, part.stop - part.start) for part in structure.parts]
    return tuple(name if size == 1 else f"{name}[{index}]" for name, size in sizes for index in range(size))


def _rate(env: Env) -> float | None:
    stated = env.metadata.get("render_fps") if isinstance(env.metadata, dict) else None
    return float(stated) if isinstance(stated, int | float) and stated > 0 else None


def _stack(env: Env) -> Stack | None:
    if not isinstance(env, FrameStackObservation) or not isinstance(env.env.observation_space, spaces.Box):
        return None
    if env.padding_type == "reset":
        return Stack(axis=0, size=env.stack_size, padding="repeat")
    # a replay cannot rebuild custom padding, nor "zero" padding of a space without zero
    return None if np.any(env.padding_value) else Stack(axis=0, size=env.stack_size, padding="zero")


def _signal_specs(env: Env, signals: SignalReader) -> dict[str, ArraySpec]:
    env.reset(seed=0)
    try:
        values = _read(signals, env)
    except SpecError:
        raise
    except Exception as error:
        raise SpecError(f"signals: cannot be read: {type(error).__name__}: {error}") from error
    allowed = values.get(ACTION_MASK)
    if allowed is not None and (allowed.dtype != np.bool_ or allowed.shape != (num_actions(env.action_space),)):
        raise SpecError(
            f"the action mask has shape {allowed.shape} and dtype {allowed.dtype}; it must be one bool for each of the "
            f"{num_actions(env.action_space)} actions"
        )
    for name, value in values.items():
        if name == OBS or value.dtype.kind not in "biuf":
            raise SpecError(
                f"signals: {name!r} has dtype {value.dtype}; a signal must be numeric, with a name other than {OBS!r}"
            )
    return {name: ArraySpec(value.shape, value.dtype) for name, value in values.items()}


def _read(signals: SignalReader, env: Env) -> dict[str, NDArray[Any]]:
    """The signals as arrays; "success" as one value. Raises SpecError if it has several."""
    values = {str(name): np.asarray(value) for name, value in signals(env).items()}
    if SUCCESS in values:
        if values[SUCCESS].size != 1:
            raise SpecError(f'signals: "{SUCCESS}" has shape {values[SUCCESS].shape}; it must be one value')
        values[SUCCESS] = values[SUCCESS].reshape(())
    return values


def single_reward(reward: Any) -> float:
    """Raises SpecError for a reward that is not one number, of shape () or (1,)."""
    if type(reward) is float:
        return reward
    value = np.asarray(reward)
    if value.shape not in ((), (1,)) or value.dtype.kind not in "biuf":
        raise SpecError(
            f"a reward has shape {value.shape} and dtype {value.dtype}; it must be one number (a wrapper can combine "
            "several into one)"
        )
    return float(value.reshape(()))


def _reset_observation(answer: Any) -> Any:
    """The observation of a reset. Raises SpecError if it is not (observation, info)."""
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict):
        return answer[0]
    raise SpecError(f"reset returned {_kind(answer)}; Gymnasium's API returns (observation, info)")


def _kind(answer: Any) -> str:
    return f"a tuple of {len(answer)}" if isinstance(answer, tuple) else f"a {type(answer).__name__}"


def _takes_seed(reset: Callable[..., Any]) -> bool:
    parameters = inspect.signature(reset).parameters.values()
    return any(parameter.name == "seed" or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


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
    """One environment as Gymnasium's vector environments see it: signals next to the observation, failures as text.

    A failure is returned in `info`. An exception that is raised in a worker has to be pickled; not every exception can
    be, and the parent would then wait for it forever. All other content of `info` is dropped.
    The environment is made at the first reset, because Gymnasium makes one more `SubEnv` to read the spaces.

    remake: whether an environment that raises in a step is made anew at its next reset. Its episode is truncated there,
    and `info` has the crash. A seeded reset that raises is tried once more, with a new environment.
    """

    def __init__(
        self, index: int, make: EnvMaker, spec: EnvSpec, signals: SignalReader | None, remake: bool = False
    ) -> None:
        self.action_space = spaces.Discrete(spec.num_actions)
        self.observation_space = spec.observation_space
        self._index = index
        self._make = make
        self._obs_space = spec.observation_space
        self._structure = spec.structure
        self._signals = signals
        self._signal_specs = spec.signals
        self._remake = remake
        self._env: Env | None = None
        if signals is not None:
            signal_spaces = {name: _space_of(item) for name, item in spec.signals.items()}
            self.observation_space = spaces.Dict({OBS: spec.observation_space, **signal_spaces})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        try:
            return self._started(seed), {}
        except BaseException as error:
            _raise_if_users(error)
            failure = self._failure(f"in reset with seed {seed}", error)
            if not self._may_remake(error) or seed is None:  # without a seed the reset could not be made again
                return self._blank(), failure
        self._drop()
        try:
            return self._started(seed), {CRASH: failure[FAILURE]}
        except BaseException as error:
            _raise_if_users(error)
            return self._blank(), self._failure(f"twice in reset with seed {seed}", error)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        try:
            assert self._env is not None, "step before the first reset"
            answer = self._env.step(action_of(self._env.action_space, int(action)))
            if not isinstance(answer, tuple) or len(answer) != 5:
                names = "(observation, reward, terminated, truncated, info)"
                raise SpecError(f"step returned {_kind(answer)}; Gymnasium's API returns {names}")
            obs, reward, terminated, truncated, _ = answer
            return self._observed(obs), single_reward(reward), bool(terminated), bool(truncated), {}
        except BaseException as error:
            _raise_if_users(error)
            failure = self._failure(f"in step with action {action}", error)
            if not self._may_remake(error):
                return self._blank(), 0.0, False, False, failure
            self._drop()
            return self._blank(), 0.0, False, True, {CRASH: failure[FAILURE]}

    def close(self) -> None:
        if self._env is not None:
            self._env.close()

    def _started(self, seed: int | None) -> Any:
        """The observation of a reset; makes the environment if there is none."""
        if self._env is None:
            self._env = self._made()
        return self._observed(_reset_observation(self._env.reset(seed=seed)))

    def _may_remake(self, error: BaseException) -> bool:
        """Whether a failure is a crash: an answer against the contract would be given again."""
        return self._remake and not isinstance(error, RlkitError)

    def _drop(self) -> None:
        """Closes the environment as far as it can be closed."""
        with suppress(Exception):
            self.close()
        self._env = None

    def _made(self) -> Env:
        env = self._make()
        if not _takes_seed(env.unwrapped.reset):
            raise SpecError("its reset takes no seed; Gymnasium's API is reset(*, seed=None, options=None)")
        obs_space = env.observation_space
        same = obs_space == self._obs_space if self._structure is None else Structure.of(obs_space) == self._structure
        if not same or num_actions(env.action_space) != num_actions(self.action_space):
            raise SpecError(
                f"its spaces {env.observation_space}, {env.action_space} differ from those of the first one"
            )
        return env

    def _observed(self, obs: Any) -> Any:
        obs = stored(obs, self._obs_space) if self._structure is None else self._structure.flatten(obs)
        if self._signals is None:
            return obs
        assert self._env is not None
        observed = _read(self._signals, self._env)
        found = {name: ArraySpec(value.shape, value.dtype) for name, value in observed.items()}
        if found != self._signal_specs:
            raise SpecError(f"signals are {found}; after the first reset they were {dict(self._signal_specs)}")
        observed[OBS] = obs
        return observed

    def _blank(self) -> Any:
        space = self.observation_space
        if isinstance(space, spaces.Dict):
            return {name: np.zeros(part.shape or (), part.dtype) for name, part in space.spaces.items()}
        return np.zeros(space.shape or (), space.dtype)

    def _failure(self, where: str, error: BaseException) -> dict[str, Any]:
        """One line if it is clear what is wrong; else the environment's traceback, for its author."""
        what = f" {error}" if isinstance(error, RlkitError) else f"\n{traceback.format_exc()}"
        return {FAILURE: f"environment {self._index} failed {where}:{what}"}


def _raise_if_users(error: BaseException) -> None:
    """Raises a KeyboardInterrupt that comes from the user's Ctrl-C; the environment raised everything else."""
    if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        raise error


def end_with_parent() -> None:
    """Ends this worker process, even a hung one, as soon as its parent has ended for whatever reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if not parent.is_alive():  # before the call above
        os._exit(1)
    if sys.platform != "linux":

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


@dataclass(frozen=True, slots=True)
class EnvFactory:
    """Makes the environment of one index, in this process or in a worker."""

    index: int
    make: EnvMaker
    spec: EnvSpec
    signals: SignalReader | None
    parent: int  # process id
    remake: bool = False

    def __call__(self) -> SubEnv:
        if os.getpid() != self.parent:
            # Both signals reach the whole process group, but only the parent decides when to stop. It ends its workers
            # through their pipes, else by SIGKILL; a worker whose parent has died ends by itself.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            end_with_parent()
        return SubEnv(self.index, self.make, self.spec, self.signals, self.remake)
