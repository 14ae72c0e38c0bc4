"""Any registered Gymnasium environment with discrete actions: classic control, toy text, MiniGrid, MinAtar ..."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces, wrappers
from numpy.typing import NDArray
from pydantic import Field, field_validator

import envs.worlds  # noqa: F401  # here too: a folder `envs` where Python is started hides the package's __init__
from rlkit import plugins
from rlkit.config.model import Model, PluginConfig
from rlkit.environments import Environments
from rlkit.errors import ConfigError, SpecError
from rlkit.structure import is_array
from rlkit.types import Purpose
from rlkit.vector.driver import VectorEnvironments, describe
from rlkit.vector.environment import Env, SignalReader, layers

# A run is resumed and replayed from seeds and actions alone, so nothing may outlive a seeded reset, and nothing but
# the engine may reset.
REFUSED = {
    wrappers.NormalizeObservation: "keeps its statistics over a seeded reset, so no run could be resumed or replayed; "
    "let the agent scale its inputs",
    wrappers.NormalizeReward: "keeps its statistics over a seeded reset, so no run could be resumed or replayed; "
    "let the agent clip rewards",
    wrappers.Autoreset: "resets on its own, which the engine does itself",
}
RESEEDING = "minigrid.wrappers:ReseedWrapper"
# it warns at every seeded reset that it does what it was chosen for
warnings.filterwarnings("ignore", message=".*A seed has been passed to `ReseedWrapper.reset` which is ignored")


class WrapperConfig(Model):
    """A wrapper with arguments."""

    path: str = Field(description='The wrapper, as "package.module:attr"; it is called with the environment.')
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments after the environment.")


# every abstract base class has a method of this name; for a config it means nothing
warnings.filterwarnings("ignore", message='Field name "register" in .* shadows')


class GymnasiumConfig(PluginConfig):
    """Which environment, how it is wrapped, and where it runs."""

    id: str = Field(
        description='A registered id with its version, e.g. "CartPole-v1". rlkit\'s own: "rlkit/DeepSea-v0", '
        '"rlkit/MountainCarGoal-v0", "rlkit/SparseMountainCar-v0", "rlkit/SparseCartPoleSwingUp-v0".'
    )
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the environment; what may stand here is its own affair."
    )
    register: tuple[str, ...] = Field(
        default=(),
        description='What makes ids known, once per process and in order: modules to import ("minigrid", "my_package") '
        'and functions to call ("minatar.gym:register_envs"). Empty: only what Gymnasium itself finds.',
    )
    wrappers: tuple[str | WrapperConfig, ...] = Field(
        default=(),
        description='Wrappers, the innermost first: "package.module:attr", or a table with `path` and `kwargs`. '
        "A FrameStackObservation in the last place is recognised, and each of its frames is stored once.",
    )
    signals: str | None = Field(
        default=None,
        description='"package.module:attr" of a function that gets the environment after each reset and step and '
        "returns a dict of arrays (positions, RAM ...) for goal spaces and bonuses. Left out: no signals.",
    )
    mode: Literal["sync", "async"] = Field(
        default="sync",
        description='"sync" steps one environment after the other in this process: best for fast ones. "async" gives '
        "each a process and steps while the agent learns: pays where a step takes more than about 0.2 ms. The numbers "
        "are the same.",
    )
    max_episode_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps after which an episode is truncated, in place of the environment's own limit. Left out: its "
        "own; required where it has none, since resuming plays whole episodes back. 1: every step is an episode.",
    )

    @field_validator("kwargs")
    @classmethod
    def _no_render_mode(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        if "render_mode" in kwargs:
            raise ValueError("render_mode is chosen by what the environment is made for; leave it out")
        return kwargs


class ForgetLastAction(gym.Wrapper[Any, Any, Any, Any]):
    """A seeded reset of MinAtar that also forgets the action which sticky actions would repeat."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.unwrapped.game.last_action = 0  # type: ignore[attr-defined]
        return super().reset(seed=seed, options=options)


@dataclass(frozen=True, slots=True)
class Build:
    """Makes one environment of a config; raises ConfigError for what cannot be made. Picklable, for workers."""

    config: GymnasiumConfig
    render: bool = False

    def __call__(self) -> Env:
        config = self.config
        for path in config.register:
            _register(path)
        env = self._made()
        if _is_minatar(env):
            env = ForgetLastAction(env)
        for entry in config.wrappers:
            env = _wrapped(env, entry)
        for layer in layers(env):
            for kind, reason in REFUSED.items():
                if isinstance(layer, kind):
                    raise ConfigError(f"env.wrappers: {kind.__name__} {reason}")
            _check_reseeding(layer)
        self._check_time_limit(env)
        return env

    def _made(self) -> Env:
        config = self.config
        try:
            gym.spec(config.id)
        except (gym.error.Error, ImportError) as error:
            hint = (
                plugins.nearest(config.id, list(gym.registry)) or "; does env.register name the package that adds it?"
            )
            raise ConfigError(f"env.id: no registered environment {config.id!r}{hint}") from error
        arguments = {**config.kwargs, **({"render_mode": "rgb_array"} if self.render else {})}
        try:
            # the passive checker would cost as much as a step of CartPole; check_env checks more
            return gym.make(
                config.id, max_episode_steps=config.max_episode_steps, disable_env_checker=True, **arguments
            )
        except Exception as error:
            raise ConfigError(f"env: cannot make {config.id} with {arguments}: {error}") from error

    def _check_time_limit(self, env: Env) -> None:
        own, given = time_limit(env), self.config.max_episode_steps
        if own is None:
            raise ConfigError(
                f"env.max_episode_steps: missing; {self.config.id} has no time limit, and an episode without end could "
                "not be resumed; give one, for example 1000"
            )
        if given is not None and own < given:
            raise ConfigError(
                f"env.max_episode_steps: {given} is beyond the {own} steps after which the environment itself ends an "
                "episode; give its own limit in env.kwargs (max_steps for MiniGrid) or less here"
            )


@cache
def _register(path: str) -> None:
    """Once per process: importing or registering again would warn of ids registered twice."""
    found = plugins.import_object(path)
    if not inspect.ismodule(found):
        found()


def _wrapped(env: Env, entry: str | WrapperConfig) -> Env:
    path, kwargs = (entry, {}) if isinstance(entry, str) else (entry.path, entry.kwargs)
    wrapper = plugins.import_object(path)
    try:
        wrapped = wrapper(env, **kwargs)
    except Exception as error:
        raise ConfigError(f"env.wrappers: {path} with {kwargs} failed: {type(error).__name__}: {error}") from error
    if not isinstance(wrapped, gym.Env):
        raise ConfigError(f"env.wrappers: {path} returned {type(wrapped).__name__}; expected an environment")
    return wrapped


def _check_reseeding(layer: Env) -> None:
    """MiniGrid's ReseedWrapper fixes the layout by one seed; several it takes in turn, wherever it has come to."""
    is_reseeding = f"{type(layer).__module__}:{type(layer).__name__}" == RESEEDING
    if is_reseeding and len(seeds := layer.seeds) != 1:  # type: ignore[attr-defined]
        raise ConfigError(
            f"env.wrappers: ReseedWrapper with {len(seeds)} seeds keeps its place among them over a seeded reset, so "
            "no run could be resumed or replayed; give one, as in kwargs = { seeds = [0] }"
        )


def _is_minatar(env: Env) -> bool:
    return type(env.unwrapped).__module__.partition(".")[0] == "minatar"


def time_limit(env: Env) -> int | None:
    """The smallest of the limits that its TimeLimit wrappers, and its own `max_steps` (MiniGrid), set; or None."""
    limits = [layer._max_episode_steps for layer in layers(env) if isinstance(layer, wrappers.TimeLimit)]
    own = getattr(env.unwrapped, "max_steps", None)
    return min(limits + ([own] if isinstance(own, int) else []), default=None)


def sticky_actions(env: Env) -> float | None:
    """The probability with which the environment repeats the last action, where it says so."""
    for layer in layers(env):
        if isinstance(layer, wrappers.StickyAction):
            return float(layer.repeat_action_probability)
    if _is_minatar(env):
        return float(env.unwrapped.game.sticky_action_prob)  # type: ignore[attr-defined]
    stated = env.spec.kwargs.get("repeat_action_probability") if env.spec is not None else None
    return None if stated is None else float(stated)


@dataclass(frozen=True, slots=True)
class Signals:
    """Reads the configured signals, and the screen where one is to be rendered."""

    path: str | None
    screen: bool

    def __call__(self, env: Env) -> Mapping[str, Any]:
        values = {} if self.path is None else dict(_function(self.path)(env))
        if self.screen:
            values["screen"] = _screen(env)
        return values


@cache
def _function(path: str) -> Any:
    return plugins.import_object(path)


def _screen(env: Env) -> NDArray[np.uint8]:
    """(H, W, 3) uint8."""
    picture = np.asarray(env.render())
    if picture.ndim != 3 or picture.shape[-1] != 3:
        name = env.spec.id if env.spec is not None else str(env)
        raise SpecError(f"{name} cannot be rendered: expected an (H, W, 3) picture, got shape {picture.shape}")
    if picture.dtype.kind == "f":  # MinAtar's colours lie in 0..1
        picture = np.rint(255 * picture)
    return picture.astype(np.uint8)


def _hint(space: spaces.Space[Any]) -> str:
    """How to remove what is no array, such as MiniGrid's mission text, from a Dict observation."""
    if not isinstance(space, spaces.Dict):
        return ""
    kept = [name for name, part in space.spaces.items() if is_array(part)]
    if not kept or len(kept) == len(space.spaces):
        return ""
    path = f'path = "gymnasium.wrappers:FilterObservation", kwargs = {{ filter_keys = {kept} }}'
    image = ' (or "minigrid.wrappers:ImgObsWrapper", for the image alone)' if "image" in kept else ""
    return f"; keep the rest by {{ {path} }} in env.wrappers{image}"


class GymnasiumPlugin:
    """See `rlkit.environments.EnvPlugin`."""

    config = GymnasiumConfig

    def make(self, config: GymnasiumConfig, num_envs: int, purpose: Purpose) -> Environments:
        """Rendered environments run in this process, whatever `mode` says."""
        render = purpose is Purpose.RENDER
        build = Build(config, render)
        signals: SignalReader | None = Signals(config.signals, render) if config.signals or render else None
        try:
            spec = describe(build, num_envs, signals)
        except SpecError as error:
            raise SpecError(f"env: {error}{_hint(_space(build))}") from error
        return VectorEnvironments(build, spec, "sync" if render else config.mode, signals)

    def protocol(self, config: GymnasiumConfig) -> Mapping[str, str]:
        env = Build(config)()
        try:
            sticky, limit = sticky_actions(env), time_limit(env)
        finally:
            env.close()
        named = [entry if isinstance(entry, str) else _call(entry) for entry in config.wrappers]
        known = {
            "environment": config.id,
            "arguments": _arguments(config.kwargs),
            "time limit": f"{limit} steps",
            "sticky actions": "" if sticky is None else f"{sticky:g}",
            "wrappers": ", ".join(named),
        }
        return {key: value for key, value in known.items() if value}

    def reference_scores(self, config: GymnasiumConfig) -> Mapping[str, Any] | None:
        """None: no scores are published that hold for every environment."""
        return None


def _arguments(kwargs: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in kwargs.items())


def _call(entry: WrapperConfig) -> str:
    """A wrapper with its arguments: ReseedWrapper's seed is a layout, which a score depends on."""
    return f"{entry.path}({_arguments(entry.kwargs)})" if entry.kwargs else entry.path


def _space(build: Build) -> spaces.Space[Any]:
    env = build()
    env.close()
    return env.observation_space


plugin = GymnasiumPlugin()
