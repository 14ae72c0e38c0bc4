"""ALE's vector environment, in threads of this process, as `rlkit.environments.Environments`.

This module works around the following behaviour of ALE's vector environment:

- It resets an ended episode in the next step, unless a masked reset comes first.
- An action out of range makes `recv` wait forever.
- In the first reset, a seed of -1 is replaced by one from the operating system.
- A reset between `send` and `recv` crashes the process.
- A lost life either restarts the game or looks like the end of an episode, so this module counts lives itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ale_py
import numpy as np
from ale_py import ALEInterface, LoggerMode, roms
from ale_py.vector_env import AtariVectorEnv
from numpy.typing import NDArray

from envs.atari.config import FRAME_SKIP, SIDE, STACK, AtariConfig
from rlkit.errors import ConfigError, WorkerError
from rlkit.seeding import MAX_SEED
from rlkit.types import ArraySpec, EnvSpec, Observation, RawStep, Stack

LOWEST = (0, 12, 1)  # masked resets hang or fail in earlier versions


def check_version(version: str = ale_py.__version__) -> None:
    """Raises ConfigError if the version of ale-py is too old."""
    if tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < LOWEST:
        needed = ".".join(map(str, LOWEST))
        raise ConfigError(f"env: ale-py {version} is too old: its masked resets hang; install ale-py {needed} or newer")


def screen_shape(game: str) -> tuple[int, int, int]:
    """(H, W, 3) of a game's full screen, which is 210 x 160 for most games."""
    ALEInterface.setLoggerMode(LoggerMode.Error)
    emulator = ALEInterface()
    path = roms.get_rom_path(game)
    assert path is not None  # the config has validated the game
    emulator.loadROM(path)
    height, width = emulator.getScreenDims()
    return int(height), int(width), 3


def make_games(config: AtariConfig, num_envs: int, **pixels: Any) -> AtariVectorEnv:
    """N environments of a config; `pixels` sets size, colour and stacking of the frames."""
    options = config.options
    return AtariVectorEnv(
        config.game,
        num_envs,
        num_threads=config.threads,
        max_num_frames_per_episode=options.max_frames,
        repeat_action_probability=options.sticky_actions,
        full_action_space=options.full_action_space,
        frameskip=FRAME_SKIP,
        noop_max=options.noop_max,
        use_fire_reset=options.fire_reset,
        episodic_life=False,
        life_loss_info=False,
        reward_clipping=False,
        **pixels,
    )


class VectorAtari:
    """N environments of ALE. `render` adds a copy of each in colour and full size, for the signal "screen"."""

    def __init__(self, config: AtariConfig, num_envs: int, *, render: bool = False) -> None:
        check_version()
        self._life_loss = config.options.life_loss
        games = make_games(config, num_envs, img_height=SIDE, img_width=SIDE, stack_num=STACK)
        self._vectors = [games]
        signals = {}
        if render:
            height, width, _ = shape = screen_shape(config.game)
            screens = make_games(config, num_envs, img_height=height, img_width=width, grayscale=False, stack_num=1)
            self._vectors.append(screens)
            signals["screen"] = ArraySpec(shape, np.uint8)
        self._spec = EnvSpec(
            observation_space=games.single_observation_space,
            num_actions=len(games.ale.get_action_set()),
            num_envs=num_envs,
            frame_skip=FRAME_SKIP,
            stack=Stack(axis=0, size=STACK, padding="zero"),
            signals=signals,
            action_names=tuple(action.name for action in games.ale.get_action_set()),
            world=config.world,
        )
        self._nowhere = np.zeros(num_envs, dtype=np.bool_)
        self._nowhere.flags.writeable = False
        self._lives: NDArray[np.int32] | None = None  # (N,); None before the first reset
        self._under_way = False

    @property
    def spec(self) -> EnvSpec:
        return self._spec

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> Observation:
        """See `Environments.reset`. Raises ValueError if the first reset is not of all environments, with seeds."""
        if self._under_way:
            raise ValueError("reset was called between send and receive")
        wanted = seeds[mask]
        if self._lives is None and (not mask.all() or (wanted < 0).any()):
            raise ValueError("the first reset must be of all environments, with seeds")
        if ((wanted < -1) | (wanted > MAX_SEED)).any():
            raise ValueError(f"seeds {wanted}; expected 0..{MAX_SEED}, or -1 to let a generator go on")
        options = None if self._lives is None else {"reset_mask": mask.copy()}
        answers = [_asked(vector.reset, seed=wanted, options=options) for vector in self._vectors]
        self._lives = answers[0][1]["lives"]
        return self._observation(answers, mask.copy())

    def send(self, action: NDArray[np.int64]) -> None:
        """See `Environments.send`. Raises ValueError for actions out of range."""
        if action.min() < 0 or action.max() >= self._spec.num_actions:
            raise ValueError(f"actions {action}; expected 0..{self._spec.num_actions - 1}")
        self._under_way = True
        for vector in self._vectors:
            vector.send(action)

    def receive(self) -> RawStep:
        answers = [_asked(vector.recv) for vector in self._vectors]
        self._under_way = False
        _, reward, terminated, truncated, info = answers[0]
        value_ends = terminated
        if self._life_loss:
            value_ends = terminated | (info["lives"] < self._lives)
        self._lives = info["lives"]
        return RawStep(
            after=self._observation(answers, self._nowhere),
            reward=reward.astype(np.float32),
            discount=np.logical_not(value_ends).astype(np.float32),
            terminated=terminated,
            truncated=truncated,
        )

    def close(self) -> None:
        """Drops the last reference, which ends the threads, even during a step."""
        self._vectors = []

    def _observation(self, answers: list[Any], first: NDArray[np.bool_]) -> Observation:
        signals = {"screen": answers[1][0][:, 0]} if "screen" in self._spec.signals else {}
        return Observation(answers[0][0], signals, first)


def _asked(question: Callable[..., Any], **arguments: Any) -> Any:
    try:
        return question(**arguments)
    except RuntimeError as error:
        raise WorkerError(f"ALE failed: {error}") from error
