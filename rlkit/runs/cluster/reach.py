"""Whether another machine can be reached, and sees the same folder."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from rlkit.errors import ConfigError


def require_reachable(address: str, what: str) -> None:
    """Raises ConfigError, which begins with `what`, if nothing answers at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError, ValueError) as error:
        raise ConfigError(
            f"{what}: nothing answers at {address} ({error}); 'ray start --head' prints the address of a cluster"
        ) from error


class SharedFolder:
    """Proves to another machine that it sees the same folder: a file with a random text in it."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(8)
        self._marked: set[Path] = set()

    def mark(self, folder: Path) -> str:
        """The text that `sees` wants."""
        if folder not in self._marked:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f".shared-{self._token}").touch()
            self._marked.add(folder)
        return self._token

    def remove(self) -> None:
        for folder in self._marked:
            (folder / f".shared-{self._token}").unlink(missing_ok=True)


def sees(folder: Path, token: str) -> bool:
    return (folder / f".shared-{token}").exists()
