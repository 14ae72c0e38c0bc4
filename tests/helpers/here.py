"""A stand-in for the launcher's processes, for tests of what it does before and after them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest

import rlkit
from rlkit.errors import RlkitError


class Here:
    """Like a process that has ended: the run was trained or resumed within this one."""

    def __init__(self, command: Sequence[str], stdout: IO[bytes]) -> None:
        self.returncode = 0
        name, path, *options = command[command.index("rlkit.cli") + 1 :]
        try:
            if name == "train":
                rlkit.train(path, run=Path(options[1]))
            else:
                rlkit.resume(Path(path))
        except RlkitError as error:
            stdout.write(f"Error: {error}\n".encode())
            self.returncode = error.exit_code

    def poll(self) -> int:
        return self.returncode


def run_here(patch: pytest.MonkeyPatch) -> None:
    """The launcher's runs are made within this process, which is quicker; other processes are started as ever."""
    popen = subprocess.Popen

    def start(command: Sequence[str], **options: Any) -> Any:
        return Here(command, options["stdout"]) if "rlkit.cli" in command else popen(command, **options)

    patch.setattr(subprocess, "Popen", start)
