"""Packages of optional extras, imported when they are first used."""

from __future__ import annotations

import importlib
from typing import Any

from rlkit.errors import ConfigError


def needed(module: str, what: str, extra: str) -> Any:
    """Imports a module of the extra `extra`. Raises ConfigError with the command that installs it.

    what: what needs it, as the beginning of the message.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = (error.name or module).partition(".")[0]
        install = f"pip install -c constraints.txt -e '.[{extra}]'"
        raise ConfigError(f"{what} needs {package}, which is not installed: {install}") from error
