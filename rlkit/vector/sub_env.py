"""One environment as a member of a vector, in this process or a worker: its failures as data, and its crashes."""

from __future__ import annotations

import ctypes
import inspect
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from rlkit.errors import RlkitError, SpecError
from rlkit.structure import Structure, stored
from rlkit.types import ArraySpec, EnvSpec
from rlkit.vector.environment import OBS, Env, EnvMaker, SignalReader, action_of, num_actions, read_signals

FAILURE = "failure"
CRASH = "crash"  # a failure after which the environment is made anew
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent ends


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
    and `info` has the crash. A seeded reset that raises is tried once more, with a new environment; one without a
    seed is not, since its state is lost: it returns zeros and the crash, and the next reset must have a seed.
    lost: why the process of the environment before was lost; the first call has this crash.
    """

    def __init__(
        self,
        index: int,
        make: EnvMaker,
        spec: EnvSpec,
        signals: SignalReader | None,
        remake: bool = False,
        lost: str | None = None,
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
        self._crash = {} if lost is None else {CRASH: lost}  # of the next call
        self._env: Env | None = None
        if signals is not None:
            signal_spaces = {name: _space_of(item) for name, item in spec.signals.items()}
            self.observation_space = spaces.Dict({OBS: spec.observation_space, **signal_spaces})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        crash, self._crash = self._crash, {}
        if crash and seed is None:
            return self._blank(), crash
        try:
            return self._started(seed), crash
        except BaseException as error:
            _raise_if_users(error)
            failure = self._failure(f"in reset with seed {seed}", error)
            if not self._may_remake(error):
                return self._blank(), failure
        self._drop()
        if seed is None:
            return self._blank(), {CRASH: failure[FAILURE]}
        try:
            return self._started(seed), {CRASH: failure[FAILURE]}
        except BaseException as error:
            _raise_if_users(error)
            return self._blank(), self._failure(f"twice in reset with seed {seed}", error)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self._crash:
            crash, self._crash = self._crash, {}
            return self._blank(), 0.0, False, True, crash
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
        observed = read_signals(self._signals, self._env)
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
    lost: str | None = None

    def __call__(self) -> SubEnv:
        if os.getpid() != self.parent:
            # Both signals reach the whole process group, but only the parent decides when to stop. It ends its workers
            # through their pipes, else by SIGKILL; a worker whose parent has died ends by itself.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            end_with_parent()
        return SubEnv(self.index, self.make, self.spec, self.signals, self.remake, self.lost)
