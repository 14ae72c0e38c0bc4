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

KINDS = ("name", "type")  # keys that say which other keys a table has


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


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of both; where both have a key, tables are merged in turn, and of other values that of `over` counts.

    A table whose name or type is another than the one below inherits nothing from it: its keys are others.
    """
    result = {**under, **over}
    for name in under.keys() & over.keys():
        below, above = under[name], over[name]
        if isinstance(below, dict) and isinstance(above, dict):
            same = all(key not in above or above[key] == below.get(key) for key in KINDS)
            result[name] = merged(below, above) if same else above
    return result


def over_defaults(tables: Mapping[str, Any], models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """The tables over the values that their fields' defaults set, such as `Field(EpsilonConfig(steps=20_000))`."""
    changed = dict(tables)
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            continue
        fields = [model.model_fields[name] for model in models if name in model.model_fields]
        for default in (field.default for field in fields if isinstance(field.default, Model)):
            if default.whole:
                continue
            below = default.model_dump(mode="json", exclude_unset=True)
            kinds = {key: getattr(default, key) for key in KINDS if below and hasattr(default, key)}
            table = merged({name: kinds | below}, {name: table})[name]
        changed[name] = over_defaults(table, [inner for field in fields for inner in models_in(field.annotation)])
    return changed
