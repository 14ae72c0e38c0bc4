"""Frozen, strictly checked configuration models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """A frozen table of a config; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class PluginConfig(Model):
    """The base of every plug-in's table: which plug-in, by entry-point name or "package.module:attr"."""

    name: str = Field(description='Name of the plug-in, or "package.module:attr".')
