"""`rlkit describe`."""

from __future__ import annotations

import click
from rich.table import Table

from rlkit.cli.console import console
from rlkit.cli.options import CONFIG, SET
from rlkit.config.load import load, parse_override


@click.command()
@CONFIG
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
