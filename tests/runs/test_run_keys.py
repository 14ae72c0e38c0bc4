"""Every key of [train] and [evaluation] does what it should: with another value a run leaves something else.

The keys are found by walking the tables, so a key that is added fails here until it has a line in KEYS.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium import Env

import rlkit
from envs.chain import state
from helpers.config_keys import all_tables, keys, replaced, tables_of
from rlkit.config.load import resolve
from rlkit.config.tables import EvaluationConfig, TrainConfig
from rlkit.metrics.line_log import read_rows


def signals(env: Env[Any, Any]) -> dict[str, Any]:
    """The chain's own, and its "state" turned round."""
    own = state(env)
    return {**own, "turned": own["state"][::-1].copy()}


RUN: dict[str, Any] = {
    "env": {"name": "gymnasium", "id": "rlkit/Chain-v0", "kwargs": {"length": 3}, "signals": f"{__name__}:signals"},
    "agent": {"name": "random"},
    "train": {
        "steps": 120,
        "num_envs": 2,
        "threads": 1,
        "log_every": 20,
        "checkpoint_every": 30,
        "keep_checkpoints": 2,
        "reseed_after": 10,
        "sinks": ["images"],
        "visits": {"low": [0, 0], "high": [3, 2], "cells": [3, 2]},
    },
    "evaluation": {"every": 30, "episodes": 8, "final_episodes": 11, "num_envs": 2, "epsilon": 0.3},
}
STOPPING = {**RUN, "evaluation": {**RUN["evaluation"], "stop": {"at_least": 0.02}}}

TRAINING = {"rows", "tapes", "picture"}
LONGER = {*TRAINING, "checkpoints", "curve"}
KEYS: dict[str, tuple[dict[str, Any], Any, set[str]]] = {
    "train.steps": (RUN, 90, LONGER),
    "train.seed": (RUN, 1, {*TRAINING, "curve", "final"}),
    "train.num_envs": (RUN, 3, TRAINING),
    "train.threads": (RUN, 2, {"threads"}),
    "train.log_every": (RUN, 30, {"rows"}),
    "train.checkpoint_every": (RUN, 40, {"checkpoints"}),
    "train.keep_checkpoints": (RUN, 3, {"checkpoints"}),
    "train.reseed_after": (RUN, 20, TRAINING),
    "train.action_log_size": (RUN, 0, {"tapes"}),
    "train.sinks": (RUN, [], {"picture"}),
    "train.visits": (RUN, None, {"picture"}),
    "train.visits.signal": (RUN, "turned", {"picture"}),
    "train.visits.columns": (RUN, [1, 0], {"picture"}),
    "train.visits.low": (RUN, [1, 0], {"picture"}),
    "train.visits.high": (RUN, [6, 2], {"picture"}),
    "train.visits.cells": (RUN, [3, 1], {"picture"}),
    "evaluation.every": (RUN, 60, {"curve"}),
    "evaluation.episodes": (RUN, 9, {"curve"}),
    "evaluation.final_episodes": (RUN, 12, {"final"}),
    "evaluation.num_envs": (RUN, 3, {"curve", "final"}),
    "evaluation.epsilon": (RUN, 1.0, {"curve", "final"}),
    "evaluation.env": (RUN, {"max_episode_steps": 2}, {"curve", "final"}),
    "evaluation.stop": (STOPPING, None, LONGER),
    "evaluation.stop.key": (STOPPING, "return_min", LONGER),
    "evaluation.stop.at_least": (STOPPING, 5.0, LONGER),
    "evaluation.stop.times": (STOPPING, 2, LONGER),
}
"""By key: a run, another value, and all that is then different."""
UNSEEN = {
    "train.device": "there is only one everywhere",
    "train.warm_start": "the agent here has nothing to begin with; test_warm_start.py has it and its keys",
    **{
        f"train.warm_start.{key}": "see train.warm_start"
        for key in ("run", "checkpoint", "replay", "bonus", "experiment", "digest", "env_steps")
    },
    "train.reward_scale": "the agent here does not learn; test_trainer.py has it",
    **{
        f"train.actors{key}": "it needs a cluster; test_actors.py and test_cluster.py have it"
        for key in ("", ".count", ".address", ".cpus", ".push_every", ".epsilon")
    },
    "evaluation.sample": "the agent here has nothing to sample; test_assemble.py has it",
}


def left(tables: dict[str, Any], run: Path) -> dict[str, Any]:
    """What a run leaves, in parts."""
    threads = set()
    rlkit.train(resolve("test", tables), run=run, on_progress=lambda trainer: threads.add(torch.get_num_threads()))
    rows = read_rows(run / "metrics.jsonl")
    result = json.loads((run / "result.json").read_text())
    return {
        "rows": [
            {name: value for name, value in row.items() if not name.startswith(("time/", "final/"))}
            for row in rows
            if not any(name.startswith("evaluation/") for name in row)
        ],
        "curve": result["curve"],
        "final": result["final"],
        "checkpoints": sorted(path.name for path in (run / "checkpoints").iterdir() if path.name != "objects"),
        "tapes": {path.name: path.read_bytes() for path in (run / "tapes").iterdir()},
        "picture": [path.read_bytes() for path in sorted(run.glob("images/*"))],
        "threads": threads,
    }


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What the runs leave as they are, made once."""
    made: dict[int, dict[str, Any]] = {}

    def of(tables: dict[str, Any]) -> dict[str, Any]:
        if id(tables) not in made:
            made[id(tables)] = left(tables, tmp_path_factory.mktemp("usual") / "run")
        return made[id(tables)]

    return of


@pytest.mark.parametrize("key", KEYS)
def test_another_value_leaves_something_else(key: str, usual: Any, tmp_path: Path) -> None:
    tables, other, changes = KEYS[key]
    filled = resolve("test", tables).tables()
    before, after = usual(tables), left(replaced(filled, key, other), tmp_path / "run")
    assert {part for part in before if before[part] != after[part]} == changes


def test_equal_runs_leave_the_same(usual: Any, tmp_path: Path) -> None:
    assert left(RUN, tmp_path / "run") == usual(RUN)


def test_every_key_is_among_these() -> None:
    train = {**RUN["train"], "warm_start": {"run": "another"}, "actors": {"count": 1}}
    config = resolve("test", {**STOPPING, "train": train})
    found = {f"train.{key.path}" for key, _ in keys(config.train)}
    found |= {f"evaluation.{key.path}" for key, _ in keys(config.evaluation)}
    assert found == KEYS.keys() | UNSEEN.keys()
    held = tables_of(config.train) | tables_of(config.evaluation)
    assert held == all_tables(TrainConfig, {}) | all_tables(EvaluationConfig, {})
