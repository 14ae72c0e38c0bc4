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


def test_a_wrong_file_is_refused(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters change between writing and checking."""
    pytest.importorskip("onnxruntime", reason="needs the extra `onnx`: run `make install`")
    monkeypatch.setattr(exporting, "CHECKED", 50)
    model = exporting._model  # noqa: SLF001

    def spoiled(loaded: Any, exported: Any, samples: Any) -> bytes:
        content = model(loaded, exported, samples)
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
    with pytest.raises(ConfigError, match='agent "random" with these settings has no policy that can be exported'):
        export(run.path, place / "x.onnx")
    done = call("export", small_run, "--out", "x.pt")
    assert (done.exit_code, done.output) == (2, "Error: x.pt: the file must end in .onnx\n")
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = call("export", small_run)
    assert done.exit_code == 2
    assert done.output == (
        "Error: rlkit export needs onnx, which is not installed: pip install -c constraints.txt -e '.[onnx]'\n"
    )
