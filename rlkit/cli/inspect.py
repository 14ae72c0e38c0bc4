"""`rlkit list`, `check` and `describe`: what there is, what a config would do, and its networks."""

from __future__ import annotations

import click
from pydantic import BaseModel
from rich.table import Table

from rlkit import plugins
from rlkit.cli import main
from rlkit.cli.shared import SET, console
from rlkit.config.load import load, packaged, parse_override
from rlkit.config.tables import EvaluationConfig, TrainConfig
from rlkit.errors import ConfigError

GROUPS = {"agents": plugins.AGENTS, "envs": plugins.ENVS, "goals": plugins.GOALS, "sinks": plugins.SINKS}


@main.command("list")
@click.argument("what", type=click.Choice([*GROUPS, "configs", "keys"]), required=False)
@click.argument("name", required=False)
def list_(what: str | None, name: str | None) -> None:
    """List agents, environments, goals, sinks and configs; with a name, every key of its config.

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
        raise ConfigError(f"{what} have no keys; leave {name!r} out")
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


@main.command()
@click.argument("config")
@SET
def check(config: str, settings: tuple[str, ...]) -> None:
    """Say what CONFIG would do, without training.

    \b
    rlkit check cartpole --set train.steps=1000000
    """
    from rlkit.runs.assemble import Evaluator, describe

    resolved = load(config, dict(map(parse_override, settings)))
    protocol = Evaluator(resolved).protocol(resolved.evaluation.final_episodes, "final")
    table = Table("what", resolved.label, title_justify="left")
    for key, value in {**describe(resolved), "protocol": "; ".join(f"{k}: {v}" for k, v in protocol.items())}.items():
        table.add_row(key, value.replace("[", r"\["))
    console.print(table)
    console.print(resolved.to_toml(), markup=False)


@main.command()
@click.argument("config")
@SET
def describe(config: str, settings: tuple[str, ...]) -> None:
    """Show the networks of CONFIG: layers, shapes, parameters, multiply-adds.

    \b
    rlkit describe minatar/breakout --set agent.network.normalisation=weight
    """
    from rlkit.runs.assemble import networks

    resolved = load(config, dict(map(parse_override, settings)))
    for name, layers in networks(resolved).items():
        table = Table(title=name, title_justify="left")
        table.add_column("layer", no_wrap=True)
        table.add_column("")
        table.add_column("output", no_wrap=True)
        table.add_column("parameters", justify="right")
        table.add_column("multiply-adds", justify="right")
        for layer in layers:
            counts = (f"{count:,}" if count else "" for count in (layer.parameters, layer.multiply_adds))
            table.add_row(layer.name, layer.kind, str(layer.shape), *counts)
        table.add_section()
        total = [sum(layer.parameters for layer in layers), sum(layer.multiply_adds for layer in layers)]
        table.add_row("total", "", "", *(f"{count:,}" for count in total))
        console.print(table)
    console.print("Multiply-adds: of convolutions and linear layers, for one observation.")
