"""`rlkit card`."""

from __future__ import annotations

from pathlib import Path

import click

from rlkit.cli.console import console
from rlkit.cli.options import RUN
from rlkit.errors import ConfigError


@click.command()
@RUN
@click.option("--out", type=click.Path(path_type=Path), help="The card; default RUN/README.md.")
def card(run: Path, out: Path | None) -> None:
    """Write a model card of a finished RUN: Markdown, with the header of metadata that model hubs show.

    It has the score with its interval and protocol, how to use the policy, machine and versions, and the config.

    \b
    rlkit card runs/cartpole-seed0                  # writes runs/cartpole-seed0/README.md
    rlkit card runs/cartpole-seed0 --out card.md
    """
    from rlkit.files import write_text
    from rlkit.report.page import card as written
    from rlkit.report.results import find

    file = out or run / "README.md"
    text = written(find([run]))
    if file.exists():
        raise ConfigError(f"{file} exists; delete it, or name another file with --out")
    write_text(file, text)
    console.print(f"written to {file}", markup=False)
