"""Where runs are made: this machine, a Ray cluster, or Slurm; all machines must share the folder of the runs."""

from __future__ import annotations

import re

from rlkit.errors import ConfigError
from rlkit.runs.cluster.reach import require_reachable
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
