"""ALE's own vector environment, in threads of this process, as `rlkit.environments.Environments`.

Its sharp edges, and what is done about them: it resets by itself in the step after an end, unless it was reset by mask
before; an action out of range makes `recv` wait for ever; a seed of -1 in the first reset is taken from the system; a
reset while a step is under way ends the process; a life lost either restarts the game or looks like an end, so lives
are counted here.
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

LOWEST = (0, 12, 1)  # before it a masked reset hangs or is refused


def check_version(version: str = ale_py.__version__) -> None:
    """Raises ConfigError for an ale-py whose vector environment cannot be driven."""
    if tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < LOWEST:
        needed = ".".join(map(str, LOWEST))
        raise ConfigError(f"env: ale-py {version} is too old: its masked resets hang; install ale-py {needed} or newer")


def screen_shape(game: str) -> tuple[int, int, int]:
    """(H, W, 3) of a game's full screen: 210 x 160 for most."""
    ALEInterface.setLoggerMode(LoggerMode.Error)
    emulator = ALEInterface()
    path = roms.get_rom_path(game)
    assert path is not None  # the config knows the games
    emulator.loadROM(path)
    height, width = emulator.getScreenDims()
    return int(height), int(width), 3


def make_games(config: AtariConfig, num_envs: int, **pixels: Any) -> AtariVectorEnv:
    """N games of a config; `pixels` says what is seen of them."""
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
    """N games of ALE. `render` plays each a second time, in colour and at full size, for the signal "screen"."""

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
        """See `Environments.reset`. ValueError where the first one is not of all environments, with seeds."""
        if self._under_way:
            raise ValueError("a reset between send and receive")
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
        """See `Environments.send`. ValueError for actions that do not exist."""
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
        """Its threads end with the last reference, also in the middle of a step."""
        self._vectors = []

    def _observation(self, answers: list[Any], first: NDArray[np.bool_]) -> Observation:
        signals = {"screen": answers[1][0][:, 0]} if "screen" in self._spec.signals else {}
        return Observation(answers[0][0], signals, first)


def _asked(question: Callable[..., Any], **arguments: Any) -> Any:
    try:
        return question(**arguments)
    except RuntimeError as error:
        raise WorkerError(f"ALE failed: {error}") from error
