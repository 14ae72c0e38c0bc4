"""Where commands print, and how they print a note and a command to copy."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

console = Console(soft_wrap=True, highlight=False)


def say(line: str) -> None:
    """Prints a note that does not end the command."""
    console.print("[yellow]Note:[/] ", end="")
    console.print(line, markup=False)


def prefix() -> str:
    """The text before `rlkit` in a command to copy: the folder of a virtual environment that is not on PATH, or ""."""
    folder = Path(sys.argv[0]).parent
    if Path(sys.argv[0]).name != "rlkit" or str(folder) in os.environ.get("PATH", "").split(os.pathsep):
        return ""
    relative = os.path.relpath(folder)
    return f"{folder if relative.startswith('..') else relative}/"
