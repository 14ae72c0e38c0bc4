"""Every key of a config, found by walking its tables, and other values for it."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


@dataclass(frozen=True)
class Key:
    """A key of one table: where it stands ("bonus.hash.bits"), and whose it is ("HashConfig")."""

    path: str
    table: str

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    def __str__(self) -> str:
        return f"{self.path} ({self.table})"


def keys(table: BaseModel, path: str = "") -> Iterator[tuple[Key, list[Any]]]:
    """Each key of a config's tables with the other values that its type names, [] where it names none.

    A table that may be left out is a key itself, and leaving it out its other value.
    """
    for name, field in type(table).model_fields.items():
        value, at = getattr(table, name), f"{path}{name}"
        inner = value if isinstance(value, tuple) else (value,)
        if inner and all(isinstance(one, BaseModel) for one in inner):
            if type(None) in get_args(field.annotation):
                yield Key(at, type(table).__name__), [None]
            for place, one in enumerate(inner):
                yield from keys(one, f"{at}.{place}." if isinstance(value, tuple) else f"{at}.")
        elif not _tables_in(field.annotation):  # one that is left out here stands in another base
            others = [other for other in _named(field.annotation) if other != value]
            if get_origin(field.annotation) is not Literal or others:  # a `type` of one value tells tables apart
                yield Key(at, type(table).__name__), others


def _named(annotation: Any) -> list[Any]:
    """The values that a type names: of bool and of Literal."""
    if annotation is bool:
        return [False, True]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return [value for part in get_args(annotation) for value in _named(part)]
    return []


def _tables_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {table for part in get_args(annotation) for table in _tables_in(part)}


def all_tables(
    config: type[BaseModel], kinds: Mapping[type[BaseModel], Collection[type[BaseModel]]]
) -> set[type[BaseModel]]:
    """The classes of all tables that a config can hold, itself included; `kinds`: those that stand in for a base."""
    found: set[type[BaseModel]] = set()
    new = {config}
    while new:
        found |= new
        fields = [field for table in new for field in table.model_fields.values()]
        new = {table for field in fields for table in _tables_in(field.annotation)}
        new = {kind for table in new for kind in kinds.get(table, (table,))} - found
    return found


def tables_of(table: BaseModel) -> set[type[BaseModel]]:
    """The classes of the tables that a config holds, itself included."""
    found = {type(table)}
    for name in type(table).model_fields:
        value = getattr(table, name)
        for one in value if isinstance(value, tuple) else (value,):
            found |= tables_of(one) if isinstance(one, BaseModel) else set()
    return found


def value_at(tree: Any, path: str) -> Any:
    """The value of the key at `path` in a dumped config; KeyError where a table on the way is left out."""
    for part in path.split("."):
        if not isinstance(tree, Mapping | tuple):
            raise KeyError(path)
        tree = tree[int(part)] if isinstance(tree, tuple) else tree[part]
    return tree


def replaced(tree: Any, path: str, value: Any) -> Any:
    """A dumped config with another value for the key at `path`."""
    part, _, rest = path.partition(".")
    old = tree[int(part)] if isinstance(tree, tuple) else tree[part]
    new = replaced(old, rest, value) if rest else value
    if isinstance(tree, tuple):
        return (*tree[: int(part)], new, *tree[int(part) + 1 :])
    return {**tree, part: new}
