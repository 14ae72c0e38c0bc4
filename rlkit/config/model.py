"""Base classes of config tables."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)


class Model(BaseModel):
    """Base of all tables: frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, strict=True)


class NestedError(ValueError):
    """Raised in a validator for a table whose model is found by name: the errors inside it, each with its own key."""

    def __init__(self, model: type[BaseModel], error: ValidationError) -> None:
        super().__init__(str(error))
        self.model = model
        self.error = error


def _switched(value: Any) -> Any:
    return ({} if value else None) if isinstance(value, bool) else value


SWITCH = BeforeValidator(_switched)
"""For `Annotated[Table | None, SWITCH]`: true is the table with its defaults, false is None; for --set."""


def _whole(kwargs: dict[str, Any]) -> dict[str, Any]:
    for name, value in kwargs.items():
        if value is None or (isinstance(value, list) and None in value):
            raise ValueError(f"{name} is None, which TOML cannot express; leave the argument out")
        if isinstance(value, dict):
            _whole(value)
    return kwargs


Kwargs: TypeAlias = Annotated[dict[str, Any], AfterValidator(_whole)]
"""Keyword arguments for code that rlkit does not know: anything that TOML can express."""


class PluginConfig(Model):
    """Base of every plug-in's table, which names the plug-in."""

    name: str = Field(description='Name of the plug-in, or "package.module:attr".')
