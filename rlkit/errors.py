"""Errors that users can correct. The command line prints them in one line and exits with their code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class RlkitError(Exception):
    """An error that the user can correct: the message says what is wrong, where, and what would be right."""

    exit_code = 1


class ConfigError(RlkitError):
    """A config, an argument or a file that cannot be used; raised before anything is written."""

    exit_code = 2


class SpecError(ConfigError):
    """An environment and an agent do not fit: spaces, signals or sizes."""


class CapacityError(ConfigError):
    """Not enough memory or disk space."""


class RunError(ConfigError):
    """A run directory that is missing, taken, locked, unfinished or damaged."""


class WorkerError(RlkitError):
    """An environment failed while it ran; the message names the environment and carries its traceback."""


class ResetCrash(WorkerError):
    """A reset without a seed crashed. Resetting `crashed` (N,) with seeds continues the run."""

    def __init__(self, message: str, crashed: NDArray[np.bool_]) -> None:
        super().__init__(message)
        self.crashed = crashed
