"""The comparisons with Stable-Baselines3: both libraries do the same work, on tiny budgets."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from rlkit.learning.policy_losses import ClippedSurrogate, PolicySteps

pytestmark = pytest.mark.extra
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("stable_baselines3", reason="needs the extra `benchmarks`: run `make test-extras`")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(name)


@pytest.mark.parametrize("num_envs", [1, 4])
def test_both_sides_of_the_speed_comparison_run(num_envs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each side refuses to give a pace if it made another number of updates than its share."""
    speed = script("speed", monkeypatch)
    world = replace(speed.WORLDS["cartpole"], learning_starts=100, epsilon_steps=50, warm_up=200)
    for side in (speed.rlkit, speed.sb3):
        pace = side(world, num_envs, 400, seed=0)
        assert 1 < pace.clock < 1e6
        assert 1 < pace.cpu < 1e6


def test_both_sides_of_the_speed_comparison_of_ppo_run(monkeypatch: pytest.MonkeyPatch) -> None:
    speed = script("speed_ppo", monkeypatch)
    for side in speed.libraries().values():
        assert 1 < side("cartpole", 2, 256, seed=0).clock < 1e6


@pytest.mark.parametrize(
    ("agent", "env_steps", "updates", "curve"),
    [("dqn", 400, (400 - 100) // 4, [200, 400]), ("ppo", 512, 2 * 4 * 4, [208, 400])],  # PPO: two whole rollouts
)
def test_a_run_of_minatar_leaves_a_result(
    agent: str, env_steps: int, updates: int, curve: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    minatar = script("sb3_minatar", monkeypatch)
    steps = {"dqn": 400, "ppo": 400}
    for name, value in {"ENV_STEPS": steps, "CURVE_EVERY": 200, "EVAL_EPISODES": 2, "MAX_EPISODE_STEPS": 50}.items():
        monkeypatch.setattr(minatar, name, value)
    for key, value in {"learning_starts": 100, "buffer_size": 1_000, "epsilon_env_steps": 200}.items():
        monkeypatch.setitem(minatar.DQN_SETTINGS, key, value)
    for key, value in {"n_steps": 16, "batch_size": 64}.items():
        monkeypatch.setitem(minatar.PPO_SETTINGS, key, value)
    monkeypatch.setattr(minatar, "MINIBATCHES", 4)
    result = minatar.run(agent, "breakout", seed=0)
    assert result["env_steps"] == env_steps
    assert result["updates"] == updates
    assert [point["env_steps"] for point in result["curve"]] == curve
    assert len(result["final"]["returns"]) == 2


def test_the_gradient_of_ppo_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one minibatch whose policy has moved, so that some ratios are clipped."""
    minatar = script("sb3_minatar", monkeypatch)
    minatar.register_envs()
    monkeypatch.setitem(minatar.PPO_SETTINGS, "n_steps", 32)
    agent = minatar.make_ppo("breakout", seed=0)
    agent.learn(2 * 32 * 16)
    batch: Any = next(iter(agent.rollout_buffer.get(256)))
    action = batch.actions.long().flatten()
    advantage = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
    values, log_probability, entropy = agent.policy.evaluate_actions(batch.observations, action)
    old = batch.old_log_prob + 0.3 * torch.randn(len(action), generator=torch.Generator().manual_seed(0))
    ratio = (log_probability - old).exp()
    clip, settings = agent.clip_range(1.0), minatar.PPO_SETTINGS
    loss = -torch.min(advantage * ratio, advantage * ratio.clamp(1 - clip, 1 + clip)).mean()
    loss = loss - settings["ent_coef"] * entropy.mean()
    loss = loss + settings["vf_coef"] * torch.nn.functional.mse_loss(batch.returns, values.flatten())
    features = agent.policy.extract_features(batch.observations)
    output = torch.cat([agent.policy.action_net(features), agent.policy.value_net(features)], 1)
    steps = PolicySteps(action, old, advantage, batch.returns[:, None], batch.old_values[:, None])
    grad = ClippedSurrogate(clip=clip, entropy=0.01, value=0.5)(output.detach(), steps).grad
    parameters = list(agent.policy.parameters())
    theirs = torch.autograd.grad(loss, parameters)
    ours = torch.autograd.grad(output, parameters, grad)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
