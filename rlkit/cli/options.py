"""Arguments and options that several commands have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rlkit.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

PICTURES = (".png", ".svg", ".pdf")


def _only_pictures(context: click.Context, option: click.Parameter, files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Raises ConfigError before anything is read or drawn."""
    for file in files:
        if file.suffix not in PICTURES:
            raise ConfigError(f"{file}: pictures are written as {', '.join(PICTURES[:-1])} or {PICTURES[-1]}")
    return files


CONFIG = click.argument("config")
RUN = click.argument("run", type=click.Path(path_type=Path))
RUNS = click.argument("runs", nargs=-1, type=click.Path(path_type=Path))

SET = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a config value; may be given many times."
)
JOBS = click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time; default: the number of cores.")
ON = click.option(
    "--on", metavar="PLACE", help="Where: ray, ray://HOST:PORT or slurm; default: this machine. See docs/scale.md."
)
MEMORY = click.option(
    "--memory", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="GiB of each run, for --on."
)
DATA = click.option("--data", type=click.Path(path_type=Path), help="Folder for each finished run's small result file.")
GROUP_BY = click.option(
    "--group-by",
    "by",
    multiple=True,
    metavar="KEY",
    help="Group runs by the value of this config key; default: runs that differ only in the seed form a group.",
)


LABEL = click.option(
    "--label", "labels", multiple=True, metavar="TEXT", help="A label for each group, in their order, instead of ours."
)


def require_writable(*files: Path | None) -> None:
    """Raises ConfigError for a file that could not be written later; makes the folders of the others."""
    for file in files:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(file if file.exists() else file.parent, os.W_OK):
                raise ConfigError(f"{file} cannot be written; name another file")


def pictures(help: str, *, required: bool = False) -> Callable[[F], F]:
    """The option --out, for files of pictures; may be given several times."""
    return click.option(
        "--out",
        multiple=True,
        metavar="FILE",
        type=click.Path(path_type=Path),
        callback=_only_pictures,
        required=required,
        help=f"{help} FILE.png, FILE.svg or FILE.pdf; may be given several times.",
    )
