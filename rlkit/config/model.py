"""Base classes of config tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Annotated, Any, ClassVar, TypeAlias, get_args

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
    whole: ClassVar[bool] = False  # true: a table in a config replaces a field's default, and inherits no key of it


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


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models inside a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def without_false(tables: Mapping[str, Any], models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """The tables with null for each false of a key that may be None and is no switch.

    TOML has no null, and a config may inherit a key that it wants to leave unset.
    """
    changed: dict[str, Any] = {}
    for name, value in tables.items():
        fields = [model.model_fields[name] for model in models if name in model.model_fields]
        kinds = {kind for field in fields for kind in get_args(field.annotation)}
        if value is False and NoneType in kinds and bool not in kinds:
            changed[name] = None
        elif isinstance(value, Mapping):
            changed[name] = without_false(value, [model for field in fields for model in models_in(field.annotation)])
        else:
            changed[name] = value
    return changed
