"""The config of the random agent."""

from __future__ import annotations

from rlkit.config.model import PluginConfig


class RandomConfig(PluginConfig):
    """No keys of its own. An agent's keys go here, each with a description: meaning, unit, source, extremes."""
