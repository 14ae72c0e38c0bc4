"""Fixtures that several test files share."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.command import call
from helpers.result_files import ResultWriter
from helpers.vectors import Vectors

SMALL = """
[env]
name = "gymnasium"
id = "CartPole-v1"
[agent]
name = "dqn"
learning_starts = 50
[train]
steps = 400
log_every = 100
[evaluation]
every = 200
episodes = 2
final_episodes = 5
"""


@pytest.fixture(scope="session")
def small_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file: DQN in CartPole, 400 steps."""
    path = tmp_path_factory.mktemp("configs") / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def small_training(small_config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory of a run of it with seed 3, and what the command printed."""
    run = tmp_path_factory.mktemp("small") / "run"
    done = call("train", small_config, "--run", run, "--seed", 3)
    assert done.exit_code == 0, done.output
    return run, done.output


@pytest.fixture(scope="session")
def small_run(small_training: tuple[Path, str]) -> Path:
    """The directory of that run; a test that changes it works on a copy."""
    return small_training[0]


@pytest.fixture
def write_result(tmp_path: Path) -> ResultWriter:
    """Writes result files into the test's folder."""
    return ResultWriter(tmp_path)


@pytest.fixture
def vectors() -> Iterator[Vectors]:
    """Makes vectors of environments, and closes them, twice, whatever the test does."""
    before = set(multiprocessing.active_children())
    made = Vectors()
    yield made
    for environments in made.made:
        environments.close()
        environments.close()
    assert set(multiprocessing.active_children()) <= before, "worker processes are left over"
