"""Dict and Tuple observations from environment to policy: DQN on Blackjack, MiniGrid without its mission."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import minigrid  # noqa: F401  registers its worlds
import numpy as np
import pytest

import rlkit
from envs.gymnasium import GymnasiumConfig, WrapperConfig, plugin
from rlkit.config.load import resolve
from rlkit.config.tables import Config
from rlkit.errors import SpecError
from rlkit.metrics.line_log import read_rows
from rlkit.runs.checkpoint import CheckpointStore
from rlkit.testing import check_env
from rlkit.testing.states import state_hash
from rlkit.types import Purpose

DOORKEY = GymnasiumConfig(
    name="gymnasium",
    id="MiniGrid-DoorKey-5x5-v0",
    register=("minigrid",),
    wrappers=(WrapperConfig(path="gymnasium.wrappers:FilterObservation",
                            kwargs={"filter_keys": ["direction", "image"]}),),
)  # fmt: skip

WEIGHT_NORM = {"normalisation": "weight", "weight_norm": {"initial_batch": 30}}


def blackjack(steps: int) -> Config:
    tables = {
        "agent": {
            "name": "dqn",
            "batch_size": 8,
            "replay_capacity": 300,
            "learning_starts": 50,
            "n_step": 2,
            "bonus": {"hash": {"type": "simhash", "bits": 16}},
        },
        "env": {"name": "gymnasium", "id": "Blackjack-v1", "max_episode_steps": 20},
        "train": {"steps": steps, "num_envs": 2, "log_every": 40, "sinks": [], "reseed_after": 40},
        "evaluation": {"every": 150, "episodes": 3, "final_episodes": 3},
    }
    return resolve("test", tables)


def outcome(run: Path) -> tuple:
    store = CheckpointStore(run / "checkpoints")
    rows = [
        {key: value for key, value in row.items() if not key.startswith("time/")}
        for row in read_rows(run / "metrics.jsonl")
    ]
    return state_hash(store.load(store.steps()[-1]), ignore=("seconds", "processor_seconds")), rows


def test_blackjack_is_trained_resumed_and_played(tmp_path: Path) -> None:
    longer = rlkit.train(blackjack(400), run=tmp_path / "longer").path
    run = rlkit.train(blackjack(211), run=tmp_path / "extended").path
    rlkit.resume(run, 400)
    assert outcome(run) == outcome(longer)
    policy = rlkit.load_policy(run)
    env = gym.make("Blackjack-v1")
    observation, _ = env.reset(seed=0)
    assert policy(observation) in (0, 1)
    with pytest.raises(SpecError, match="no '2'"):
        policy(observation[:2])


AGENTS = {
    "dqn": {"learning_starts": 60, "batch_size": 8, "replay_capacity": 300},
    "ppo": {"rollout_steps": 32, "epochs": 1, "separate_networks": True},
    "pqn": {"rollout_steps": 32, "epochs": 1},
    "hdqn": {
        "goals": {"name": "minigrid-objects"},
        "controller": {"learning_starts": 60, "batch_size": 8, "replay_capacity": 300, "network": WEIGHT_NORM},
        "meta": {"learning_starts": 2, "batch_size": 4, "capacity": 50},
    },
}


@pytest.mark.parametrize("agent", AGENTS)
def test_all_agents_learn_from_parts(agent: str, tmp_path: Path) -> None:
    """MiniGrid's picture and direction; weight normalisation is initialised from them, and runs are resumed."""
    table = {"name": agent, **AGENTS[agent]}
    if agent != "hdqn":
        table["network"] = WEIGHT_NORM
    changes = {"signals": "envs.minigrid:situation", "max_episode_steps": 30}
    env = {**DOORKEY.model_dump(mode="json", exclude_none=True), **changes}
    tables = {"agent": table, "env": env, "evaluation": {"final_episodes": 1}}

    def config(steps: int) -> Config:
        return resolve("test", {**tables, "train": {"num_envs": 2, "sinks": [], "steps": steps}})

    rlkit.train(config(68), run=tmp_path / "short")
    rlkit.resume(tmp_path / "short", 130)
    rlkit.train(config(130), run=tmp_path / "long")
    assert outcome(tmp_path / "short")[0] == outcome(tmp_path / "long")[0]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_minigrid_without_its_mission_is_what_the_environment_shows(mode: str) -> None:
    environments = plugin.make(DOORKEY.model_copy(update={"mode": mode}), 2, Purpose.TRAIN)
    structure = environments.spec.structure
    assert environments.spec.observation_space.dtype == np.uint8
    alone = [gym.make(DOORKEY.id) for _ in range(2)]
    try:
        rows = environments.reset(np.ones(2, np.bool_), np.array([3, 4])).obs
        expected = [env.reset(seed=seed)[0] for env, seed in zip(alone, (3, 4), strict=True)]
        for action in np.random.default_rng(0).integers(0, 6, (40, 2)):
            parts = structure.split(rows)
            assert sorted(parts) == ["direction", "image"]
            for e, observation in enumerate(expected):
                assert parts["direction"][e] == observation["direction"]
                np.testing.assert_array_equal(parts["image"][e], observation["image"])
            environments.send(action)
            rows = environments.receive().after.obs
            expected = [env.step(act)[0] for env, act in zip(alone, action, strict=True)]
    finally:
        environments.close()


def test_minigrid_without_its_mission_keeps_the_contract() -> None:
    check_env(plugin, DOORKEY, steps=60, resets=20)
