"""`rlkit check`."""

from __future__ import annotations

import click
from rich.markup import escape
from rich.table import Table

from rlkit.cli.console import console
from rlkit.cli.options import CONFIG, SET
from rlkit.config.load import load, parse_override


@click.command()
@CONFIG
@SET
def check(config: str, settings: tuple[str, ...]) -> None:
    """Report what CONFIG would do, without training.

    \b
    rlkit check cartpole --set train.steps=1000000
    """
    from rlkit.runs.assemble import Evaluator, describe

    resolved = load(config, dict(map(parse_override, settings)))
    protocol = Evaluator(resolved).protocol(resolved.evaluation.final_episodes, "final")
    table = Table("what", escape(resolved.label), title_justify="left")
    for key, value in {**describe(resolved), "protocol": "; ".join(f"{k}: {v}" for k, v in protocol.items())}.items():
        table.add_row(key, escape(value))
    console.print(table)
    console.print(resolved.to_toml(), markup=False)
