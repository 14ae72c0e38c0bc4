"""A policy loaded from a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlkit
from rlkit import ActorOutput, Mode, Observation
from rlkit.config.load import resolve
from rlkit.errors import RunError, SpecError
from rlkit.runs.directory import RunDirectory


def test_three_lines_of_python(small_run: Path) -> None:
    import gymnasium as gym

    env = gym.make("CartPole-v1")
    policy = rlkit.load_policy(small_run)
    observation, _ = env.reset(seed=1)
    assert policy(observation) in (0, 1)
    with pytest.raises(rlkit.errors.SpecError, match=r"\(3,\).*\(4,\)"):
        policy(observation[:3])


def test_an_observation_of_an_unwrapped_environment_is_refused_with_the_wrappers(tmp_path: Path) -> None:
    tables = {
        "env": {
            "name": "gymnasium",
            "id": "MiniGrid-Empty-5x5-v0",
            "register": ["minigrid"],
            "wrappers": ["minigrid.wrappers:ImgObsWrapper"],
        },
        "agent": {"name": "random"},
        "train": {"steps": 10, "sinks": []},
        "evaluation": {"final_episodes": 1},
    }
    policy = rlkit.load_policy(rlkit.train(resolve("door", tables), run=tmp_path / "run").path)
    for observation in ({"image": np.zeros((7, 7, 3), np.uint8), "direction": 0}, np.full((7, 7, 3), 0.5), "text"):
        with pytest.raises(SpecError, match=r"takes Box.*training had the wrappers minigrid.*ImgObs"):
            policy(observation)


class Watching:
    """Records which observations begin an episode."""

    def __init__(self) -> None:
        self.first: list[bool] = []

    def initial_state(self, num_envs: int) -> dict[str, Any]:
        return {}

    def act(self, observation: Observation, state: Any, rng: Any, mode: Mode) -> ActorOutput:
        self.first.append(bool(observation.first[0]))
        return ActorOutput(np.zeros(1, np.int64), {}, {})

    def load_policy_state(self, state: Any) -> None:
        """Nothing to load."""


def test_the_first_observation_and_the_one_after_reset_begin_an_episode(small_run: Path) -> None:
    loaded, watching = rlkit.load_policy(small_run), Watching()
    policy = rlkit.LoadedPolicy(watching, loaded.spec, loaded.config, loaded.env_steps)
    for resets in (False, False, True, False):
        if resets:
            policy.reset()
        policy(np.zeros(4, np.float32))
    assert watching.first == [True, False, True, False]


def test_a_policy_with_memory_carries_its_state(tmp_path: Path) -> None:
    tables = {
        "env": {"name": "gymnasium", "id": "rlkit/MemoryChain-v0", "kwargs": {"length": 9}},
        "agent": {"name": "ppo", "rollout_steps": 16, "minibatches": 1, "network": {"memory": {"size": 5}}},
        "train": {"steps": 20, "sinks": []},
        "evaluation": {"final_episodes": 1},
    }
    tables["agent"]["network"]["memory"] |= {"last_action": True, "last_reward": True}  # type: ignore[index]
    run = rlkit.train(resolve("chain", tables), run=tmp_path / "run").path
    loaded, alone = rlkit.load_policy(run), rlkit.load_policy(run).policy
    state, rng, action, reward = alone.initial_state(1), np.random.default_rng(0), 0, 0.0
    states = []
    for step in range(12):
        obs, first = np.array([0.1 * step, 1.0], np.float32), step in (0, 7)
        if first:
            loaded.reset()
        seen = Observation(obs[None], {}, np.array([first]), np.array([action]), np.array([reward], np.float32))
        output = alone.act(seen, state, rng, Mode.EVALUATE)
        action, state = loaded(obs, reward=reward), output.state
        assert action == output.action[0]
        np.testing.assert_array_equal(loaded._state["memory"], state["memory"])  # noqa: SLF001
        states.append(state["memory"])
        reward = 0.3 * step
    assert len(np.unique(states, axis=0)) == 12
    with pytest.raises(SpecError, match=r"memory.last_reward .* policy\(observation, reward=...\)"):
        loaded(obs)


def test_a_policy_that_does_not_fit_is_refused_with_the_versions(small_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(small_run, copy)
    run = RunDirectory.open(copy)
    run.save_policy("final", {}, env_steps=400)
    with pytest.raises(RunError, match=r"run: the policy does not fit: .*the code of its agent or bonus has changed"):
        rlkit.load_policy(copy)
    info = json.loads((copy / "run.json").read_text())
    info["versions"]["rlkit"] = "0.0.9"
    (copy / "run.json").write_text(json.dumps(info))
    with pytest.raises(RunError, match=rf"not fit: .*made by rlkit 0.0.9, and this is {rlkit.__version__}"):
        rlkit.load_policy(copy)
