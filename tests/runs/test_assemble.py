"""What a config says is what is put together from it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.gymnasium import GymnasiumPlugin
from rlkit.config.load import resolve
from rlkit.errors import ConfigError, SpecError
from rlkit.runs.api import run_info
from rlkit.runs.assemble import Session, assemble
from rlkit.runs.directory import RunDirectory
from rlkit.runs.evaluator import evaluation_mode
from rlkit.types import ActorOutput, Mode, Observation, Purpose, StepBatch


def assembled(path: Path, evaluation: Mapping[str, Any]) -> Session:
    tables = {
        "env": {"name": "gymnasium", "id": "CartPole-v1"},
        "agent": {"name": "dqn"},
        "train": {"steps": 100, "sinks": []},
        "evaluation": evaluation,
    }
    config = resolve("test", tables)

    def create(device: torch.device) -> RunDirectory:
        return RunDirectory.create(path / "run", config, run_info(config, device))

    return assemble(config, create)


class Right:
    """Always pushes to the right."""

    def initial_state(self, num_envs: int) -> dict[str, Any]:
        return {}

    def act(self, observation: Observation, state: Any, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        assert mode is Mode.EVALUATE
        return ActorOutput(np.ones(len(observation.first), np.int64), {}, {})

    def load_policy_state(self, state: Any) -> None:
        """There is nothing to load."""


@pytest.mark.parametrize(("epsilon", "right"), [(0.0, 1.0), (0.4, 0.8), (1.0, 0.5)])
def test_evaluation_epsilon_acts(epsilon: float, right: float, tmp_path: Path) -> None:
    """On the policy that a run's evaluator is given, and on the agent that its trainer evaluates."""
    session = assembled(tmp_path, {"epsilon": epsilon, "num_envs": 4})
    taken: list[np.ndarray] = []

    def collect(step: StepBatch) -> None:
        taken.append(step.action)

    try:
        session.evaluator(Right(), 80, collect)
        assert np.concatenate(taken).mean() == pytest.approx(right, abs=0.05)
        lengths = session.trainer.evaluate(80).lengths
        # the agent has learned nothing: nearly always the same action, with which the pole falls after 9 or 10 steps
        assert (lengths.mean() > 15) == (epsilon == 1.0)
    finally:
        session.close()


def test_evaluations_may_have_other_environments(tmp_path: Path) -> None:
    session = assembled(tmp_path, {"env": {"max_episode_steps": 3}})
    assert session.evaluator(Right(), 4).lengths.tolist() == [3] * 4
    assert session.evaluator.protocol(4, "final")["time limit"] == "3 steps"
    session.close()
    with pytest.raises(ConfigError, match=r"evaluation\.env\.max_episode_steps: .*greater"):
        assembled(tmp_path, {"env": {"max_episode_steps": 0}})
    other = assembled(tmp_path / "other", {"env": {"id": "Acrobot-v1"}})
    with pytest.raises(SpecError, match=r"evaluation\.env: its observation_space is"):
        other.evaluator(Right(), 1)
    other.close()


def test_environments_are_told_what_they_are_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Atari's lost lives end a training episode, and never one that is scored."""
    make, made = GymnasiumPlugin.make, []

    def recorded(plugin: GymnasiumPlugin, config: Any, num_envs: int, purpose: Purpose) -> Any:
        made.append((num_envs, purpose))
        return make(plugin, config, num_envs, purpose)

    monkeypatch.setattr(GymnasiumPlugin, "make", recorded)
    session = assembled(tmp_path, {"num_envs": 3})
    session.trainer.evaluate(1)
    session.close()
    assert made == [(1, Purpose.TRAIN), (3, Purpose.EVALUATE)]


def test_a_greedy_agent_cannot_be_sampled(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'evaluation.sample: agent "dqn" always takes the best action'):
        assembled(tmp_path, {"sample": True})


@pytest.mark.parametrize("name", ["dqn", "pqn"])
def test_a_soft_agent_can_be_sampled(name: str) -> None:
    tables = {"env": {"name": "gymnasium", "id": "CartPole-v1"}, "train": {"steps": 100}}
    for softmax, mode in (({}, Mode.SAMPLE), (False, None)):
        config = resolve(
            "test", {**tables, "agent": {"name": name, "softmax": softmax}, "evaluation": {"sample": True}}
        )
        with nullcontext() if mode else pytest.raises(ConfigError, match=f'agent "{name}" always takes the best'):
            assert evaluation_mode(config) is mode


def test_workers_of_evaluations_are_forked_before_the_agent_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent starts the threads of CUDA, after which a fork is not safe."""
    began: list[int] = []
    make = assemble.__globals__["make_agent"]

    def counting(*arguments: Any) -> Any:
        began.append(len(multiprocessing.active_children()))
        return make(*arguments)

    monkeypatch.setitem(assemble.__globals__, "make_agent", counting)
    session = assembled(tmp_path, {"num_envs": 2, "env": {"mode": "async"}})
    assert began == [2]
    assert session.evaluator(Right(), 2).returns.shape == (2,)
    session.close()
    assert multiprocessing.active_children() == []
    with pytest.raises(SpecError):
        assembled(tmp_path / "other", {"env": {"mode": "async", "id": "Acrobot-v1"}})
    assert multiprocessing.active_children() == []
