"""Atari with Gymnasium's AtariPreprocessing: slower than the vector backend, but with RAM as a signal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from ale_py import ALEInterface, LoggerMode
from ale_py.env import AtariEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation
from numpy.typing import NDArray

from envs.atari.config import FRAME_SKIP, SIDE, STACK, AtariConfig
from rlkit.environments import Environments
from rlkit.errors import ConfigError
from rlkit.types import EnvSpec, Observation, RawStep
from rlkit.vector.driver import VectorEnvironments, describe
from rlkit.vector.environment import Env

LIVES = "lives"


@dataclass(frozen=True, slots=True)
class Build:
    """Builds one environment of a config."""

    config: AtariConfig

    def __call__(self) -> Env:
        ALEInterface.setLoggerMode(LoggerMode.Error)  # suppresses the banner of each emulator
        options = self.config.options
        game = AtariEnv(
            game=self.config.game,
            frameskip=1,
            repeat_action_probability=options.sticky_actions,
            full_action_space=options.full_action_space,
            max_num_frames_per_episode=options.max_frames,
            mode=self.config.mode,
            difficulty=self.config.difficulty,
        )
        try:
            env = AtariPreprocessing(game, noop_max=options.noop_max, frame_skip=FRAME_SKIP, screen_size=SIDE)
        except gym.error.DependencyNotInstalled as error:
            raise ConfigError(
                'env.backend = "gymnasium" needs OpenCV; install opencv-python-headless (part of rlkit[worlds]), or '
                'use backend = "vector"'
            ) from error
        return FrameStackObservation(env, STACK, padding_type="zero")


@dataclass(frozen=True, slots=True)
class Signals:
    """Reads the configured signals and the number of lives from the emulator."""

    ram: bool
    screen: bool

    def __call__(self, env: Env) -> Mapping[str, Any]:
        emulator = env.unwrapped.ale  # type: ignore[attr-defined]
        values: dict[str, Any] = {LIVES: np.int32(emulator.lives())}
        if self.ram:
            values["ram"] = emulator.getRAM()
        if self.screen:
            values["screen"] = emulator.getScreenRGB()
        return values


class LivesCounted:
    """Removes the signal "lives" of its environments. With `life_loss`, a lost life sets the discount to 0."""

    def __init__(self, environments: Environments, *, life_loss: bool, action_names: tuple[str, ...]) -> None:
        self._environments = environments
        self._life_loss = life_loss
        spec = environments.spec
        shown = {name: signal for name, signal in spec.signals.items() if name != LIVES}
        self._spec = replace(spec, signals=shown, action_names=action_names)
        self._lives: NDArray[np.int32]

    @property
    def spec(self) -> EnvSpec:
        return self._spec

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> Observation:
        return self._without_lives(self._environments.reset(mask, seeds))

    def send(self, action: NDArray[np.int64]) -> None:
        self._environments.send(action)

    def receive(self) -> RawStep:
        before = self._lives
        step = self._environments.receive()
        after = self._without_lives(step.after)
        if not self._life_loss:
            return replace(step, after=after)
        return replace(step, after=after, discount=np.where(self._lives < before, np.float32(0), step.discount))

    def close(self) -> None:
        self._environments.close()

    def _without_lives(self, observation: Observation) -> Observation:
        shown = dict(observation.signals)
        self._lives = shown.pop(LIVES)
        return replace(observation, signals=shown)


def _refuse_other_modes(config: AtariConfig) -> None:
    """Raises ConfigError for a mode or a difficulty that the game does not have."""
    if config.mode is None and config.difficulty is None:
        return
    emulator = AtariEnv(game=config.game).ale
    for key, known in (("mode", emulator.getAvailableModes()), ("difficulty", emulator.getAvailableDifficulties())):
        value = getattr(config, key)
        if value is not None and value not in known:
            raise ConfigError(f"env.{key} = {value}: {config.game} has {', '.join(map(str, known))}")


def make(config: AtariConfig, num_envs: int, *, render: bool) -> Environments:
    """N environments in this process. Raises ConfigError if OpenCV is missing."""
    build, signals = Build(config), Signals("ram" in config.signals, render)
    _refuse_other_modes(config)
    spec = replace(describe(build, num_envs, signals, FRAME_SKIP), world=config.world)
    game = AtariEnv(game=config.game, full_action_space=config.options.full_action_space)
    names = tuple(game.get_action_meanings())
    return LivesCounted(
        VectorEnvironments(build, spec, "sync", signals), life_loss=config.options.life_loss, action_names=names
    )
