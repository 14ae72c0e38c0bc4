"""Agents learn what they should: minutes each, run by `make test-slow`, with a fast twin that runs the same code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlkit
from rlkit.config.load import load, resolve

FROZEN_LAKE = {
    "env": {"name": "gymnasium", "id": "FrozenLake-v1", "kwargs": {"is_slippery": False}},
    "agent": {
        "name": "dqn",
        "learning_rate": 0.5,
        "optimizer": {"type": "sgd"},
        "loss": "squared",
        "updates_per_step": 1,
        "batch_size": 16,
        "network": {"hidden": []},
        "target": {"every": 250},
        "n_step": 1,
        "double": False,
        "epsilon": {"end": 0.7, "steps": 2000},
    },
    "train": {"steps": 5_000, "num_envs": 4},
}


def final_mean(run: Path) -> float:
    returns: list[Any] = json.loads((run / "result.json").read_text())["final"]["returns"]
    return float(np.mean(returns))


@pytest.mark.slow
def test_cartpole_is_learned(tmp_path: Path) -> None:
    assert final_mean(rlkit.train(load("cartpole"), run=tmp_path / "run").path) >= 400


@pytest.mark.slow
def test_cartpole_is_learned_by_ppo(tmp_path: Path) -> None:
    shorter = {"train.steps": 25_000, "agent.anneal.steps": 25_000, "evaluation.every": 0}
    assert final_mean(rlkit.train(load("ppo/cartpole", shorter), run=tmp_path / "run").path) >= 450


@pytest.mark.slow
def test_cartpole_is_learned_by_pqn(tmp_path: Path) -> None:
    assert final_mean(rlkit.train(load("pqn/cartpole"), run=tmp_path / "run").path) >= 450


@pytest.mark.slow
def test_dqn_learns_minatar_breakout(tmp_path: Path) -> None:
    """A random policy scores about 0.5, 300,000 steps about 6."""
    config = load("minatar/breakout", {"train.steps": 120_000, "evaluation.every": 0})
    assert final_mean(rlkit.train(config, run=tmp_path / "run").path) >= 2.5


def chain_return(run: Path) -> float:
    """Mean return of training episodes over the last sixth of training, exploration included."""
    curve = json.loads((run / "result.json").read_text())["training"]["episode/return"]
    return float(np.mean([mean for mean in curve[-4:] if mean is not None]))


@pytest.mark.slow
def test_hdqn_learns_the_chain(tmp_path: Path) -> None:
    """0.1705 is the most at epsilon 0.1; who turns back at once gets 0.01."""
    assert chain_return(rlkit.train(load("hdqn/chain"), run=tmp_path / "run").path) >= 0.14


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exploration/doorkey", "exploration/multiroom", "hdqn/doorkey"])
def test_counting_finds_the_goal_of_minigrid(name: str, tmp_path: Path) -> None:
    """In DoorKey-8x8 random actions reach it twice in 150 episodes, in MultiRoom-N4-S5 never."""
    config = load(name, {"train.steps": 60_000})
    assert final_mean(rlkit.train(config, run=tmp_path / "run").path) >= 0.7


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep-sea", "exploration/mountain_car"])
def test_counting_finds_what_random_actions_seldom_find(name: str, tmp_path: Path) -> None:
    assert final_mean(rlkit.train(load(name), run=tmp_path / "run").path) >= 0.85


@pytest.mark.slow
def test_hdqn_learns_a_short_chain(tmp_path: Path) -> None:
    """Four states, of which the right end is visited in a third of episodes at most; a random agent has 0.09."""
    short = {"env.kwargs.length": 4, "train.steps": 12_000, "train.log_every": 500}
    fast = {f"agent.{level}.learning_rate": 0.03 for level in ("controller", "meta")}
    decay = {f"agent.{level}.epsilon.steps": 3_000 for level in ("controller", "meta")}
    run = rlkit.train(load("hdqn/chain", {**short, **fast, **decay}), run=tmp_path / "run").path
    assert chain_return(run) >= 0.2


def test_a_network_without_hidden_layers_is_a_table(tmp_path: Path) -> None:
    """Q-learning on the one-hot state finds the goal of FrozenLake, deterministic, from the start: return 1."""
    assert final_mean(rlkit.train(resolve("lake", FROZEN_LAKE), run=tmp_path / "run").path) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("softmax", "epsilon"), [(False, 0.7), (True, 0.0)])
def test_pqn_finds_the_goal_of_frozen_lake(softmax: bool, epsilon: float, tmp_path: Path) -> None:
    """With a table, by random actions or soft ones."""
    agent = {"name": "pqn", "learning_rate": 0.05, "rollout_steps": 16, "minibatches": 2, "anneal": {"steps": 5_000}}
    agent |= {"softmax": softmax, "epsilon": {"end": epsilon, "steps": 2_000}}
    agent |= {"network": {"hidden": [], "normalisation": "none"}}
    config = resolve("lake", {**FROZEN_LAKE, "agent": agent})
    assert final_mean(rlkit.train(config, run=tmp_path / "run").path) == 1


@pytest.mark.parametrize("name", ["cartpole", "minatar/breakout", "minatar/space_invaders", "hdqn/doorkey"])
def test_packaged_configs_run(name: str, tmp_path: Path) -> None:
    level = "agent.controller" if name.startswith("hdqn") else "agent"
    short = {"train.steps": 300, f"{level}.learning_starts": 100, "evaluation.every": 150, "evaluation.episodes": 1}
    run = rlkit.train(load(name, {**short, "evaluation.final_episodes": 1}), run=tmp_path / "run").path
    assert json.loads((run / "result.json").read_text())["updates"] > 0


@pytest.mark.parametrize(
    "kind", ["venture", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("bass", "learned", "ram"))]
)
def test_packaged_configs_of_counting_in_atari_run(kind: str, tmp_path: Path) -> None:
    short = {"train.steps": 160, "train.log_every": 80, "agent.learning_starts": 100, "agent.replay_capacity": 150}
    short |= {"env.protocol": "custom", "env.max_frames": 400}  # or an evaluation may take half an hour of play
    changes = {**short, "evaluation.every": 0, "evaluation.final_episodes": 1, "agent.bonus.beta": 1.0}
    run = rlkit.train(load(f"atari/hash-{kind}", changes), run=tmp_path / "run").path
    result = json.loads((run / "result.json").read_text())
    training = result["training"]
    assert result["frame_skip"] == 4
    assert training["progress/updates"][-1] > 0
    assert 1 < training["explore/distinct_codes"][-1] <= 161 + training["progress/episodes"][-1]
    assert 0 < training["explore/bonus"][-1] < 1  # codes are met again
