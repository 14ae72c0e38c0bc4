"""Which Atari game, under which protocol, on which of the two backends."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, Self

from ale_py import roms
from pydantic import Field, field_validator, model_validator

from rlkit import plugins
from rlkit.config.model import PluginConfig

FRAME_SKIP = 4  # emulator frames an action is repeated for; the newest two are pooled
STACK = 4  # frames an agent sees
SIDE = 84  # pixels
TWO_PLAYERS = {"combat", "joust", "maze_craze", "warlords"}  # ale-py has these for several players only


@dataclass(frozen=True, slots=True)
class Options:
    """What a score depends on besides the game."""

    sticky_actions: float  # probability with which the emulator repeats the last action, drawn for every frame
    full_action_space: bool  # all 18 actions, or those that the game knows
    noop_max: int  # an episode begins with a random number of no-ops below it; 0: none
    fire_reset: bool  # an episode begins with FIRE where the game knows it
    life_loss: bool  # the value ends with every life (discount 0); the episode goes on
    max_frames: int  # emulator frames after which an episode is truncated


PROTOCOLS = {
    # Machado et al. 2018, section 5; Castro et al. 2018 (Dopamine)
    "dopamine": Options(0.25, False, 0, False, False, 108_000),
    # Mnih et al. 2015, Methods; with the life-loss signal as a discount, as in DQN Zoo
    "nature": Options(0.0, False, 30, False, True, 108_000),
}


def games() -> list[str]:
    """The games that one player can play."""
    return sorted(set(roms.get_all_rom_ids()) - TWO_PLAYERS)


class AtariConfig(PluginConfig):
    """One of ALE's games, as 84 x 84 grey pixels, the newest four frames, with the rewards as the game gives them."""

    game: str = Field(description='ALE\'s name of the game, in lower case: "pong", "ms_pacman".')
    protocol: Literal["dopamine", "nature", "custom"] = Field(
        "dopamine",
        description="What scores depend on. dopamine: sticky actions 0.25, no life-loss signal, no no-ops (Machado et "
        "al. 2018). nature: no sticky actions, the value ends with every life, up to 30 no-ops (Mnih et al. 2015). "
        "custom: as the keys below say, and as dopamine where they are left out.",
    )
    sticky_actions: float | None = Field(
        None,
        ge=0.0,
        lt=1.0,
        description="Probability, drawn for every emulator frame, that the game repeats the action before. 0: the game "
        "is deterministic. Left out: the protocol's, as for all keys down to max_frames.",
    )
    full_action_space: bool | None = Field(None, description="All 18 actions instead of those that the game knows.")
    noop_max: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="Episodes begin with a random number of no-ops: 0 to noop_max - 1 on the vector backend, 1 to "
        "noop_max on the gymnasium backend. 0: none.",
    )
    fire_reset: bool | None = Field(
        None, description="Begin episodes with FIRE, for games that wait for it; the vector backend can do it."
    )
    life_loss: bool | None = Field(
        None,
        description="Lost lives end the value (discount 0), so that they are avoided; the episode goes on either way.",
    )
    max_frames: int | None = Field(
        None,
        ge=FRAME_SKIP,
        description="Emulator frames, four a step, after which an episode is truncated; 108,000 are 30 minutes.",
    )
    backend: Literal["vector", "gymnasium"] = Field(
        "vector",
        description="vector: ALE's own vector environment, several times as fast, in threads of this process. "
        "gymnasium: AtariPreprocessing, which has signals.",
    )
    signals: tuple[Literal["ram"], ...] = Field(
        (), description='["ram"]: the 128 bytes of the console\'s memory beside each observation (gymnasium backend).'
    )
    threads: int = Field(
        0, ge=0, le=1024, description="Emulator threads of the vector backend; 0: one a core. The numbers are the same."
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
                    f'{key} = {given} contradicts protocol = "{self.protocol}", which has {fixed}; leave it out, or '
                    'say protocol = "custom"'
                )
        return self

    @model_validator(mode="after")
    def _suits_its_backend(self) -> Self:
        if self.backend == "vector" and self.signals:
            raise ValueError(
                'signals = ["ram"] cannot come from backend = "vector", which has no RAM; use backend = "gymnasium"'
            )
        if self.backend == "gymnasium" and self.threads:
            raise ValueError(f'threads = {self.threads} is for backend = "vector"; leave it out')
        if self.backend == "gymnasium" and self.options.fire_reset:
            raise ValueError('fire_reset cannot come from backend = "gymnasium"; use backend = "vector"')
        return self

    @property
    def world(self) -> str:
        """The game as ALE names it."""
        return f"ALE/{self.game}"

    @property
    def options(self) -> Options:
        """The protocol's values, changed where a custom one says so."""
        base = PROTOCOLS["dopamine" if self.protocol == "custom" else self.protocol]
        given = {key: getattr(self, key) for key in asdict(base) if getattr(self, key) is not None}
        return Options(**{**asdict(base), **given})
