"""Where runs are made: this machine, a Ray cluster, or Slurm; all machines must share the folder of the runs."""

from __future__ import annotations

import re
import secrets
import socket
from pathlib import Path

from rlkit.errors import ConfigError
from rlkit.runs.runner import Executor, LocalExecutor

PLACES = "ray, ray://HOST:PORT, or slurm"


def executor_for(on: str | None, limit: int | None, here: int, memory: float) -> Executor:
    """on: None for this machine, "ray", "ray://HOST:PORT", "slurm", or "slurm-local" to try the latter without Slurm.

    limit: runs at a time; None: `here` on this machine, elsewhere as many as fit. memory: GiB of a run that the cluster
    sets aside. Raises ConfigError for another place, a cluster that cannot be reached, and a missing extra.
    """
    if on is None:
        return LocalExecutor(limit or here)
    if on in ("slurm", "slurm-local"):
        from rlkit.runs.cluster.slurm import SlurmExecutor

        return SlurmExecutor("slurm" if on == "slurm" else "local", limit, memory)
    address = re.fullmatch(r"ray(?:://(.+:\d+))?", on)
    if address is None:
        raise ConfigError(f"--on {on!r}: expected {PLACES}")
    from rlkit.runs.cluster.on_ray import RayExecutor

    if address[1] is not None:
        require_reachable(address[1], f"--on {on}")
    return RayExecutor(address[1], limit, here, memory)


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
