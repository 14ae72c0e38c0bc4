"""Plug-in for MiniGrid with all environments stepped at once in NumPy, exactly as the package steps them one by one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal

from pydantic import Field, field_validator

import envs.worlds  # noqa: F401  registers rlkit's own ids
from envs.gymnasium import register_ids
from envs.minigrid import STATE_LABELS
from envs.minigrid_vector.environments import MiniGridEnvironments
from envs.minigrid_vector.layouts import Layouts
from envs.minigrid_vector.signals import SignalName
from envs.minigrid_vector.worlds import Worlds
from rlkit.config.model import PluginConfig
from rlkit.environments import Environments
from rlkit.errors import ConfigError
from rlkit.types import Purpose

__all__ = ["MiniGridConfig", "MiniGridPlugin", "plugin"]


class MiniGridConfig(PluginConfig):
    """Selects a MiniGrid environment and what is observed of it."""

    id: str = Field(
        description='A registered MiniGrid id, e.g. "MiniGrid-DoorKey-8x8-v0". BabyAI is not supported. rlkit\'s own '
        'ids: "rlkit/MultiRoom-N7-S8-v0", "rlkit/MultiRoom-N10-S10-v0", "rlkit/MultiRoom-N12-S10-v0".'
    )
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments of the environment, e.g. { size = 10, max_steps = 500 }."
    )
    register: tuple[str, ...] = Field(
        default=(),
        description="Modules to import and functions to call that register ids of your own, as in the plug-in "
        "gymnasium. MiniGrid's and rlkit's ids are registered.",
    )
    observation: Literal["view", "full"] = Field(
        default="view",
        description='"view": what the agent sees (minigrid.wrappers:ImgObsWrapper). "full": the whole grid '
        "(FullyObsWrapper and ImgObsWrapper). Both have an object, a colour and a state per cell.",
    )
    signals: tuple[SignalName, ...] = Field(
        default=("success",),
        description='Arrays for goal spaces, bonuses and success rates: "success" (the latest step completed the '
        'task), "state" and "standing" (as envs.minigrid:situation), "position" (x, y), "direction", "carried" '
        '(object, colour; -1, -1 for nothing), "full" (the whole grid).',
    )
    layout_seed: int | None = Field(
        default=None,
        ge=0,
        description="Every episode has the layout of this seed, as with minigrid.wrappers:ReseedWrapper. Default: "
        "a new layout in every episode.",
    )
    max_episode_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps after which an episode is truncated. Default: max_steps of the environment, on which "
        "rewards depend too.",
    )

    @field_validator("kwargs")
    @classmethod
    def _no_render_mode(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        if "render_mode" in kwargs:
            raise ValueError("render_mode is set by rlkit; remove it")
        return kwargs


def make_worlds(config: MiniGridConfig, num_envs: int) -> Worlds:
    """Raises ConfigError for what the package cannot make, and SpecError for what is not supported."""
    for path in config.register:
        register_ids(path)
    layouts = Layouts(config.id, config.kwargs)
    limit = config.max_episode_steps
    if limit is not None and limit > layouts.limit:
        raise ConfigError(
            f"env.max_episode_steps: {limit} exceeds the environment's own limit of {layouts.limit} steps; set "
            "max_steps in env.kwargs, or a smaller number here"
        )
    return Worlds(layouts, num_envs, config.layout_seed, limit)


class MiniGridPlugin:
    """See `rlkit.environments.EnvPlugin`."""

    config = MiniGridConfig

    def make(self, config: MiniGridConfig, num_envs: int, purpose: Purpose) -> Environments:
        full, render = config.observation == "full", purpose is Purpose.RENDER
        return MiniGridEnvironments(make_worlds(config, num_envs), config.signals, full=full, render=render)

    def protocol(self, config: MiniGridConfig) -> Mapping[str, str]:
        worlds = make_worlds(config, 1)
        size = worlds.layouts.env.agent_view_size
        known = {
            "environment": config.id,
            "arguments": ", ".join(f"{key}={value!r}" for key, value in config.kwargs.items()),
            "time limit": f"{worlds.limit} steps",
            "observation": "the whole grid" if config.observation == "full" else f"the agent's view, {size} x {size}",
            "layouts": "a new one per episode" if config.layout_seed is None else f"that of seed {config.layout_seed}",
            "rules": f"minigrid {version('minigrid')}",
        }
        return {key: value for key, value in known.items() if value}

    def reference_scores(self, config: MiniGridConfig) -> Mapping[str, Any] | None:
        """None: there are no published scores of a random agent or of people."""
        return None

    def labels(self, config: MiniGridConfig) -> tuple[MiniGridConfig, Mapping[str, tuple[str, int]]]:
        """The entries of `envs.minigrid.state`."""
        return config.model_copy(update={"signals": ("success", "state")}), STATE_LABELS


plugin = MiniGridPlugin()
