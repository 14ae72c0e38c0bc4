"""The errors that users can cause and mend. The command line prints them as one line and exits with their code."""

from __future__ import annotations


class RlkitError(Exception):
    """Something the user can mend: the message says what was wrong, where, and what would be right."""

    exit_code = 1


class ConfigError(RlkitError):
    """A configuration, an argument or a file that cannot be used as it is; found before anything was written."""

    exit_code = 2


class SpecError(ConfigError):
    """An environment or an agent that cannot work with the other's spaces, signals or sizes."""


class CapacityError(ConfigError):
    """More memory or disk asked for than there is."""


class RunError(ConfigError):
    """A run directory that is missing, taken, locked, unfinished or damaged."""


class WorkerError(RlkitError):
    """An environment failed while it ran; the message names the environment and carries its traceback."""
