"""The comparisons with Stable-Baselines3: both libraries do the same work, on tiny budgets."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

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
