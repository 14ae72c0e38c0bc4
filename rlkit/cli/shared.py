"""What several commands share: where they print, and options of the same name."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

console = Console(soft_wrap=True, highlight=False)

SET = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a config value; may be given many times."
)

JOBS = click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time; default as many as there are cores.")
DATA = click.option(
    "--data", type=click.Path(path_type=Path), help="Folder that collects each finished run's small result file."
)
