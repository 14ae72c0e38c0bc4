"""What must not change a run does not: evaluation, logging, checkpoints, workers, other people's randomness."""

from __future__ import annotations

import itertools
import json
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import PIL.Image
import pytest
import torch

import rlkit
from agents.dqn.agent import DQNAgent
from rlkit.config.load import resolve
from rlkit.errors import RlkitError, RunError, WorkerError
from rlkit.metrics.heatmap import LEFT, TOP, cells
from rlkit.metrics.line_log import read_rows
from rlkit.runs.api import Stopped
from rlkit.runs.checkpoint import CheckpointStore
from rlkit.runs.directory import RunDirectory
from rlkit.runs.evaluator import Evaluator
from rlkit.testing.states import difference, flatten
from rlkit.training.finite import nan_entries
from rlkit.training.trainer import Trainer
from rlkit.types import StepBatch

TABLES: dict[str, Any] = {
    "env": {"name": "gymnasium", "id": "CartPole-v1"},
    "agent": {"name": "dqn", "learning_starts": 50, "batch_size": 8, "n_step": 2, "prioritised": True},
    "train": {"steps": 360, "num_envs": 3, "reseed_after": 60, "checkpoint_every": 0},
    "evaluation": {"final_episodes": 1},
}


def trained(run: Path, **settings: Any) -> dict[str, Any]:
    """The last checkpoint of a short run; `train__steps=5` sets train.steps."""
    tables = json.loads(json.dumps(TABLES))
    for key, value in settings.items():
        table, _, name = key.partition("__")
        tables[table][name] = value
    rlkit.train(resolve("small", tables), run=run)
    store = CheckpointStore(run / "checkpoints")
    return store.load(store.steps()[-1])


@pytest.mark.parametrize(
    "settings",
    [
        {"evaluation__every": 60, "evaluation__episodes": 2},
        {"evaluation__epsilon": 0.5, "evaluation__every": 120, "evaluation__num_envs": 2},
        {"train__log_every": 7},
        {"train__checkpoint_every": 30},
        {"env__mode": "async"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_leaves_training_alone(settings: dict[str, Any], tmp_path: Path) -> None:
    plain, other = trained(tmp_path / "plain"), trained(tmp_path / "other", **settings)
    for part in ("agent", "rollout", "tape", "episodes"):
        assert difference(plain[part], other[part]) is None


def test_global_random_state_is_neither_used_nor_changed(tmp_path: Path) -> None:
    plain = trained(tmp_path / "plain")
    torch.manual_seed(77)
    np.random.seed(77)  # noqa: NPY002
    random.seed(77)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    other = trained(tmp_path / "other")
    assert difference(plain["agent"], other["agent"]) is None
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert before[2] == random.getstate()


def test_seeds_give_different_runs(tmp_path: Path) -> None:
    first, second = trained(tmp_path / "first"), trained(tmp_path / "second", train__seed=1)
    assert difference(first["agent"]["policy"], second["agent"]["policy"])
    assert difference(first["tape"], second["tape"])


@pytest.mark.parametrize("num_envs", [1, 3, 8])
def test_the_number_of_updates_does_not_depend_on_the_number_of_environments(num_envs: int, tmp_path: Path) -> None:
    trained(tmp_path / "run", train__num_envs=num_envs)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["env_steps"], result["updates"]) == (360, (360 - 50) // 4)


def test_a_loss_that_is_not_a_number_ends_the_run(tmp_path: Path) -> None:
    settings = {"agent__learning_rate": 1e30, "agent__loss": "squared", "agent__max_grad_norm": 0.0}
    with pytest.raises(RlkitError, match=r"not (a number|finite)"):
        trained(tmp_path / "run", **settings, train__log_every=60, agent__prioritised=False)


def nan_in_any_checkpoint(run: Path) -> bool:
    store = CheckpointStore(run / "checkpoints")
    assert store.steps()
    return any(path for step in store.steps() for path in nan_entries(store.load(step)["agent"]))


def test_no_checkpoint_is_made_of_what_is_not_a_number(tmp_path: Path) -> None:
    """The run ends at the update where it happens, although nothing is logged for long."""
    settings = {"agent__learning_rate": 1e12, "agent__loss": "squared", "agent__max_grad_norm": 0.0}
    run = tmp_path / "run"
    with pytest.raises(RlkitError, match=r"update \d+: .*; the checkpoint of step \d+ is sound and kept"):
        trained(run, **settings, train__checkpoint_every=6, train__log_every=10_000, agent__prioritised=False)
    assert not nan_in_any_checkpoint(run)
    assert read_rows(run / "metrics.jsonl") == []


@pytest.mark.parametrize("when", ["first", "last"])
def test_parameters_that_are_not_numbers_are_neither_saved_nor_scored(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spoiled by the first update, or by the one after the last checkpoint; the metrics of that update are sound."""
    learn, finish = DQNAgent.learn, Trainer.finish

    def spoil(agent: DQNAgent) -> None:
        with torch.no_grad():
            next(agent.policy.network.parameters()).fill_(float("nan"))

    def learn_first(agent: DQNAgent) -> Any:
        metrics = learn(agent)
        if agent.updates:
            spoil(agent)
        return {} if agent.updates > 1 else metrics

    def finish_last(trainer: Trainer) -> Any:
        spoil(trainer.agent)  # type: ignore[arg-type]
        return finish(trainer)

    if when == "first":
        monkeypatch.setattr(DQNAgent, "learn", learn_first)
    else:
        monkeypatch.setattr(Trainer, "finish", finish_last)
    run = tmp_path / "run"
    with pytest.raises(RlkitError, match=r"policy/\S+ is not a number"):
        trained(run, agent__prioritised=False, train__checkpoint_every=30)
    assert not nan_in_any_checkpoint(run)
    assert not (run / "policies").exists()
    assert not (run / "result.json").exists()


class Broken(gym.Env):
    """Gives NaN once, in the observation, the reward, or the first observation of an episode."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    steps = episodes = 0

    def __init__(self, where: str) -> None:
        self.where = where

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episodes += 1
        return np.full(2, np.nan if (self.where, self.episodes) == ("reset", 3) else 0, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        bad = self.where if self.steps == 30 else ""
        return (
            np.full(2, np.nan if bad == "observation" else 0, np.float32),
            np.inf if bad == "reward" else 1.0,
            False,
            False,
            {},
        )


@pytest.mark.parametrize(("where", "step"), [("observation", 30), ("reward", 30), ("reset", 20)])
def test_an_environment_that_gives_no_numbers_is_named(
    where: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlkit.runs.api.TRIAL_STEPS", 5)  # else the play before training finds it
    gym.register("Broken-v0", Broken, max_episode_steps=10)
    tables = {
        "env": {"name": "gymnasium", "id": "Broken-v0", "kwargs": {"where": where}},
        "agent": {"name": "random"},
        "train": {"steps": 100, "checkpoint_every": 15, "sinks": []},
    }
    name = "reward inf" if where == "reward" else "observation nan"
    try:
        with pytest.raises(
            WorkerError, match=rf"at step {step}: environment 0 returned the {name}.*of step 15 is sound"
        ):
            rlkit.train(resolve("broken", tables), run=tmp_path / "run")
    finally:
        del gym.registry["Broken-v0"]
    assert CheckpointStore(tmp_path / "run" / "checkpoints").steps() == [15]


def test_a_policy_that_is_not_a_number_is_not_scored(tmp_path: Path) -> None:
    trained(tmp_path / "run", train__steps=60)
    run = RunDirectory.open(tmp_path / "run")
    state, env_steps = run.load_policy("last")
    tensor = next(value for value in flatten(state).values() if isinstance(value, torch.Tensor))
    tensor.view(-1)[0] = float("nan")
    run.save_policy("final", state, env_steps)
    with pytest.raises(RunError, match="contains NaN in"):
        rlkit.evaluate_run(run.path)


def test_rows_are_written_when_due(tmp_path: Path) -> None:
    trained(tmp_path / "run", train__log_every=100, evaluation__every=100)
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    logged = [row["env_steps"] for row in rows if "progress/updates" in row]
    evaluated = [row["env_steps"] for row in rows if "evaluation/return_mean" in row]
    assert logged == evaluated == [102, 201, 300], "with three environments, the first step past each multiple"
    assert [row["env_steps"] for row in rows if "final/return_mean" in row] == [360]


def test_training_ends_early_where_the_task_is_solved(tmp_path: Path) -> None:
    stop = {"at_least": 15.0, "times": 2}
    evaluation = {"evaluation__every": 30, "evaluation__episodes": 2, "evaluation__stop": stop}
    trained(tmp_path / "run", **evaluation, train__log_every=30, train__steps=3000)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    reached = [row["return_mean"] >= 15.0 for row in result["curve"]]
    assert reached[-2:] == [True, True], "CartPole gives 9 at the very least, and 15 soon"
    assert not any(first and second for first, second in itertools.pairwise(reached[:-1]))
    assert result["env_steps"] == result["curve"][-1]["env_steps"] < 3000
    logged = [
        row["progress/updates"] for row in read_rows(tmp_path / "run" / "metrics.jsonl") if "progress/updates" in row
    ]
    assert result["updates"] == logged[-1], "the policy that is exported is the one that was seen to solve it"


def test_the_best_policy_is_that_of_the_first_highest_evaluation(tmp_path: Path) -> None:
    trained(tmp_path / "run", evaluation__every=30, evaluation__episodes=2)
    curve = json.loads((tmp_path / "run" / "result.json").read_text())["curve"]
    means = [row["return_mean"] for row in curve]
    assert len(set(means)) > 1
    assert means[-1] < max(means), "else the last policy and the best one cannot be told apart"
    best = rlkit.load_policy(tmp_path / "run", "best")
    assert best.env_steps == curve[means.index(max(means))]["env_steps"]


@pytest.mark.parametrize("stop_in", [2, 4], ids=["evaluation", "final"])
def test_a_stop_within_an_evaluation_changes_nothing(
    stop_in: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluation is made again when the run is resumed; here there are three, and the final one."""
    settings = {"evaluation__every": 120, "evaluation__episodes": 2, "train__checkpoint_every": 120}
    whole = trained(tmp_path / "whole", **settings)
    calls = []

    def stopping(self: Evaluator, *arguments: Any) -> Any:
        calls.append(0)
        if len(calls) == stop_in:
            self.stop.signal = signal.SIGTERM
        return score(self, *arguments)

    score = Evaluator.__call__
    monkeypatch.setattr(Evaluator, "__call__", stopping)
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", **settings)
    rlkit.resume(tmp_path / "parts")
    assert difference(CheckpointStore(tmp_path / "parts" / "checkpoints").load(360), whole) is None
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "parts")]
    assert results[0]["curve"] == results[1]["curve"]
    assert results[0]["final"] == results[1]["final"]
    rows = [
        [
            {key: value for key, value in row.items() if "time/" not in key}
            for row in read_rows(tmp_path / name / "metrics.jsonl")
        ]
        for name in ("whole", "parts")
    ]
    assert rows[0] == rows[1]


def test_the_scale_of_rewards_is_the_agents_alone(tmp_path: Path) -> None:
    plain = trained(tmp_path / "plain", agent__learning_starts=400)
    scaled = trained(tmp_path / "scaled", agent__learning_starts=400, train__reward_scale=0.5)
    assert plain["agent"]["replay"]["columns"]["reward"].max() == 1
    assert (scaled["agent"]["replay"]["columns"]["reward"] == 0.5 * plain["agent"]["replay"]["columns"]["reward"]).all()
    assert difference(plain["episodes"], scaled["episodes"]) is None
    finals = [json.loads((tmp_path / name / "result.json").read_text())["final"] for name in ("plain", "scaled")]
    assert finals[0] == finals[1]


def test_callbacks_see_steps_and_evaluations_and_may_end_training(tmp_path: Path) -> None:
    config, seen = resolve("small", {**TABLES, "evaluation": {"every": 60, "episodes": 1, "final_episodes": 1}}), []

    def log(trainer: Trainer, step: StepBatch) -> None:
        seen.append(trainer.env_steps)
        trainer.meters.add({"mine/ended": float(step.ended.sum())})

    def third(trainer: Trainer, scores: Mapping[str, float]) -> bool:
        return len(trainer.curve) == 3 and scores == {
            name: value for name, value in trainer.curve[-1].items() if name != "env_steps"
        }

    run = rlkit.train(config, run=tmp_path / "run", on_step=log, on_evaluation=third)
    assert seen == list(range(3, 181, 3))
    result = run.result()
    assert result is not None
    assert (result["env_steps"], len(result["curve"])) == (180, 3)
    assert any("mine/ended" in row for row in read_rows(run.metrics))
    rlkit.resume(run.path, on_step=lambda trainer, step: trainer.env_steps >= 240)
    assert RunDirectory(run.path).result()["env_steps"] == 240  # type: ignore[index]


def test_visits_are_drawn_with_each_evaluation(tmp_path: Path) -> None:
    tables = {
        "env": {"name": "gymnasium", "id": "rlkit/DeepSea-v0", "kwargs": {"size": 4}, "signals": "envs.deep_sea:state"},
        "agent": {"name": "random"},
        "train": {"steps": 80, "visits": {"columns": [1, 0], "low": [0, 0], "high": [4, 5], "cells": [4, 5]}},
        "evaluation": {"every": 40, "episodes": 3, "final_episodes": 5},
    }
    run = tmp_path / "run"
    rlkit.train(resolve("small", tables), run=run)
    store = CheckpointStore(run / "checkpoints")
    visits = store.load(store.steps()[-1])["visits"]
    assert visits.sum(axis=1).tolist() == [20] * 5, "20 episodes pass each row once, those of evaluation left out"
    with PIL.Image.open(run / "images" / "train-visits.png") as picture:
        drawn, grid = np.asarray(picture), cells(visits)
    assert (drawn[TOP : TOP + grid.shape[0], LEFT : LEFT + grid.shape[1]] == grid).all()
    final = json.loads((run / "result.json").read_text())["final"]
    assert len(final["successes"]) == 5
    assert final["successes"] == [int(value > 0.5) for value in final["returns"]]
