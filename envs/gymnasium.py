"""Plug-in for registered Gymnasium environments with discrete actions: classic control, toy text, MiniGrid, MinAtar."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import Field, field_validator

import envs.worlds  # noqa: F401  # again: a folder `envs` in the working directory hides the package's __init__
from envs.action_names import action_names
from envs.entry_names import with_entry_names
from envs.screens import grid_cells, view_cells
from envs.wrapping import (
    ForgetLastAction,
    KeptInfo,
    action_mask,
    called,
    check_layers,
    is_minatar,
    is_minigrid,
    logged_info,
    one_line,
    states_limit,
    sticky_actions,
    time_limit,
    wrapped,
)
from rlkit import plugins
from rlkit.config.model import Kwargs, Model, PluginConfig
from rlkit.environments import Environments
from rlkit.errors import ConfigError, SpecError
from rlkit.structure import is_array, leaves
from rlkit.types import ACTION_MASK, SCREEN, SCREEN_CELLS, Purpose
from rlkit.vector.driver import VectorEnvironments, describe
from rlkit.vector.environment import Env, SignalReader

PIXELS = "rgb_array"  # the render mode in which environments return pictures


class WrapperConfig(Model):
    """A wrapper and its arguments."""

    path: str = Field(description='The wrapper, as "package.module:attr"; it is called with the environment.')
    kwargs: Kwargs = Field(
        default_factory=dict, description="Keyword arguments after the environment; a list is also tried as a tuple."
    )


# abstract base classes have a method of this name, which configs do not use
warnings.filterwarnings("ignore", message='Field name "register" in .* shadows')


class GymnasiumConfig(PluginConfig):
    """Selects an environment, its wrappers, and the process that runs it."""

    id: str = Field(
        description='A registered id with its version, e.g. "CartPole-v1". rlkit\'s own ids: "rlkit/DeepSea-v0", '
        '"rlkit/MountainCarGoal-v0", "rlkit/SparseMountainCar-v0", "rlkit/SparseCartPoleSwingUp-v0".'
    )
    kwargs: Kwargs = Field(
        default_factory=dict,
        description="Keyword arguments of the environment; see its own documentation. A list is also tried as a tuple. "
        'render_mode is set by rlkit and for AddRenderObservation; for your own wrapper that renders: "rgb_array".',
    )
    register: tuple[str, ...] = Field(
        default=(),
        description='Modules to import ("minigrid", "my_package") and functions to call ("minatar.gym:register_envs") '
        "to register ids, in order and once per process. Default: none; Gymnasium finds its own ids.",
    )
    wrappers: tuple[str | WrapperConfig, ...] = Field(
        default=(),
        description='Wrappers, starting with the innermost: "package.module:attr", or a table with `path` and '
        "`kwargs`. If the last one is FrameStackObservation, the replay stores each of its frames once.",
    )
    signals: str | None = Field(
        default=None,
        description='"package.module:attr" of a function that is called with the environment after each reset and step '
        "and returns a dict of arrays (positions, RAM ...) for goal spaces and bonuses. Default or false: no signals.",
    )
    action_mask: bool = Field(
        default=False,
        description='Whether info["action_mask"], a Dict observation\'s "action_mask", or the environment\'s method '
        "action_masks says which actions are allowed: one bool for each. Agents then act, explore and bootstrap with "
        "these only.",
    )
    log_info: tuple[str, ...] = Field(
        default=(),
        description="Names of numbers in info that are logged: their value at the end of each episode, as info/NAME.",
    )
    mode: Literal["sync", "async"] = Field(
        default="sync",
        description='"sync" steps the environments one after the other in this process, which is best for fast ones. '
        '"async" runs each in its own process while the agent learns, which is faster if a step takes more than about '
        "0.2 ms. Results are the same.",
    )
    step_timeout: float | None = Field(
        default=None,
        gt=0,
        description="Seconds that a reset or a step may take before the run ends with an error that names the "
        'environment; needs mode = "async". Default: no limit.',
    )
    restarts: int = Field(
        default=0,
        ge=0,
        description="How many crashes of environments (exceptions in step or reset) a run survives, counted over all "
        "environments of a process: the environment is made anew, its episode is truncated, and the next one has a new "
        "seed. Resuming stays exact. Crashes are warned of and counted as progress/restarts. 0: a crash ends the run.",
    )
    max_episode_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps after which an episode is truncated. Default: the environment's own limit. Required if it "
        "states none, because resuming replays whole episodes. 1: every step is an episode.",
    )

    @field_validator("kwargs")
    @classmethod
    def _render_mode(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        if kwargs.get("render_mode", PIXELS) != PIXELS:
            raise ValueError(f'render_mode is set by rlkit; remove it, or give "{PIXELS}" if a wrapper renders')
        return kwargs

    def renders(self) -> bool:
        """Whether a wrapper makes observations from rendered pictures."""
        paths = [entry if isinstance(entry, str) else entry.path for entry in self.wrappers]
        return any(path.rpartition(":")[2] == "AddRenderObservation" for path in paths)


@dataclass(frozen=True, slots=True)
class Build:
    """Builds one environment of a config. Raises ConfigError if this fails. Instances can be pickled for workers."""

    config: GymnasiumConfig
    render: bool = False

    def __call__(self) -> Env:
        config = self.config
        for path in config.register:
            register_ids(path)
        env = self._made()
        env.metadata = with_entry_names(env)
        if is_minatar(env):
            env = ForgetLastAction(env)
        if config.action_mask or config.log_info:
            env = KeptInfo(env)
        for entry in config.wrappers:
            env = wrapped(env, entry, {}) if isinstance(entry, str) else wrapped(env, entry.path, entry.kwargs)
        check_layers(env)
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
        arguments = {**config.kwargs, **({"render_mode": PIXELS} if self.render or config.renders() else {})}

        def make(**kwargs: Any) -> Env:
            # Gymnasium's passive checker takes as long as a step of CartPole; rlkit's own check plays
            return gym.make(config.id, max_episode_steps=config.max_episode_steps, disable_env_checker=True, **kwargs)

        try:
            made: Env = called(make, arguments)
        except Exception as error:
            raise ConfigError(f"env: cannot make {config.id} with {arguments}: {one_line(error)}") from error
        return made

    def _check_time_limit(self, env: Env) -> None:
        own, given = time_limit(env), self.config.max_episode_steps
        if own is None:
            raise ConfigError(
                f"env.max_episode_steps: missing; {self.config.id} states no time limit, and an endless episode could "
                "not be resumed; set the most steps that an episode may have, for example 1000"
            )
        if given is not None and own < given:
            raise ConfigError(
                f"env.max_episode_steps: {given} exceeds the environment's own limit of {own} steps; set its own limit "
                "in env.kwargs (max_steps for MiniGrid), or a smaller number here"
            )


@cache
def register_ids(path: str) -> None:
    """Imports a module or calls a function, once per process, because a second time would raise warnings."""
    found = plugins.import_object(path)
    if not inspect.ismodule(found):
        found()


@dataclass(frozen=True, slots=True)
class Signals:
    """Reads the configured signals, action mask and infos, and the screen if `screen` is set."""

    path: str | None
    screen: bool
    mask: bool = False
    infos: tuple[str, ...] = ()

    def __call__(self, env: Env) -> Mapping[str, Any]:
        values = {} if self.path is None else dict(_function(self.path)(env))
        if self.mask:
            values[ACTION_MASK] = action_mask(env)
        if self.infos:
            values |= logged_info(env, self.infos)
        if self.screen:
            values[SCREEN] = screen = _screen(env)
            cells = _cells(env, screen)
            if cells is not None:
                values[SCREEN_CELLS] = cells
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
    if picture.dtype.kind == "f":  # MinAtar renders floats in 0..1
        picture = np.rint(255 * picture)
    return picture.astype(np.uint8)


def _cells(env: Env, screen: NDArray[np.uint8]) -> NDArray[np.int16] | None:
    """The signal "screen_cells" of MiniGrid's grids of codes, (h, w, 4); None for other observations."""
    shape = env.observation_space.shape or ()
    if not is_minigrid(env) or len(shape) != 3 or shape[2] != 3:
        return None
    world: Any = env.unwrapped
    size = screen.shape[0] // world.height
    if shape[:2] == (world.agent_view_size, world.agent_view_size):
        return view_cells(np.array(world.agent_pos), world.agent_dir, (world.width, world.height), shape[0], size)
    return grid_cells(world.width, world.height, size) if shape[:2] == (world.width, world.height) else None


def _hint(space: spaces.Space[Any]) -> str:
    """Says how to remove entries that are not arrays, such as MiniGrid's mission text, from a Dict observation."""
    if not isinstance(space, spaces.Dict):
        return ""
    kept = [name for name, part in space.spaces.items() if all(is_array(leaf) for _, leaf in leaves(part))]
    if not kept or len(kept) == len(space.spaces):
        return ""
    path = f'path = "gymnasium.wrappers:FilterObservation", kwargs = {{ filter_keys = {kept} }}'
    image = ' (or "minigrid.wrappers:ImgObsWrapper", for the image only)' if "image" in kept else ""
    return f"; for example {{ {path} }} in env.wrappers{image}"


class GymnasiumPlugin:
    """See `rlkit.environments.EnvPlugin`."""

    config = GymnasiumConfig

    def make(self, config: GymnasiumConfig, num_envs: int, purpose: Purpose) -> Environments:
        """Environments for rendering always run in this process."""
        render = purpose is Purpose.RENDER
        build = Build(config, render)
        reads = config.signals or render or config.action_mask or config.log_info
        signals: SignalReader | None = (
            Signals(config.signals, render, config.action_mask, config.log_info) if reads else None
        )
        try:
            spec = describe(build, num_envs, signals, names=action_names)
        except SpecError as error:
            raise SpecError(f"env: {error}{_hint(_space(build))}") from error
        return VectorEnvironments(
            build, spec, "sync" if render else config.mode, signals, config.step_timeout, config.restarts
        )

    def protocol(self, config: GymnasiumConfig) -> Mapping[str, str]:
        env = Build(config)()
        try:
            sticky, limit, most = sticky_actions(env), time_limit(env), "" if states_limit(env) else "at most "
        finally:
            env.close()
        named = [entry if isinstance(entry, str) else _call(entry) for entry in config.wrappers]
        known = {
            "environment": config.id,
            "arguments": _arguments(config.kwargs),
            "time limit": f"{most}{limit} steps",
            "sticky actions": "" if sticky is None else f"{sticky:g}",
            "wrappers": ", ".join(named),
        }
        return {key: value for key, value in known.items() if value}

    def reference_scores(self, config: GymnasiumConfig) -> Mapping[str, Any] | None:
        """None: there are no published scores for environments in general."""
        return None

    def labels(self, config: GymnasiumConfig) -> tuple[GymnasiumConfig, Mapping[str, tuple[str, int]]]:
        """Of MiniGrid the entries of `envs.minigrid.state`, of DeepSea row and column, else the config's signals."""
        if config.id.startswith("rlkit/DeepSea"):
            return config.model_copy(update={"signals": "envs.deep_sea:state"}), {
                "row": ("state", 0), "column": ("state", 1)
            }  # fmt: skip
        if config.id.startswith("MiniGrid-"):
            from envs.minigrid import STATE_LABELS

            changes = {"signals": config.signals or "envs.minigrid:state"}
            own = config.signals not in (None, "envs.minigrid:state", "envs.minigrid:situation")
            return config.model_copy(update=changes), {} if own else STATE_LABELS
        return config, {}


def _arguments(kwargs: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in kwargs.items())


def _call(entry: WrapperConfig) -> str:
    """A wrapper with its arguments, because a score can depend on them (ReseedWrapper's seed is a layout)."""
    return f"{entry.path}({_arguments(entry.kwargs)})" if entry.kwargs else entry.path


def _space(build: Build) -> spaces.Space[Any]:
    env = build()
    env.close()
    return env.observation_space


plugin = GymnasiumPlugin()
