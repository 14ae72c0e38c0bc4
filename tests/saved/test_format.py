"""The entries of a checkpoint, by format: one that is added or renamed must be noticed."""

from __future__ import annotations

import re
from pathlib import Path

from rlkit.runs.checkpoint import FORMAT, CheckpointStore
from rlkit.testing.states import flatten

ENTRIES = Path(__file__).with_name(f"format-{FORMAT}.txt")


def test_the_entries_of_a_checkpoint_are_those_of_its_format(small_run: Path) -> None:
    """DQN in CartPole. If this fails: let runs without the entry load as before (`state.get`, `rlkit.runs.earlier`),
    or raise FORMAT; then write the new list, and a line in docs/robustness.md, "The format of checkpoints".
    """
    store = CheckpointStore(small_run / "checkpoints")
    paths = flatten(store.load(store.steps()[-1]))
    entries = {re.sub(r"/\d+(?=/|$)", "/#", path) for path in paths if not path.startswith("config/")}
    assert sorted(entries) == ENTRIES.read_text().splitlines()
