"""Plug-in for Atari 2600 games, with the Arcade Learning Environment (Bellemare et al. 2013) from ale-py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ale_py

from envs.atari import preprocessing
from envs.atari.bytes import BYTES
from envs.atari.config import FRAME_SKIP, SIDE, STACK, AtariConfig
from envs.atari.vector import VectorAtari
from rlkit.environments import Environments
from rlkit.report.reference import atari_scores, game_of
from rlkit.types import Purpose

__all__ = ["AtariConfig", "AtariPlugin", "plugin"]


class AtariPlugin:
    """See `rlkit.environments.EnvPlugin`."""

    config = AtariConfig

    def make(self, config: AtariConfig, num_envs: int, purpose: Purpose) -> Environments:
        render = purpose is Purpose.RENDER
        if config.backend == "gymnasium":
            return preprocessing.make(config, num_envs, render=render)
        return VectorAtari(config, num_envs, render=render)

    def protocol(self, config: AtariConfig) -> Mapping[str, str]:
        options = config.options
        vector = config.backend == "vector"
        noops = f"0 to {max(0, options.noop_max - 1 - options.fire_reset)}" if vector else f"1 to {options.noop_max}"
        return {
            "environment": config.world,
            "protocol": config.protocol,
            "sticky actions": f"{options.sticky_actions:g}",
            "actions": "all 18" if options.full_action_space else "minimal",
            "no-ops at reset": noops if options.noop_max else "none",
            "fire at reset": "yes" if options.fire_reset else "no",
            "life loss": "ends the value, not the episode" if options.life_loss else "no signal",
            "time limit": f"{options.max_frames:,} frames",
            "observation": f"{STACK} x {SIDE} x {SIDE} grey, frame skip {FRAME_SKIP}, newest two pooled",
            **{key: str(value) for key in ("mode", "difficulty") if (value := getattr(config, key)) is not None},
            "emulator": f"ale-py {ale_py.__version__}, {config.backend} backend",
        }

    def reference_scores(self, config: AtariConfig) -> Mapping[str, Any] | None:
        """Random and human scores of 57 games, measured with 30 no-ops and no sticky actions, in the first mode."""
        if config.mode or config.difficulty:
            return None
        return atari_scores().get(game_of(config.game) or "")

    def labels(self, config: AtariConfig) -> tuple[AtariConfig, Mapping[str, tuple[str, int]]]:
        """Bytes of the memory, read by the backend "gymnasium"; of games that are not known here all 128.

        Its grey frames are averaged by OpenCV, those of the vector backend by ALE.
        """
        changes = {"backend": "gymnasium", "signals": ("ram",), "threads": 0}
        known = {name: ("ram", index) for name, index in BYTES.get(config.game, {}).items()}
        return config.model_copy(update=changes), known


plugin = AtariPlugin()
