"""The command line, called within this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from rlkit.cli import main


def call(*arguments: object) -> Result:
    """`rlkit ARGUMENTS`; exceptions that the command does not turn into a message are raised."""
    return CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
