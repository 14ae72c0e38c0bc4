"""Asks before a saved run makes this process import modules that are neither installed nor in the working folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rlkit.cli.console import say
from rlkit.errors import ConfigError

TRUST = click.option("--trust", is_flag=True, help="Import all modules that RUN's config names, without asking.")


def ask(run: Path, trust: bool) -> None:
    """Names the modules that the run's config names. Raises ConfigError if one may not be imported."""
    from rlkit.runs.directory import RunDirectory
    from rlkit.runs.trust import foreign, named_modules

    tables = RunDirectory.open(run).tables()
    if modules := named_modules(tables):
        say(f"{run / 'config.toml'} names these modules, which run code: {', '.join(modules)}")
    strange = foreign(tables, run)
    if not strange or trust:
        return
    where = ", ".join(f"{module} ({place})" for module, place in strange.items())
    question = f"{where}: neither an installed package nor in the working folder"
    if not sys.stdin.isatty():
        raise ConfigError(f"{run}: {question}; to import it, add --trust")
    if not click.confirm(f"{question}. Import it?", err=True):
        raise ConfigError(f"{run}: not trusted")
