"""Config of the Atari plug-in: game, protocol and backend."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, Self

from ale_py import roms
from pydantic import Field, field_validator, model_validator

from rlkit import plugins
from rlkit.config.model import PluginConfig

FRAME_SKIP = 4  # emulator frames per action; the newest two are pooled
STACK = 4  # frames per observation
SIDE = 84  # pixels
TWO_PLAYERS = {"combat", "joust", "maze_craze", "warlords"}  # ale-py supports these for several players only


@dataclass(frozen=True, slots=True)
class Options:
    """Settings on which scores depend, besides the game."""

    sticky_actions: float  # probability that the emulator repeats the last action, drawn for every frame
    full_action_space: bool  # all 18 actions, or those that the game uses
    noop_max: int  # episodes begin with a random number of no-ops; 0: none
    fire_reset: bool  # episodes begin with FIRE if the game has this action
    life_loss: bool  # a lost life sets the discount to 0; the episode continues
    max_frames: int  # emulator frames after which an episode is truncated


PROTOCOLS = {
    # Machado et al. 2018, section 5; Castro et al. 2018 (Dopamine)
    "dopamine": Options(0.25, False, 0, False, False, 108_000),
    # Mnih et al. 2015, Methods; a lost life sets the discount to 0, as in DQN Zoo
    "nature": Options(0.0, False, 30, False, True, 108_000),
}


def games() -> list[str]:
    """The single-player games."""
    return sorted(set(roms.get_all_rom_ids()) - TWO_PLAYERS)


class AtariConfig(PluginConfig):
    """A game of ALE. Observations are the newest four frames in 84 x 84 grey pixels; rewards are not clipped."""

    game: str = Field(description='ALE\'s name of the game, in lower case: "pong", "ms_pacman".')
    protocol: Literal["dopamine", "nature", "custom"] = Field(
        "dopamine",
        description="The settings on which scores depend. dopamine: sticky actions 0.25, no life-loss signal, no "
        "no-ops (Machado et al. 2018). nature: no sticky actions, a lost life sets the discount to 0, up to 30 no-ops "
        "(Mnih et al. 2015). custom: the values of the keys below, with the defaults of dopamine.",
    )
    sticky_actions: float | None = Field(
        None,
        ge=0.0,
        lt=1.0,
        description="Probability, drawn for every emulator frame, that the game repeats the last action. 0: the game "
        "is deterministic. Default of this key and of the keys down to max_frames: the protocol's value.",
    )
    full_action_space: bool | None = Field(None, description="All 18 actions instead of those that the game uses.")
    noop_max: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="Episodes begin with a random number of no-ops: 0 to noop_max - 1 on the vector backend, 1 to "
        "noop_max on the gymnasium backend. 0: none.",
    )
    fire_reset: bool | None = Field(
        None, description="Begin episodes with FIRE, for games that wait for it; vector backend only."
    )
    life_loss: bool | None = Field(
        None,
        description="A lost life sets the discount to 0, so that agents learn to avoid it; the episode continues.",
    )
    max_frames: int | None = Field(
        None,
        ge=FRAME_SKIP,
        description="Emulator frames, four per step, after which an episode is truncated; 108,000 are 30 minutes.",
    )
    backend: Literal["vector", "gymnasium"] = Field(
        "vector",
        description="vector: ALE's vector environment, in threads of this process, several times faster. gymnasium: "
        "AtariPreprocessing, which supports signals.",
    )
    signals: tuple[Literal["ram"], ...] = Field(
        (), description='["ram"]: the 128 bytes of the console\'s memory with each observation (gymnasium backend).'
    )
    mode: int | None = Field(None, description="The game's mode (gymnasium backend). Default: its first one.")
    difficulty: int | None = Field(
        None, description="The position of the difficulty switch (gymnasium backend). Default: the game's first one."
    )
    threads: int = Field(
        0, ge=0, le=1024, description="Emulator threads of the vector backend; 0: one per core. Results are the same."
    )

    @field_validator("game")
    @classmethod
    def _exists(cls, game: str) -> str:
        if game in TWO_PLAYERS:
            raise ValueError(f"{game} is for two players only")
        known = games()
        if game not in known:
            raise ValueError(f"no game {game!r}{plugins.nearest(game.lower(), known) or ': ' + ', '.join(known)}")
        return game

    @model_validator(mode="after")
    def _keeps_its_protocol(self) -> Self:
        if self.protocol == "custom":
            return self
        for key, value in asdict(PROTOCOLS[self.protocol]).items():
            if getattr(self, key) not in (None, value):
                given, fixed = json.dumps(getattr(self, key)), json.dumps(value)
                raise ValueError(
                    f'{key} = {given} contradicts protocol = "{self.protocol}", which has {fixed}; remove it, or '
                    'set protocol = "custom"'
                )
        return self

    @model_validator(mode="after")
    def _suits_its_backend(self) -> Self:
        if self.backend == "vector" and self.signals:
            raise ValueError('signals = ["ram"] is not supported by backend = "vector"; use backend = "gymnasium"')
        for key in ("mode", "difficulty"):
            if self.backend == "vector" and getattr(self, key) is not None:
                raise ValueError(f'{key} is not supported by backend = "vector"; use backend = "gymnasium"')
        if self.backend == "gymnasium" and self.threads:
            raise ValueError(f'threads = {self.threads} is for backend = "vector" only; remove it')
        if self.backend == "gymnasium" and self.options.fire_reset:
            raise ValueError('fire_reset is not supported by backend = "gymnasium"; use backend = "vector"')
        return self

    @property
    def world(self) -> str:
        """The game's id in ALE."""
        return f"ALE/{self.game}"

    @property
    def options(self) -> Options:
        """The protocol's values; with "custom", the keys that are set override them."""
        base = PROTOCOLS["dopamine" if self.protocol == "custom" else self.protocol]
        given = {key: getattr(self, key) for key in asdict(base) if getattr(self, key) is not None}
        return Options(**{**asdict(base), **given})
