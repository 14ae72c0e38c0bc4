"""The packages of the extra "look", imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from rlkit.errors import ConfigError


def needed(module: str, what: str) -> Any:
    """The module. Raises ConfigError if its package is not installed; what: that needs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
        raise ConfigError(
            f"{what} needs {missing.partition('.')[0]}; install it with: pip install '.[look]'"
        ) from error
