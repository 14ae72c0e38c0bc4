"""Policies as ONNX: what onnxruntime computes is what the policy does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rlkit
from helpers.command import call
from helpers.masked_world import MASKED
from rlkit.errors import ConfigError, RlkitError
from rlkit.runs import export as exporting
from rlkit.runs.export import export

CASES: dict[str, dict[str, Any]] = {
    "dqn": {"agent.name": "dqn", "agent.learning_starts": 500, "train.steps": 520,
            "agent.network.normalisation": "weight", "agent.network.dueling": True},
    "ppo": {"agent.name": "ppo", "agent.rollout_steps": 100, "agent.network.input": "standardise"},
    "pixels": {"agent.name": "pqn", "agent.rollout_steps": 20, "env.id": "MinAtar/Breakout-v1",
               "env.register": ["minatar.gym:register_envs"], "train.steps": 40, "env.max_episode_steps": 100},
    "table": {"agent.name": "dqn", "env.id": "FrozenLake-v1", "agent.learning_starts": 100},
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["dqn", "ppo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pixels", "table"))]
)
def test_a_policy_is_exported_with_its_preprocessing(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`: run `make install`")
    monkeypatch.setattr(exporting, "CHECKED", 200)
    values = {"train.sinks": [], "evaluation.every": 0, "evaluation.final_episodes": 1, **CASES[name]}
    run = rlkit.train("small.toml", values, run="run")
    file = place / "policy.onnx"
    done = export(run.path, file)
    assert done.observations == 200
    assert done.difference < 1e-3
    session = runtime.InferenceSession(file.read_bytes())
    policy = rlkit.load_policy(run.path)
    rng = np.random.default_rng(0)
    for _ in range(20):  # other observations than those of the check, in batches of another size
        space = policy.spec.observation_space
        space.seed(int(rng.integers(1000)))
        obs = np.stack([np.asarray(space.sample()) for _ in range(3)])
        obs = np.clip(obs, -5, 5) if obs.dtype.kind == "f" else obs
        action, _ = session.run(None, {"observation": obs})
        assert action.tolist() == [policy(each) for each in obs]
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["config"])["agent"]["name"] == CASES[name]["agent.name"]


@pytest.mark.slow
def test_a_controller_with_a_head_for_each_goal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra `onnx`: run `make install`")
    monkeypatch.setattr(exporting, "CHECKED", 50)  # a batch of another size than the example's
    done = export(Path(__file__).parents[2] / "pretrained" / "doorkey-hdqn", tmp_path / "policy.onnx")
    assert done.observations == 50
    assert list(done.inputs) == ["observation", "goal"]


REMEMBERING = {
    "dqn": {"agent.name": "dqn", "agent.learning_starts": 150, "train.steps": 160,
            "agent.network.memory": {"type": "gru", "size": 8, "last_action": True, "last_reward": True}},
    "ppo": {"agent.name": "ppo", "agent.rollout_steps": 50, "agent.separate_networks": True,
            "agent.network.memory": {"type": "lstm", "size": 8}},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dqn", "ppo"])
def test_a_memory_is_an_input_and_an_output(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An episode played with onnxruntime alone, which remembers by itself, against the policy."""
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`: run `make install`")
    monkeypatch.setattr(exporting, "CHECKED", 100)
    values = {"train.sinks": [], "evaluation.every": 0, "evaluation.final_episodes": 1, **REMEMBERING[name]}
    run = rlkit.train("small.toml", values, run="run")
    done = export(run.path, place / "policy.onnx")
    assert list(done.outputs)[2:] == ["next_memory"]
    session = runtime.InferenceSession((place / "policy.onnx").read_bytes())
    policy, rng = rlkit.load_policy(run.path), np.random.default_rng(0)
    memory = np.zeros((1, session.get_inputs()[1].shape[1]), np.float32)
    last = {"last_action": np.array([-1]), "last_reward": np.zeros(1, np.float32)}
    told = {name: last[name] for name in done.inputs if name in last}
    reward = None
    for _ in range(30):
        obs = rng.normal(0, 1, 4).astype(np.float32)
        action, _, memory = session.run(None, {"observation": obs[None], "memory": memory, **told})
        assert action.tolist() == [policy(obs, reward=reward)]
        assert np.allclose(memory, policy._state["memory"], atol=1e-5)  # noqa: SLF001
        reward = float(rng.normal(0, 2))
        told = {key: {"last_action": action, "last_reward": np.array([reward], np.float32)}[key] for key in told}
    assert np.abs(memory).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dqn", "hdqn"])
def test_a_mask_is_an_input(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`: run `make install`")
    monkeypatch.setattr(exporting, "CHECKED", 60)
    goals = {"goals": {"name": "helpers.hdqn_worlds:Sides"}} if name == "hdqn" else {"learning_starts": 150}
    values = {"env": MASKED, "agent": {"name": name, **goals}, "train.sinks": [], "evaluation.final_episodes": 1}
    run = rlkit.train("small.toml", {**values, "train.steps": 100}, run="run")
    done = export(run.path, place / "policy.onnx")
    assert list(done.inputs)[-1] == "action_mask"
    session = runtime.InferenceSession((place / "policy.onnx").read_bytes())
    goal = {"goal": np.zeros(4, np.int64)} if name == "hdqn" else {}
    obs = np.zeros((4, 2), np.float32)
    action, scores = session.run(None, {"observation": obs, "action_mask": np.eye(4, dtype=np.bool_), **goal})
    assert action.tolist() == [0, 1, 2, 3]
    assert (np.isfinite(scores) == np.eye(4, dtype=np.bool_)).all()


def test_a_wrong_file_is_refused(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters change between writing and checking."""
    pytest.importorskip("onnxruntime", reason="needs the extra `onnx`: run `make install`")
    monkeypatch.setattr(exporting, "CHECKED", 50)
    model = exporting._model  # noqa: SLF001

    def spoiled(loaded: Any, exported: Any, inputs: Any) -> bytes:
        content = model(loaded, exported, inputs)
        with torch.no_grad():
            next(exported.module.parameters()).add_(1.0)
        return content

    monkeypatch.setattr(exporting, "_model", spoiled)
    with pytest.raises(RlkitError, match="onnxruntime disagrees with the policy"):
        export(small_run, tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_what_cannot_be_exported(place: Path, small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra `onnx`: run `make install`")
    run = rlkit.train("small.toml", {"train.sinks": []}, run="run")
    with pytest.raises(ConfigError, match='agent "random" has no policy that can be exported: it lacks the method'):
        export(run.path, place / "x.onnx")
    counting = {"beta": 0.1, "episodic": "first", "count_of": "successor", "observe_counts": {"capacity": 9}}
    values = {"agent": {"name": "dqn", "learning_starts": 150, "bonus": counting}, "train.sinks": [],
              "env.id": "FrozenLake-v1"}  # fmt: skip
    run = rlkit.train("small.toml", values, run="seen")
    with pytest.raises(ConfigError, match=r"counts the states of each episode .bonus.observe_counts., which an ONNX"):
        export(run.path, place / "x.onnx")
    done = call("export", small_run, "--out", "x.pt")
    assert (done.exit_code, done.output) == (2, "Error: x.pt: the file must end in .onnx\n")
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = call("export", small_run)
    assert done.exit_code == 2
    assert done.output == (
        "Error: rlkit export needs onnx, which is not installed: pip install -c constraints.txt -e '.[onnx]'\n"
    )
