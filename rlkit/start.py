"""The console script `rlkit`."""

from __future__ import annotations

import signal


def main() -> None:
    """Runs the command line. Ctrl-C while its modules are imported ends the process without a traceback."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rlkit.cli import main as commands

    signal.signal(signal.SIGINT, before)
    commands()
