"""The group of all commands: notes and errors are printed as one line, and an error sets the exit code."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click
from rich.console import Console

from rlkit.cli.console import prefix
from rlkit.errors import RlkitError

SIGNALLED = 128  # exit codes above it say that a signal ended the command, which is no error


class Group(click.Group):
    """Commands whose errors end in one line and an exit code instead of a traceback; listed in the order added."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*self.commands]

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
                if error.exit_code <= SIGNALLED:
                    console.print("[red]Error:[/] ", end="")
                console.print(str(error).replace("rlkit resume", f"{prefix()}rlkit resume"), markup=False)
                sys.exit(error.exit_code)
            except OSError as error:
                console.print("[red]Error:[/] ", end="")
                console.print(f"{error.strerror or error} ({error.filename or 'while writing'})", markup=False)
                sys.exit(1)
            except (MemoryError, RuntimeError) as error:  # click's Exit is a RuntimeError, too
                if not _is_memory(error):
                    raise
                console.print("[red]Error:[/] ", end="")
                console.print(f"not enough memory: {(str(error).splitlines() or ['out of memory'])[0]}", markup=False)
                sys.exit(1)


def _is_memory(error: BaseException) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from rlkit.memory import no_memory  # imports torch

    return no_memory(error)
