"""Published scores and curves."""

from __future__ import annotations

import numpy as np
import pytest

from rlkit.errors import ConfigError
from rlkit.report import reference


def test_the_human_scores_are_those_of_57_games() -> None:
    table = reference.atari_scores()
    assert len(table) == 57
    assert table["breakout"] == {"random": 1.7, "human": 30.5}
    assert table["surround"] == {"random": -10.0, "human": 6.5}
    assert all(row["human"] > row["random"] for row in table.values())


@pytest.mark.parametrize(
    ("environment", "game"),
    [
        ("ALE/SpaceInvaders-v5", "spaceinvaders"),
        ("SpaceInvadersNoFrameskip-v4", "spaceinvaders"),
        ("space_invaders", "spaceinvaders"),
        ("MinAtar/Breakout-v1", None),
        ("CartPole-v1", None),
    ],
)
def test_games_are_known_by_any_of_their_names_and_others_are_not(environment: str, game: str | None) -> None:
    assert reference.game_of(environment) == game


def test_dopamines_curves_are_the_published_ones() -> None:
    """Against baselines/atari/data/breakout_CNN.json, iterations 5 to 9, all five runs of Rainbow, by hand."""
    runs = [
        (22.9817, 23.2226, 23.4073, 24.0124, 22.9036), (27.1577, 28.0304, 26.9484, 28.2013, 24.9624),
        (32.8810, 31.8529, 31.6351, 33.8007, 29.0795), (37.3611, 35.5804, 33.9779, 40.6611, 34.5146),
        (44.0175, 44.5689, 43.8017, 47.1881, 39.5581),
    ]  # fmt: skip
    curves = reference.dopamine_curves("breakout")
    assert curves["Dopamine Rainbow (CNN)"][10e6] == pytest.approx(np.mean(runs), abs=0.006)
    assert set(curves) == {f"Dopamine {name} (CNN)" for name in ("DQN", "C51", "QR-DQN", "IQN", "Rainbow")}
    with pytest.raises(ConfigError, match="no curve"):
        reference.dopamine_curves("chess")
