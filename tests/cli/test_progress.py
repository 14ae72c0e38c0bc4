"""The progress display reads the newest row of a run's metrics."""

from __future__ import annotations

from pathlib import Path

from rlkit.cli.progress import last_row


def test_the_newest_whole_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert last_row(path) == {}
    path.write_text('{"env_steps": 1}\n' * 2000 + '{"env_steps": 2}\n{"env_st')
    assert last_row(path) == {"env_steps": 2}
