"""Learning on an accelerator: the way frames take to it, tried out on the CPU, and, where there is one, its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import rlkit
from rlkit import memory
from rlkit.config.load import resolve
from rlkit.learning.gradient import GradientSettings, Precision
from rlkit.learning.optimizers import OptimizerConfig
from rlkit.learning.q_learner import LearnerSettings, QLearner
from rlkit.learning.q_losses import QLoss
from rlkit.learning.returns import n_step_return
from rlkit.learning.target import TargetConfig
from rlkit.learning.value_loss import Transitions
from rlkit.nn.qnetwork import NetworkConfig, build_q_network
from rlkit.replay import Prioritised, Replay
from rlkit.seeding import torch_seeded
from rlkit.testing.states import state_hash
from rlkit.types import EnvSpec, Observation, Stack, StepBatch

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")

STACKED = {
    "name": "gymnasium",
    "id": "MiniGrid-Dynamic-Obstacles-6x6-v0",
    "register": ["minigrid"],
    "max_episode_steps": 20,
    "wrappers": [
        "minigrid.wrappers:ImgObsWrapper",
        {"path": "gymnasium.wrappers:FrameStackObservation", "kwargs": {"stack_size": 3, "padding_type": "zero"}},
    ],
}


def train(folder: Path, **changes: Any) -> Path:
    agent = {"name": "dqn", "learning_starts": 30, "replay_capacity": 120, "batch_size": 8, "epsilon": {"steps": 50}}
    train = {"steps": 300, "num_envs": 3, "device": "cpu", "sinks": [], **changes}
    evaluation = {"final_episodes": 1}
    tables = {"env": STACKED, "agent": agent, "train": train, "evaluation": evaluation}
    return rlkit.train(resolve("test", tables), run=folder).path


def final(run: Path) -> str:
    return state_hash(rlkit.load_policy(run, overrides={"train.device": "cpu"}).policy.state_dict())  # type: ignore[attr-defined]


def test_acting_on_the_replays_frames_is_acting_on_the_observation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away from the CPU only the newest frame is moved, for replay and policy together; here so on the CPU."""
    plain = final(train(tmp_path / "plain"))
    asked = []

    def counting(replay: Replay, newest: Any = Replay.newest) -> torch.Tensor:
        asked.append(replay)
        return newest(replay)

    monkeypatch.setattr(Replay, "keeps_newest", True)
    monkeypatch.setattr(Replay, "newest", counting)
    assert final(train(tmp_path / "from the replay")) == plain
    assert len(asked) > 50


def learner(precision: Precision, device: str) -> QLearner:
    config = NetworkConfig(encoder="nature", hidden=(64,))
    with torch_seeded(1):
        network = build_q_network(config, gym.spaces.Box(0, 255, (4, 84, 84), np.uint8), 4).to(device)
    rmsprop = OptimizerConfig(type="rmsprop", centered=True, eps=3e-3)
    gradient = GradientSettings(2.5e-4, rmsprop, max_grad_norm=10.0, precision=precision)
    return QLearner(network, LearnerSettings(gradient, TargetConfig(every=2), QLoss("huber", double=True)))


@needs_gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 3e-2)])
def test_the_gpu_makes_the_cpus_updates(precision: Precision, tolerance: float) -> None:
    torch.backends.cudnn.allow_tf32 = False
    generator = torch.Generator().manual_seed(0)
    on_cpu, on_gpu = learner("float32", "cpu"), learner(precision, "cuda")
    for _ in range(5):
        images = torch.randint(0, 256, (2, 32, 4, 84, 84), dtype=torch.uint8, generator=generator)
        action = torch.randint(0, 4, (32,), generator=generator)
        reward = torch.rand(32, generator=generator)
        rest = [action, reward, torch.full((32,), 0.99)]
        errors = []
        for side, device in ((on_cpu, "cpu"), (on_gpu, "cuda")):
            moved = [part.to(device) for part in rest]
            obs, next_obs = (images[half].to(device) for half in (0, 1))
            errors.append(side.update(Transitions((obs,), *moved, (next_obs,), torch.ones(32, device=device))).priority)
        torch.testing.assert_close(errors[1].cpu(), errors[0], atol=tolerance, rtol=tolerance)


@needs_gpu
def test_a_run_with_frames_on_the_gpu_and_one_with_frames_on_the_host_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = final(train(tmp_path / "there", device="cuda"))
    monkeypatch.setattr(memory, "RESERVED", 2**60)
    with pytest.warns(UserWarning, match="frames stay on the host"):
        assert final(train(tmp_path / "staged", device="cuda")) == there


@needs_gpu
def test_nothing_waits_for_the_gpu_but_acting_and_logging() -> None:
    """Storing, sampling, an update and its priorities: torch raises where one of them would wait."""
    space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    spec = EnvSpec(space, 4, 2, stack=Stack(0, 4, "zero"))
    replay = Replay(400, spec, device=torch.device("cuda"), rng=np.random.default_rng(0), prioritised=Prioritised())
    side, rng = learner("float32", "cuda"), np.random.default_rng(1)
    nothing, ones = np.zeros(2, np.bool_), np.ones(2, np.float32)

    def once(number: int) -> None:
        seen = Observation(rng.integers(0, 256, (2, *space.shape), dtype=np.uint8), {}, nothing | (number % 9 == 0))
        after = Observation(rng.integers(0, 256, (2, *space.shape), dtype=np.uint8), {}, nothing)
        ends = nothing | (number % 9 == 8)
        replay.add(StepBatch(seen, np.zeros(2, np.int64), ones, ones, nothing, ends, after, {}))
        replay.newest()
        batch = replay.sample(32, 0.4)
        window = batch.window
        total, discount = n_step_return(window.reward, window.discount, window.steps, 0.99)
        action = window.action[:, 0]
        steps = Transitions((window.obs,), action, total, discount, (window.next_obs,), batch.weight)
        replay.update_priorities(batch.index, side.update(steps).priority)

    once(0)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(1, 30):
            once(number)
    finally:
        torch.cuda.set_sync_debug_mode("default")
