"""A sink whose server does not answer."""

from __future__ import annotations

from rlkit.metrics.meters import Row
from rlkit.metrics.sinks import SinkContext

WHERE = "write"  # it fails there


class Broken:
    def __init__(self, context: SinkContext) -> None:
        self._fail("open")

    def write(self, env_steps: int, row: Row) -> None:
        self._fail("write")

    def close(self) -> None:
        self._fail("close")

    def _fail(self, where: str) -> None:
        if where == WHERE:
            raise ConnectionError("no network\nwith details")
