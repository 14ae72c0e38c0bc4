"""Published scores to compare with: random and human play on 57 Atari games, and Dopamine's learning curves.

Sources, in rlkit/report/data/:

- atari_scores.csv: van Hasselt et al. 2016, arXiv:1602.07714, table 1 (the columns Random and Human, 30 no-ops start).
  They agree with the 57 pairs in DQN Zoo's dqn_zoo/atari_data.py.
- dopamine.csv: computed from github.com/google/dopamine, baselines/atari/data (Apache License 2.0): for each agent,
  game and network the training return, as the mean over 5 runs and over the last five iterations (5 million frames)
  before 10, 20, 40, 50, 100, 150 and 199 million frames. `CNN` and `Impala` are the agents in JAX; `legacy` those of
  2018 (TensorFlow, CNN), with two in JAX added later.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from importlib import resources

from rlkit.errors import ConfigError
from rlkit.report.protocols import Protocol

DOPAMINE = {
    "protocol": "dopamine, as trained",
    "sticky actions": "0.25",
    "actions": "minimal",
    "no-ops at reset": "none",
    "fire at reset": "no",
    "life loss": "no signal",
    "time limit": "108,000 frames",
    "evaluation": "none: the episodes of training",
    "evaluation epsilon": "0.01, that of training",
    "parameters": "those of the moment, over 5 million frames",
    "return": "raw, undiscounted, not clipped",
}
DOPAMINE_SEEDS = 5


def dopamine_protocol(environment: str) -> Protocol:
    """The protocol of Dopamine's published returns, which were measured in training."""
    return Protocol.of({"environment": environment, **DOPAMINE})


def game_of(environment: str) -> str | None:
    """ "ALE/SpaceInvaders-v5", "SpaceInvadersNoFrameskip-v4", "space_invaders" → "spaceinvaders"; else None."""
    name = environment.removeprefix("ALE/")
    name = re.sub(r"(NoFrameskip|Deterministic)?-v\d+$", "", name)
    name = re.sub(r"[_ -]", "", name).lower()
    return name if re.fullmatch(r"[a-z]+", name) and (name in atari_scores() or name in dopamine_games()) else None


@cache
def atari_scores() -> dict[str, dict[str, float]]:
    """Game → {"random": .., "human": ..}, raw returns, for 57 games."""
    return {
        row["game"]: {"random": float(row["random"]), "human": float(row["human"])} for row in _rows("atari_scores.csv")
    }


@cache
def dopamine_games() -> frozenset[str]:
    return frozenset(row["game"] for row in _rows("dopamine.csv"))


def dopamine_curves(game: str, networks: tuple[str, ...] = ("CNN",)) -> dict[str, dict[float, float]]:
    """ "Dopamine DQN (CNN)" → {frames: mean training return}, for one game of `game_of`. Raises ConfigError."""
    if game not in dopamine_games():
        raise ConfigError(f"Dopamine published no curve for {game!r}")
    curves = {}
    for row in _rows("dopamine.csv"):
        if row["game"] == game and row["network"] in networks:
            points = {float(key) * 1e6: float(value) for key, value in row.items() if key.isdigit()}
            curves[f"Dopamine {row['agent']} ({row['network']})"] = points
    return curves


@cache
def _rows(name: str) -> tuple[dict[str, str], ...]:
    text = (resources.files("rlkit.report") / "data" / name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
