"""Search spaces: ranges and choices over dotted keys; a choice may be a table with ranges and choices of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import ValidationError

from rlkit.config.explain import explain
from rlkit.errors import ConfigError
from rlkit.runs.sweep import Range, is_range

Point: TypeAlias = dict[str, Any]
"""Values by dotted key."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value inside a table."""

    value: Any


@dataclass(frozen=True, slots=True)
class Choices:
    """Options by their labels, as the study stores them; a table is an option with parameters of its own."""

    options: Mapping[str | int | float, Fixed | Table]


@dataclass(frozen=True, slots=True)
class Table:
    entries: Mapping[str, Parameter]


Parameter: TypeAlias = Range | Choices | Fixed | Table


@dataclass(frozen=True, slots=True)
class Space:
    """The parameters of a search by dotted key."""

    parameters: Mapping[str, Range | Choices]

    @classmethod
    def of(cls, keys: Mapping[str, Range | list[Any]]) -> Space:
        """Raises ConfigError for an empty range, a choice of nothing, or equal choices."""
        return cls({key: each if isinstance(each, Range) else _choices(key, each) for key, each in keys.items()})

    def suggest(self, trial: Any) -> Point:
        """The values that an Optuna trial proposes. The parameters of a table are named KEY=LABEL.NAME."""
        return {key: _suggested(trial, key, parameter) for key, parameter in self.parameters.items()}

    def corners(self) -> Iterator[Point]:
        """A point with every parameter at its first value, then that point with one parameter changed, for all."""
        first = {key: next(_extremes(parameter)) for key, parameter in self.parameters.items()}
        yield first
        for key, parameter in self.parameters.items():
            yield from ({**first, key: value} for value in list(_extremes(parameter))[1:])

    def grid(self) -> dict[str, list[Any]]:
        """Labels by key, for the grid sampler. Raises ConfigError for ranges and tables with parameters."""
        for key, parameter in self.parameters.items():
            if isinstance(parameter, Range):
                raise ConfigError(f'search.keys: {key} is a range; sampler = "grid" needs lists of values')
            if any(isinstance(option, Table) and not _is_fixed(option) for option in parameter.options.values()):
                raise ConfigError(f'search.keys: {key}: sampler = "grid" takes no ranges or lists inside of tables')
        return {key: list(parameter.options) for key, parameter in self.parameters.items() if
                isinstance(parameter, Choices)}  # fmt: skip

    @property
    def conditional(self) -> bool:
        """Whether some parameters exist only with some choices."""
        return any(
            isinstance(option, Table) and not _is_fixed(option)
            for parameter in self.parameters.values()
            if isinstance(parameter, Choices)
            for option in parameter.options.values()
        )


def _choices(key: str, values: Sequence[Any]) -> Choices:
    options: dict[str | int | float, Fixed | Table] = {}
    labels = [_label(value) for value in values]
    for place, value in enumerate(values):
        label = labels[place]
        if isinstance(value, dict) and labels.count(label) > 1:
            label = f"{label} #{place + 1}"
        if label in options:
            raise ConfigError(f"search.keys: {key}: the choice {value!r} is there twice")
        options[label] = _table(key, value) if isinstance(value, dict) else Fixed(value)
    return Choices(options)


def _label(value: Any) -> Any:
    """Of a number or a text, itself; of a table, what it names; else as JSON, since true equals 1 in Python."""
    if isinstance(value, dict):
        return str(value.get("type", value.get("name", "table")))
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return value if plain else json.dumps(value, default=str)


def _table(key: str, values: Mapping[str, Any]) -> Table:
    return Table({name: _parameter(f"{key}.{name}", value) for name, value in values.items()})


def _parameter(key: str, value: Any) -> Parameter:
    """What a value inside a table means: a list is a list of choices."""
    if isinstance(value, list):
        if not value:
            raise ConfigError(f"search.keys: {key} has no values")
        return _choices(key, value)
    if not isinstance(value, dict):
        return Fixed(value)
    if not is_range(value):
        return _table(key, value)
    try:
        return Range.model_validate(value, strict=True)
    except ValidationError as error:
        problems = [explain(dict(detail), Range) for detail in error.errors(include_url=False)]
        raise ConfigError(f"search.keys: {key}: " + "; ".join(problems)) from error


def _suggested(trial: Any, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Fixed):
        return parameter.value
    if isinstance(parameter, Table):
        return {key: _suggested(trial, f"{name}.{key}", entry) for key, entry in parameter.entries.items()}
    if isinstance(parameter, Choices):
        label = trial.suggest_categorical(name, list(parameter.options))
        return _suggested(trial, f"{name}={label}", parameter.options[label])
    if isinstance(parameter.low, int) and isinstance(parameter.high, int):
        return trial.suggest_int(name, parameter.low, parameter.high, log=parameter.log)
    return trial.suggest_float(name, float(parameter.low), float(parameter.high), log=parameter.log)


def _extremes(parameter: Parameter) -> Iterator[Any]:
    """The bounds of a range; each choice; tables with one entry changed at a time."""
    if isinstance(parameter, Fixed):
        yield parameter.value
    elif isinstance(parameter, Range):
        yield parameter.low
        yield parameter.high
    elif isinstance(parameter, Choices):
        for option in parameter.options.values():
            yield from _extremes(option)
    else:
        first = {name: next(_extremes(entry)) for name, entry in parameter.entries.items()}
        yield first
        for name, entry in parameter.entries.items():
            yield from ({**first, name: value} for value in list(_extremes(entry))[1:])


def _is_fixed(parameter: Fixed | Table) -> bool:
    return isinstance(parameter, Fixed) or all(isinstance(entry, Fixed) for entry in parameter.entries.values())
