"""The command line: `rlkit train | sweep | resume | evaluate | compare | plot | view | list | check | describe`."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from rlkit.errors import RlkitError


def prefix() -> str:
    """What stands before `rlkit` in a command to copy: the folder of a virtual environment that is not on PATH."""
    folder = Path(sys.argv[0]).parent
    if Path(sys.argv[0]).name != "rlkit" or str(folder) in os.environ.get("PATH", "").split(os.pathsep):
        return ""
    relative = os.path.relpath(folder)
    return f"{folder if relative.startswith('..') else relative}/"


class Group(click.Group):
    """Commands whose errors end in one line and an exit code instead of a traceback."""

    def invoke(self, context: click.Context) -> Any:
        console = Console(stderr=True, soft_wrap=True, highlight=False)

        def show(message: Warning | str, *details: Any, **more: Any) -> None:
            if isinstance(message, UserWarning):
                console.print("[yellow]Note:[/] ", end="")
            console.print(str(message), markup=False)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", category=UserWarning, module=r"rlkit|click")
            warnings.showwarning = show
            try:
                return super().invoke(context)
            except RlkitError as error:
                console.print("[red]Error:[/] ", end="")
                console.print(str(error).replace("rlkit resume", f"{prefix()}rlkit resume"), markup=False)
                sys.exit(error.exit_code)
            except OSError as error:
                console.print("[red]Error:[/] ", end="")
                console.print(f"{error.strerror or error} ({error.filename or 'while writing'})", markup=False)
                sys.exit(1)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rlkit")
def main() -> None:
    """Train, resume, evaluate, compare and watch reinforcement-learning agents.

    \b
    rlkit train quickstart                 train a packaged config
    rlkit resume runs/cartpole-seed0       go on with a stopped run
    rlkit evaluate runs/cartpole-seed0     score its policy
    rlkit train cartpole --seeds 0-9       ten runs, and the table of their scores
    rlkit plot runs --out curves.png       their learning curves, with intervals
    rlkit view                             watch all runs in TensorBoard
    """
    if "" not in sys.path:
        sys.path.insert(0, "")  # so that "my_agent:plugin" finds my_agent.py in the current folder


from rlkit.cli import inspect, many, report, runs  # noqa: E402  the commands register themselves with `main`

__all__ = ["inspect", "main", "many", "report", "runs"]
