"""`rlkit list`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import click
from pydantic import BaseModel
from rich.table import Table

from rlkit import plugins
from rlkit.cli.console import console
from rlkit.config.load import packaged
from rlkit.config.model import Model, models_in
from rlkit.config.tables import EvaluationConfig, TrainConfig
from rlkit.errors import ConfigError

GROUPS = {
    "agents": plugins.AGENTS,
    "envs": plugins.ENVS,
    "goals": plugins.GOALS,
    "bonuses": plugins.BONUSES,
    "sinks": plugins.SINKS,
}
Listed: TypeAlias = tuple[type[BaseModel], Any]  # a model, and the table whose values are its keys' defaults, or None
TABLES: dict[str, Listed] = {"train": (TrainConfig, None), "evaluation": (EvaluationConfig, None)}


@click.command("list")
@click.argument("what", type=click.Choice([*GROUPS, "configs", "keys"]), required=False)
@click.argument("name", required=False)
def list_(what: str | None, name: str | None) -> None:
    """List agents, environments, goals, bonuses, sinks and configs; with a name, all keys of its config.

    \b
    rlkit list
    rlkit list agents dqn          the keys of [agent] for dqn, with those of its tables
    rlkit list agents dqn.network  the keys of one table
    rlkit list bonuses count       the keys of [agent.bonus] for a kind of bonus
    rlkit list keys                the keys of [train] and [evaluation]
    rlkit list keys train.visits
    rlkit list configs cartpole
    """
    if what == "keys" or (what in ("agents", "envs", "bonuses") and name):
        for title, (model, default) in tables_of(what, name).items():
            show_keys(title, model, default)
    elif what == "configs" and name:
        known = packaged()
        if name not in known:
            raise ConfigError(f"no packaged config {name!r}{plugins.nearest(name, list(known))}: {', '.join(known)}")
        console.print(known[name].read_text(encoding="utf-8"), markup=False, end="")
    elif name:
        raise ConfigError(f"{what} have no keys; leave out {name!r}")
    else:
        for kind in [what] if what else [*GROUPS, "configs"]:
            show_names(kind)


def tables_of(what: str, name: str | None) -> dict[str, Listed]:
    """Title → keys of an agent, an environment or a bonus; "dqn.network": of one of its tables.

    what: "keys" for those of [train] and [evaluation]. Raises ConfigError for an unknown name.
    """
    if what == "keys" or name is None:
        return TABLES if name is None else _below(what, name, TABLES)
    plugin, dot, inner = (name, "", "") if ":" in name else name.partition(".")
    loaded = plugins.load(GROUPS[what], plugin)
    table = {"agents": "agent", "envs": "env", "bonuses": "agent.bonus"}[what]
    model = loaded if what == "bonuses" else loaded.config
    chosen = model.model_construct(type=plugin) if what == "bonuses" else None
    return _below(name, f"{table}.{inner}", {table: (model, chosen)}) if dot else {table: (model, chosen)}


def _below(what: str, dotted: str, tables: Mapping[str, Listed]) -> dict[str, Listed]:
    """The keys of the table `dotted`, by its name; one of several kinds has its type in the name."""
    first = next((name for name in tables if dotted == name or dotted.startswith(f"{name}.")), None)
    if first is None:
        raise ConfigError(f"no table {dotted!r}{plugins.nearest(dotted, list(tables))}; there are: {', '.join(tables)}")
    model, default = tables[first]
    models = [model]
    for part in dotted[len(first) :].split(".")[1:]:
        owners = [model for model in models if part in model.model_fields and tables_in(model, part)]
        if not owners:
            known = sorted({name for model in models for name in model.model_fields if tables_in(model, name)})
            raise ConfigError(f"{what}: no table {part!r}{plugins.nearest(part, known)}; there are: {', '.join(known)}")
        default = _default(owners[0], part, default)
        models = [inner for model in owners for inner in tables_in(model, part)]
    return {_titled(dotted, model, models): (model, default) for model in models}


def _default(model: type[BaseModel], key: str, table: Any) -> Any:
    """The default of a key, where the table that has it is by default `table`."""
    if isinstance(table, model) and not (isinstance(table, Model) and table.whole):
        return getattr(table, key, None)  # of a bonus that is only named, required keys have no value
    return model.model_fields[key].get_default(call_default_factory=True)


def _titled(table: str, model: type[BaseModel], all_models: Sequence[type[BaseModel]]) -> str:
    kind = model.model_fields.get("type")
    return f"{table}: {kind.default}" if len(all_models) > 1 and kind is not None else table


def tables_in(model: type[BaseModel], key: str) -> list[type[BaseModel]]:
    """The models that the value of a key may be; those of all installed bonuses for a table of any bonus."""
    from rlkit.exploration.bonus import BonusConfig  # imports torch

    found = models_in(model.model_fields[key].annotation)
    if BonusConfig in found:
        return [point.load() for point in plugins.installed(plugins.BONUSES).values()]
    return found


def show_names(kind: str) -> None:
    table = Table(kind, "where", title_justify="left")
    if kind == "configs":
        for name, file in packaged().items():
            table.add_row(name, _first_comment(file.read_text(encoding="utf-8")))
    else:
        for name, point in plugins.installed(GROUPS[kind]).items():
            table.add_row(name, point.value)
    console.print(table)


def _first_comment(text: str) -> str:
    first = text.partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def show_keys(table: str, model: type[BaseModel], default: Any = None) -> None:
    """Every field with its default and meaning, the keys of tables below the table."""
    rows = Table(f"[{table}]".replace("[", r"\["), "default", "meaning", title_justify="left")
    for row in keys_of(model, default):
        rows.add_row(*(cell.replace("[", r"\[") for cell in row))
    console.print(rows)


def keys_of(model: type[BaseModel], table: Any = None, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, default, meaning) of every field, then of the fields of the tables that it may be.

    table: the default of the whole table, if the one that holds it sets values of its own.
    """
    for key, field in model.model_fields.items():
        inner = tables_in(model, key)
        default = _default(model, key, table)
        value = "required" if field.is_required() else _value(default)
        yield prefix + key, value, field.description or ""
        for kind in inner:
            if len(inner) > 1:
                yield f"{prefix}{key}", "", _titled(key, kind, inner)
            yield from keys_of(kind, default, f"{prefix}{key}.")


def _value(default: Any) -> str:
    """As TOML writes it; "unset" for a key that TOML leaves out, "" for a table whose keys say it."""
    if default is None:
        return "unset"
    if isinstance(default, Model):
        keys = default.model_dump(exclude_unset=True) if default.whole else {}
        return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in keys.items()) + " }" if keys else ""
    return json.dumps(default) if isinstance(default, bool | str | int | float | tuple | dict) else str(default)
