"""How the scores of one run are printed."""

from __future__ import annotations

import numpy as np
import pytest

from rlkit.cli.console import console
from rlkit.cli.scores import show_scores


@pytest.mark.parametrize(
    ("returns", "distinct", "interval", "note"),
    [
        ([3.0], 1, False, False),
        ([3.0, 3.0, 3.0], 1, False, True),
        ([3.0, 3.0, 3.0], 3, True, False),
        ([3.0, 4.0], 0, True, False),
    ],
)
def test_an_interval_needs_different_episodes(returns: list[float], distinct: int, interval: bool, note: bool) -> None:
    with console.capture() as shown:
        show_scores(np.array(returns), {"environment": "x"}, distinct)
    assert ("95% bootstrap" in shown.get()) == interval
    assert (f"all {len(returns)} episodes are the same one" in shown.get()) == note
