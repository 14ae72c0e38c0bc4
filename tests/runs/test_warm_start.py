"""A run begins with another run's policy, replay or bonus, is exact afterwards, and never needs that run again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlkit
from helpers.command import call
from helpers.soak_files import contents
from helpers.soak_worlds import CARTPOLE, OPTIONS, PPO, PQN, SEA, tables
from rlkit.config.load import resolve
from rlkit.config.tables import Config
from rlkit.errors import ConfigError, RunError
from rlkit.runs.assemble import assemble
from rlkit.runs.directory import RunDirectory
from rlkit.runs.identity import digest, of_run
from rlkit.runs.warm_start import pinned
from rlkit.testing.states import flatten

TRAIN = {"steps": 120, "num_envs": 2, "log_every": 60, "checkpoint_every": 60, "sinks": [], "seed": 5}
EVALUATION = {"every": 0, "final_episodes": 2}
DQN = tables("prioritised n-step DQN, SimHash")["agent"]
OTHER = {**DQN["bonus"], "hash": {"bits": 8}}
CHAIN = tables("h-DQN, in the middle of options")["env"]
WORLDS: dict[str, dict[str, Any]] = {
    "dqn": {"env": SEA, "agent": {**DQN, "network": {"input": "measured", "hidden": [16]}}},
    "hdqn": {"env": CHAIN, "agent": OPTIONS},
    "ppo": {"env": SEA, "agent": PPO},
    "pqn": {"env": CARTPOLE, "agent": PQN},
}


def config(agent: str, seed: int = 5, warm: dict[str, Any] | None = None, **changes: Any) -> Config:
    world = WORLDS[agent]
    train = {**TRAIN, "seed": seed} | ({} if warm is None else {"warm_start": warm})
    world = {**world, "agent": {**world["agent"], **changes}}
    return resolve(agent, {**world, "train": train, "evaluation": EVALUATION})


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each agent."""
    folder = tmp_path_factory.mktemp("others")
    return {agent: rlkit.train(config(agent), run=folder / agent).path for agent in WORLDS}


@pytest.mark.parametrize(("agent", "parts"), [
    ("dqn", ["replay", "bonus"]), ("dqn", []), ("hdqn", ["replay", "bonus"]), ("ppo", ["bonus"]), ("pqn", []),
])  # fmt: skip
def test_what_is_taken(agent: str, parts: list[str], others: dict[str, Path], tmp_path: Path) -> None:
    """The parameters of the policy, with its inputs, and of targets; of replay and bonus what was asked for."""
    settings = config(agent, 6, {"run": str(others[agent]), **dict.fromkeys(parts, True)})
    session = assemble(settings, lambda device: RunDirectory.create(tmp_path / "run", settings, {}))
    session.close()
    begun = flatten(session.trainer.agent.state_dict())
    run = RunDirectory.open(others[agent])
    taken = flatten({**run.checkpoints.load(120, "agent"), "policy": run.load_policy("last")[0]})
    same = {key for key in begun if key in taken and np.array_equal(np.asarray(begun[key]), np.asarray(taken[key]))}
    parameters = {key for key in begun if key.startswith(("policy/network", "policy/meta/", "policy/controller"))}
    assert parameters <= same
    for key in (name for name in begun if name.startswith("learner/target")):
        assert np.array_equal(begun[key], begun[key.replace("learner/target", "policy/network")])
    stored = {key for key in begun if key.startswith(("replay/columns", "replay/frames", "store/observations"))}
    counted = {key for key in taken if "states" in key.split("/") or "predictor" in key}
    for found, part in ((stored, "replay"), (counted, "bonus")):
        assert (found <= same) == (part in parts or not found), part
    assert begun["warm"] is True
    assert not begun["env_steps"]


@pytest.mark.parametrize(
    ("agent", "parts"), [("dqn", ["replay", "bonus"]), pytest.param("pqn", ["bonus"], marks=pytest.mark.slow)]
)
def test_the_run_is_exact_and_does_not_need_the_other(
    agent: str, parts: list[str], others: dict[str, Path], tmp_path: Path
) -> None:
    """Even when it was killed before its first checkpoint was due, and inputs are not measured anew."""
    other = Path(shutil.copytree(others[agent], tmp_path / "other"))
    settings = config(agent, 6, {"run": str(other), **dict.fromkeys(parts, True)})
    whole = rlkit.train(settings, run=tmp_path / "whole").path
    part = rlkit.train(settings, run=tmp_path / "run", on_step=lambda trainer, step: trainer.env_steps >= 20).path
    shutil.rmtree(other)
    shutil.rmtree(part / "checkpoints" / "000000000020")
    (part / "result.json").unlink()
    rlkit.resume(part)
    files, again = contents(whole), contents(part)
    assert {name for name in files if files[name] != again.get(name)} == set()


@pytest.mark.parametrize(("agent", "warm", "changes", "message"), [
    ("dqn", {"run": "nowhere"}, {}, "train.warm_start.run: nowhere is not a run directory"),
    ("dqn", {"run": "ppo"}, {}, 'was made by agent "ppo"; agent.name is "dqn"'),
    ("dqn", {"run": "dqn"}, {"network": {"hidden": [8]}}, "has shape (16, 36), this network needs (8, 36)"),
    ("dqn", {"run": "dqn", "checkpoint": "60000"}, {}, "has no checkpoint '60000'"),
    ("dqn", {"run": "dqn", "replay": True}, {}, "set train.warm_start.bonus = true"),
    ("dqn", {"run": "dqn", "replay": True, "bonus": True}, {"replay_capacity": 100}, "capacity is 200"),
    ("dqn", {"run": "dqn", "bonus": True}, {"bonus": OTHER}, "agent.bonus.hash.bits was 32, is 8"),
    ("dqn", {"run": "dqn", "bonus": True}, {"bonus": False}, "this config has no bonus"),
    ("dqn", {"run": "dqn", "digest": "0123456789ab"}, {}, "train.warm_start.digest is '0123456789ab', but"),
    ("ppo", {"run": "ppo", "replay": True, "bonus": True}, {}, "keeps no replay"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_written(
    agent: str, warm: dict[str, Any], changes: dict[str, Any], message: str, others: dict[str, Path], tmp_path: Path
) -> None:
    place = others[agent].parent / warm["run"]
    settings = config(agent, 6, {**warm, "run": str(place) if place.exists() else warm["run"]}, **changes)
    with pytest.raises((ConfigError, RunError)) as error:
        rlkit.train(settings, run=tmp_path / "run")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_an_agent_that_cannot_is_refused(others: dict[str, Path], tmp_path: Path) -> None:
    tables = {"env": SEA, "agent": {"name": "random"}, "train": {**TRAIN, "warm_start": {"run": str(others["dqn"])}}}
    with pytest.raises(ConfigError, match='"random" cannot begin with the policy of another run'):
        rlkit.train(resolve("random", tables), run=tmp_path / "run")


def test_the_other_run_is_part_of_the_experiment_wherever_it_lies(others: dict[str, Path], tmp_path: Path) -> None:
    moved = shutil.copytree(others["dqn"], tmp_path / "moved")
    here, there = (pinned(config("dqn", 6, {"run": str(run)})) for run in (others["dqn"], moved))
    cold, earlier = config("dqn", 6), pinned(config("dqn", 6, {"run": str(moved), "checkpoint": "60"}))
    assert digest(here) == digest(there)
    assert len({digest(each) for each in (here, cold, earlier)}) == 3
    assert of_run(here.tables()) == of_run(there.tables()) != of_run(cold.tables())
    warm = here.train.warm_start
    assert warm is not None
    assert (warm.experiment, warm.env_steps) == ("dqn", 120)
    assert warm.digest == json.loads((others["dqn"] / "run.json").read_text())["digest"]


def test_from_the_command_line_no_module_of_the_other_run_is_imported(
    place: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its config may name any; the result and a comparison tell the two apart."""
    agent = 'name = "dqn"\nlearning_starts = 10\n'
    text = (place / "small.toml").read_text().replace('name = "random"', agent)
    (place / "small.toml").write_text(text)
    assert call("train", "small.toml", "--run", "other").exit_code == 0
    forged = (place / "other" / "config.toml").read_text().replace('name = "gymnasium"', 'name = "evil:plugin"')
    (place / "other" / "config.toml").write_text(forged)
    (place / "evil.py").write_text("raise RuntimeError('imported')")
    done = call("train", "small.toml", "--from", "other", "--run", "warm")
    assert done.exit_code == 0, done.output
    assert "begins with the last policy of other: small at step 200" in done.output
    result = json.loads((place / "warm" / "result.json").read_text())
    assert result["config"]["train"]["warm_start"]["env_steps"] == 200
    assert call("train", "small.toml", "--from", "other", "--seeds", "3").exit_code == 0
    assert "1 run: 1 finished" in call("train", "small.toml", "--from", "other", "--seeds", "3").output
