"""The entries of a checkpoint, by format: one that is added or renamed must be noticed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from helpers.soak_worlds import tables
from rlkit.config.load import resolve
from rlkit.runs.assemble import assemble
from rlkit.runs.checkpoint import FORMAT, CheckpointStore
from rlkit.runs.directory import RunDirectory
from rlkit.testing.states import flatten

FOLDER = Path(__file__).parent
WORLDS = {
    "counts": "prioritised n-step DQN, SimHash",
    "hdqn": "h-DQN, in the middle of options",
    "learned-codes": "learned codes",
    "memory": "DQN with memory",
    "ppo": "PPO, in the middle of rollouts",
    "pqn": "PQN, in the middle of rollouts",
}
STEPS = 60  # of two environments, after which each of them has learned


def entries(state: dict[str, Any]) -> str:
    """A line for each path of the state, apart from the config; positions in lists are "#"."""
    paths = {re.sub(r"/\d+(?=/|$)", "/#", path) for path in flatten(state) if not path.startswith("config/")}
    return "".join(f"{path}\n" for path in sorted(paths))


def test_the_entries_of_a_checkpoint_are_those_of_its_format(small_run: Path) -> None:
    """DQN in CartPole. If this fails: let runs without the entry load as before (`state.get`, `rlkit.runs.earlier`),
    or raise FORMAT; then write the new list, and a line in docs/robustness.md, "The format of checkpoints".
    """
    store = CheckpointStore(small_run / "checkpoints")
    assert entries(store.load(store.steps()[-1])) == (FOLDER / f"format-{FORMAT}.txt").read_text()


@pytest.mark.parametrize("name", WORLDS)
def test_the_entries_of_other_agents_are_those_of_the_format(name: str, tmp_path: Path) -> None:
    """As above; format-N.json has the lists of these worlds."""
    config = resolve("format", tables(WORLDS[name]))
    session = assemble(config, lambda device: RunDirectory.create(tmp_path / "run", config, {}))
    try:
        session.trainer.start()
        for _ in range(STEPS):
            session.trainer.step()
        found = entries(session.trainer.state_dict()).splitlines()
    finally:
        session.close()
    assert found == json.loads((FOLDER / f"format-{FORMAT}.json").read_text())[name]
