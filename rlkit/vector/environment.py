"""One Gymnasium environment of a vector: its spaces, its signals and its spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray

from rlkit.errors import SpecError
from rlkit.structure import Structure, is_array
from rlkit.types import ACTION_MASK, ArraySpec, EnvSpec, Stack

Env: TypeAlias = gym.Env[Any, Any]
EnvMaker: TypeAlias = Callable[[], Env]
"""Makes one environment. It is called in every worker process, so it must be picklable."""

SignalReader: TypeAlias = Callable[[Env], Mapping[str, Any]]
"""Returns an environment's side information after each reset and step: name → array, always of the same shape."""

LARGEST_JOINT = 4096  # joint actions of a MultiDiscrete, each of which gets an output of the network
OBS = "obs"  # the name of the observation beside its signals
SUCCESS = "success"  # the signal that evaluations count: one value

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
        values = read_signals(signals, env)
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


def read_signals(signals: SignalReader, env: Env) -> dict[str, NDArray[Any]]:
    """The signals as arrays; "success" as one value. Raises SpecError if it has several."""
    values = {str(name): np.asarray(value) for name, value in signals(env).items()}
    if SUCCESS in values:
        if values[SUCCESS].size != 1:
            raise SpecError(f'signals: "{SUCCESS}" has shape {values[SUCCESS].shape}; it must be one value')
        values[SUCCESS] = values[SUCCESS].reshape(())
    return values
