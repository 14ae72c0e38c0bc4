"""Five kills of real processes, as `make soak` makes hundreds; every file is the uninterrupted run's."""

from __future__ import annotations

from pathlib import Path

from helpers.soak import MODULES, PROCESSES, World


def test_five_kills(tmp_path: Path) -> None:
    """Before changes to files, under one process id and under several."""
    PROCESSES.set_forkserver_preload(MODULES)
    world = World("prioritised n-step DQN, SimHash", tmp_path / "world", kills=2)
    kills = 0
    for part in (0.2, 0.4, 0.6):
        row = world.case("operation", int(part * world.changes))
        assert row["different"] == []
        kills += row["kills"]
    assert kills >= 5
