"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.result_files import ResultWriter


@pytest.fixture
def write_result(tmp_path: Path) -> ResultWriter:
    """Writes result files into the test's folder."""
    return ResultWriter(tmp_path)
