"""Many runs from one command."""

from __future__ import annotations

import os

from rlkit.cli.batch import cores


def test_the_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
