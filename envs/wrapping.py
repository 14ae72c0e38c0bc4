"""How the gymnasium plug-in calls wrappers and constructors, and what it reads from layers: limits, stickiness."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import wrappers
from numpy.typing import NDArray

from rlkit import plugins
from rlkit.errors import ConfigError, SpecError
from rlkit.types import ACTION_MASK
from rlkit.vector.environment import Env, layers

# Resuming and replaying a run uses seeds and actions only. So no wrapper may keep state over a seeded reset, and only
# the engine may reset an environment.
REFUSED = {
    wrappers.NormalizeObservation: "keeps its statistics over a seeded reset, so runs could not be resumed or "
    "replayed; let the agent scale its inputs",
    wrappers.NormalizeReward: "keeps its statistics over a seeded reset, so runs could not be resumed or "
    "replayed; let the agent clip rewards",
    wrappers.MaxAndSkipObservation: "keeps its frames over resets and returns an old one if an episode ends within a "
    "skip, so runs could not be resumed or replayed; use the environment's own frame skip, or a wrapper that takes the "
    "maximum over the frames of one step only",
    wrappers.Autoreset: "resets the environment, but only the engine may do this; remove it",
}
RESEEDING = "minigrid.wrappers:ReseedWrapper"
# ReseedWrapper warns at every seeded reset, although ignoring the seed is its purpose
warnings.filterwarnings("ignore", message=".*A seed has been passed to `ReseedWrapper.reset` which is ignored")

KEEPS_OBSERVATIONS = (wrappers.FrameStackObservation, wrappers.DelayObservation)
NOT_IN_TOML = (
    "; TOML has no functions and no arrays: write a function that takes the environment and returns it wrapped, and "
    'name it, as in wrappers = ["my_module:wrapped"]'
)


class ForgetLastAction(gym.Wrapper[Any, Any, Any, Any]):
    """Makes a seeded reset of MinAtar also clear the last action, which sticky actions would repeat."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.unwrapped.game.last_action = 0  # type: ignore[attr-defined]
        return super().reset(seed=seed, options=options)


class KeptInfo(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps the newest observation and `info` for signals that read them."""

    obs: Any = None
    info: Mapping[str, Any] = MappingProxyType({})
    began = True  # whether it is that of a reset

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        obs, info = super().reset(seed=seed, options=options)
        self.obs, self.info, self.began = obs, info, True
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        answer = super().step(action)
        self.obs, self.info, self.began = answer[0], answer[4], False
        return answer


def kept_info(env: Env) -> KeptInfo:
    return next(layer for layer in layers(env) if isinstance(layer, KeptInfo))


def action_mask(env: Env) -> NDArray[np.bool_]:
    """(A,) from info["action_mask"], a Dict observation's "action_mask", or the environment's method action_masks.

    All, if none is allowed. Raises SpecError if it has none of the three.
    """
    kept = kept_info(env)
    found = kept.info.get(ACTION_MASK)
    if found is None and isinstance(kept.obs, Mapping):
        found = kept.obs.get(ACTION_MASK)
    if found is None:
        method = getattr(env.unwrapped, "action_masks", None)
        if not callable(method):
            raise SpecError(
                'env.action_mask: the environment has neither info["action_mask"], nor an "action_mask" in a Dict '
                "observation, nor a method action_masks"
            )
        found = method()
    allowed = np.asarray(found).astype(np.bool_).reshape(-1)
    return allowed if allowed.any() else np.ones_like(allowed)  # at an episode's end, where nothing is bootstrapped


def logged_info(env: Env, names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """ "info/NAME" → its value, () float32; 0 where a reset has none. Raises SpecError for what is no number."""
    kept, values = kept_info(env), {}
    for name in names:
        if name not in kept.info and not kept.began:
            raise SpecError(f"env.log_info: info has no {name!r}; it has {', '.join(map(str, kept.info)) or 'nothing'}")
        value = np.asarray(kept.info.get(name, 0.0))
        if value.size != 1 or value.dtype.kind not in "biuf":
            raise SpecError(f"env.log_info: {name!r} has shape {value.shape}, dtype {value.dtype}; expected a number")
        values[f"info/{name}"] = value.reshape(()).astype(np.float32)
    return values


class CopiedObservation(gym.ObservationWrapper[Any, Any, Any]):
    """Copies each observation for a wrapper that keeps them: an environment may write to the array that it returned."""

    def observation(self, observation: Any) -> Any:
        return observation.copy() if isinstance(observation, np.ndarray) else observation


def wrapped(env: Env, path: str, kwargs: Mapping[str, Any]) -> Env:
    """The environment in the wrapper that `path` names. Raises ConfigError if that fails."""
    wrapper = plugins.import_object(path)
    _refuse_names_of_functions(path, wrapper, kwargs)
    if wrapper in KEEPS_OBSERVATIONS:
        env = CopiedObservation(env)
    try:
        found = called(wrapper, kwargs, env)
    except Exception as error:
        hint = NOT_IN_TOML if any(isinstance(value, list | str) for value in kwargs.values()) else ""
        raise ConfigError(
            f"env.wrappers: {path} with {dict(kwargs)} failed: {type(error).__name__}: {one_line(error)}{hint}"
        ) from error
    if not isinstance(found, gym.Env):
        raise ConfigError(f"env.wrappers: {path} returned {type(found).__name__}; expected an environment")
    return found


def called(function: Callable[..., Any], kwargs: Mapping[str, Any], *arguments: Any) -> Any:
    """`function` with lists as given, and if this fails, with tuples for lists: TOML has no tuples."""
    try:
        return function(*arguments, **kwargs)
    except Exception as error:
        tuples = {name: _with_tuples(value) for name, value in kwargs.items()}
        if tuples == kwargs:
            raise
        try:
            return function(*arguments, **tuples)
        except Exception:
            raise error from None


def _with_tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_with_tuples, value))
    return {key: _with_tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _refuse_names_of_functions(path: str, wrapper: Any, kwargs: Mapping[str, Any]) -> None:
    """Raises ConfigError for a text where the wrapper wants a function: it would fail at the first call only."""
    try:
        parameters = inspect.signature(wrapper).parameters
    except (TypeError, ValueError):
        return
    for name, value in kwargs.items():
        wanted = str(parameters[name].annotation) if name in parameters else ""
        if isinstance(value, str) and "Callable" in wanted and "str" not in wanted:
            raise ConfigError(f"env.wrappers: {path} wants a function for {name!r}, got {value!r}{NOT_IN_TOML}")


def check_layers(env: Env) -> None:
    """Raises ConfigError for wrappers with which a run could not be resumed or replayed."""
    for layer in layers(env):
        for kind, reason in REFUSED.items():
            if isinstance(layer, kind):
                raise ConfigError(f"env.wrappers: {kind.__name__} {reason}")
        _check_reseeding(layer)


def _check_reseeding(layer: Env) -> None:
    """Refuses MiniGrid's ReseedWrapper with several seeds: a seeded reset does not restart their cycle."""
    is_reseeding = f"{type(layer).__module__}:{type(layer).__name__}" == RESEEDING
    if is_reseeding and len(seeds := layer.seeds) != 1:  # type: ignore[attr-defined]
        raise ConfigError(
            f"env.wrappers: ReseedWrapper with {len(seeds)} seeds does not restart their cycle at a seeded reset, so "
            "runs could not be resumed or replayed; give one seed, as in kwargs = { seeds = [0] }"
        )


def is_minatar(env: Env) -> bool:
    return type(env.unwrapped).__module__.partition(".")[0] == "minatar"


def is_minigrid(env: Env) -> bool:
    return any(kind.__module__ == "minigrid.minigrid_env" for kind in type(env.unwrapped).__mro__)


def time_limit(env: Env) -> int | None:
    """The smallest limit of its TimeLimit wrappers, its own `longest_episode` and MiniGrid's `max_steps`; else None.

    Resets BabyAI's environments, whose limit is 0 before their first reset. In other families an attribute of the name
    max_steps may mean anything.
    """
    limits = [layer._max_episode_steps for layer in layers(env) if isinstance(layer, wrappers.TimeLimit)]  # noqa: SLF001
    declared = getattr(env.unwrapped, "longest_episode", None)
    limits += [declared] if isinstance(declared, int) else []
    if is_minigrid(env):
        if not env.unwrapped.max_steps:  # type: ignore[attr-defined]
            env.reset(seed=0)
        limits += [env.unwrapped.max_steps] if env.unwrapped.max_steps else []  # type: ignore[attr-defined]
    return min(limits, default=None)


def states_limit(env: Env) -> bool:
    """Whether it is known that the environment does not end episodes earlier by a limit that it does not state."""
    registered = env.spec is not None and gym.spec(env.spec.id).max_episode_steps is not None
    return registered or hasattr(env.unwrapped, "longest_episode") or is_minigrid(env) or is_minatar(env)


def sticky_actions(env: Env) -> float | None:
    """The probability that the environment repeats the last action, or None if it states none."""
    for layer in layers(env):
        if isinstance(layer, wrappers.StickyAction):
            return float(layer.repeat_action_probability)
    if is_minatar(env):
        return float(env.unwrapped.game.sticky_action_prob)  # type: ignore[attr-defined]
    stated = env.spec.kwargs.get("repeat_action_probability") if env.spec is not None else None
    return None if stated is None else float(stated)
