"""Fixtures that several test files share."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.result_files import ResultWriter
from helpers.vectors import Vectors


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
