"""Random network distillation: errors, their unit, and what is refused."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agents.dqn import plugin as dqn
from agents.ppo import plugin as ppo
from envs.gymnasium import plugin as gymnasium
from rlkit.config.load import resolve
from rlkit.errors import ConfigError, SpecError
from rlkit.exploration.moments import RunningMoments
from rlkit.exploration.rnd import RNDBonus, RNDConfig
from rlkit.seeding import Streams
from rlkit.testing import check_agent
from rlkit.testing.states import difference
from rlkit.types import EnvSpec, Observation, StepBatch, Window

CARTPOLE = gymnasium.config(name="gymnasium", id="CartPole-v1")
TABLE = {"type": "rnd", "batch_size": 16, "share": 0.5, "hidden": (8,)}
SPEC = EnvSpec(gym.spaces.Box(-1.0, 1.0, (3,), np.float32), 2, 4)


def bonus(**changes: Any) -> RNDBonus:
    return RNDConfig(**(TABLE | changes)).build(SPEC, Streams(0), None, 0)


def step(after: NDArray[np.float32]) -> StepBatch:
    size, none = len(after), np.zeros(len(after), np.bool_)
    seen = Observation(after, {}, none)
    ones = np.ones(size, np.float32)
    return StepBatch(seen, np.zeros(size, np.int64), ones, ones, none, none, seen, {})


def rows(rng: np.random.Generator, centre: float = 0.0) -> NDArray[np.float32]:
    return (centre + 0.1 * rng.standard_normal((4, 3))).astype(np.float32)


def test_conformance() -> None:
    values = {"learning_starts": 20, "replay_capacity": 120, "batch_size": 8, "n_step": 3, "network": {"hidden": (8,)}}
    check_agent(dqn, dqn.config(name="dqn", bonus=TABLE, **values), gymnasium, CARTPOLE, steps=40)
    values = {"rollout_steps": 8, "minibatches": 2, "network": {"hidden": (8,)}}
    check_agent(ppo, ppo.config(name="ppo", bonus=TABLE, **values), gymnasium, CARTPOLE, steps=40)


def test_what_was_seen_often_pays_less_than_what_was_not() -> None:
    learner, rng = bonus(learning_rate=3e-3, share=1.0), np.random.default_rng(0)
    for _ in range(300):
        learner.observe(step(rows(rng)))
        learner.learn()
    known, unknown = (learner.observe(step(rows(rng, centre)))["error"].mean() for centre in (0.0, 0.6))
    assert unknown > 10 * known


def test_an_error_is_paid_in_deviations_of_its_discounted_sums() -> None:
    learner, rng = bonus(beta=0.5, discount=0.9, batch_size=1000), np.random.default_rng(0)
    errors = np.array([learner.observe(step(rows(rng)))["error"] for _ in range(20)], np.float64)  # (T, N)
    sums = [sum(0.9**age * errors[t - age] for age in range(t + 1)) for t in range(20)]
    window = Window(
        obs=torch.zeros(4, 3),
        action=torch.zeros(4, 1, dtype=torch.int64),
        reward=torch.ones(4, 1),
        discount=torch.ones(4, 1),
        steps=torch.ones(4, dtype=torch.int64),
        next_obs=torch.zeros(4, 3),
        extras={"error": torch.as_tensor(errors[7:8].T.astype(np.float32))},
    )
    paid = learner.add(window.reward, window)[:, 0].numpy()
    np.testing.assert_allclose(paid, 1.0 + 0.5 * errors[7] / np.std(sums), rtol=1e-5)


def test_each_step_is_learned_from_once() -> None:
    learner, rng = bonus(share=1.0, batch_size=6), np.random.default_rng(0)
    seen, learned = [], []
    forward = learner.gradient.forward

    def recorded(x: torch.Tensor) -> torch.Tensor:
        learned.append(len(x))
        return forward(x)

    learner.gradient.forward = recorded  # type: ignore[method-assign]
    for number in range(1, 16):
        seen.append(len(learner.observe(step(rows(rng)))["error"]))
        learner.learn()
        assert sum(learned) == 4 * number // 6 * 6
    assert set(learned) == {6}


def test_it_goes_on_after_a_state_is_loaded() -> None:
    first, second = bonus(), bonus()
    rng = np.random.default_rng(0)
    for _ in range(7):
        first.observe(step(rows(rng)))
        first.learn()
    second.load_state_dict(first.state_dict())
    after = [rows(rng) for _ in range(9)]
    for learner in (first, second):
        for obs in after:
            learner.observe(step(obs))
            learner.learn()
    assert difference(first.state_dict(), second.state_dict()) is None


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5), min_size=1, max_size=6))
def test_moments_of_batches_are_those_of_all_rows(batches: list[list[float]]) -> None:
    moments = RunningMoments()
    for batch in batches:
        moments.update(np.array(batch))
    every = np.concatenate(batches)
    assert moments.mean == pytest.approx(every.mean(), abs=1e-6)
    if every.std() > 1e-3:
        assert float(moments.deviation) == pytest.approx(every.std(), rel=1e-6)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(SpecError, match=r'needs observations of numbers \(Box\), not Discrete\(5\).*type = "count"'):
        RNDConfig().build(EnvSpec(gym.spaces.Discrete(5), 2, 1), Streams(0), None, 0)
    with pytest.raises(ValueError, match='encoder "natur" is not known'):
        RNDConfig(encoder="natur")
    tables = {"env": {"name": "gymnasium", "id": "CartPole-v1"}, "train": {"steps": 1}}
    tables["agent"] = {"name": "dqn", "bonus": {"type": "rnd", "share": 2.0}}
    with pytest.raises(ConfigError, match=r"agent.bonus.share: .*less than or equal to 1"):
        resolve("x", tables)
