"""`rlkit list`."""

from __future__ import annotations

import click
from pydantic import BaseModel
from rich.table import Table

from rlkit import plugins
from rlkit.cli.console import console
from rlkit.config.load import packaged
from rlkit.config.tables import EvaluationConfig, TrainConfig
from rlkit.errors import ConfigError

GROUPS = {"agents": plugins.AGENTS, "envs": plugins.ENVS, "goals": plugins.GOALS, "sinks": plugins.SINKS}


@click.command("list")
@click.argument("what", type=click.Choice([*GROUPS, "configs", "keys"]), required=False)
@click.argument("name", required=False)
def list_(what: str | None, name: str | None) -> None:
    """List agents, environments, goals, sinks and configs; with a name, all keys of its config.

    \b
    rlkit list
    rlkit list agents dqn      the keys of [agent] for dqn
    rlkit list configs cartpole
    rlkit list keys            the keys of [train] and [evaluation]
    """
    if what == "keys":
        for table, model in (("train", TrainConfig), ("evaluation", EvaluationConfig)):
            show_keys(table, model)
    elif what == "configs" and name:
        known = packaged()
        if name not in known:
            raise ConfigError(f"no packaged config {name!r}{plugins.nearest(name, list(known))}: {', '.join(known)}")
        console.print(known[name].read_text(encoding="utf-8"), markup=False, end="")
    elif what in ("agents", "envs") and name:
        show_keys(what.removesuffix("s"), plugins.load(GROUPS[what], name).config)
    elif name:
        raise ConfigError(f"{what} have no keys; leave out {name!r}")
    else:
        for kind in [what] if what else [*GROUPS, "configs"]:
            show_names(kind)


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


def show_keys(table: str, model: type[BaseModel]) -> None:
    """Every field with its type, default and meaning."""
    rows = Table(f"[{table}]".replace("[", r"\["), "default", "meaning", title_justify="left")
    for key, field in model.model_fields.items():
        default = "required" if field.is_required() else str(field.get_default(call_default_factory=True))
        rows.add_row(key, default.replace("[", r"\["), (field.description or "").replace("[", r"\["))
    console.print(rows)
