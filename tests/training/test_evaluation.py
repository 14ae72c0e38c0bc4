from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit.seeding import Streams
from rlkit.training.evaluation import EvaluationStopped, bootstrap_interval, evaluate, iqm, protocol_of
from rlkit.types import ActorOutput, EnvSpec, Mode, Observation, RawStep, StepBatch


class Lengths:
    """N environments whose episodes last as long as their seeds say; the reward of a step is the action."""

    def __init__(self, num_envs: int) -> None:
        import gymnasium as gym

        self.spec = EnvSpec(gym.spaces.Box(-1, 1, (1,)), 5, num_envs)
        self.left = np.zeros(num_envs, dtype=np.int64)
        self.seeds: list[list[int]] = [[] for _ in range(num_envs)]

    def reset(self, mask: np.ndarray, seeds: np.ndarray) -> Observation:
        for env in np.flatnonzero(mask):
            self.left[env] = 1 + seeds[env] % 9
            self.seeds[env].append(int(seeds[env]))
        return Observation(np.zeros((len(mask), 1), np.float32), {}, mask)

    def send(self, action: np.ndarray) -> None:
        self.action = action

    def receive(self) -> RawStep:
        self.left -= 1
        num_envs = len(self.left)
        after = Observation(np.zeros((num_envs, 1), np.float32), {}, np.zeros(num_envs, bool))
        ended = self.left == 0
        return RawStep(
            after, self.action.astype(np.float32), np.ones(num_envs, np.float32), ended, np.zeros_like(ended)
        )

    def close(self) -> None:
        pass


class Constant:
    mode = Mode.EVALUATE

    def initial_state(self, num_envs: int) -> dict:
        return {}

    def act(self, observation: Observation, state: dict, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        assert mode is self.mode
        return ActorOutput(np.full(len(observation.first), 3), state, {})

    def load_policy_state(self, state: dict) -> None:
        pass


def test_a_policy_that_samples_is_told_so() -> None:
    policy = Constant()
    policy.mode = Mode.SAMPLE
    for epsilon in (0.0, 0.5):
        evaluate(policy, Lengths(2), Streams(2), 4, epsilon, mode=Mode.SAMPLE)
    assert protocol_of({}, 4, 0.0, Mode.SAMPLE, "final")["actions"] == "sampled from the policy"
    assert "actions" not in protocol_of({}, 4, 0.0, Mode.EVALUATE, "final")


@pytest.mark.parametrize(("num_envs", "episodes"), [(1, 7), (3, 7), (4, 8), (5, 3)])
def test_the_first_episodes_of_each_environment_count(num_envs: int, episodes: int) -> None:
    environments = Lengths(num_envs)
    scores = evaluate(Constant(), environments, Streams(2), episodes, epsilon=0.0)
    quota = [episodes // num_envs + (env < episodes % num_envs) for env in range(num_envs)]
    expected = [1 + seed % 9 for seeds, due in zip(environments.seeds, quota, strict=True) for seed in seeds[:due]]
    assert scores.lengths.tolist() == expected
    assert scores.returns.tolist() == [3 * length for length in expected]
    assert all(seed >= 0 for seeds in environments.seeds for seed in seeds)


def test_seeds_depend_on_environment_and_episode_alone() -> None:
    few, many = Lengths(2), Lengths(2)
    evaluate(Constant(), few, Streams(2), 4, epsilon=0.0)
    evaluate(Constant(), many, Streams(2), 40, epsilon=0.0)
    for short, long in zip(few.seeds, many.seeds, strict=True):
        assert long[: len(short)] == short
    assert len({seed for seeds in many.seeds for seed in seeds}) == sum(map(len, many.seeds))


def test_epsilon_is_a_share_of_uniform_actions() -> None:
    scores = evaluate(Constant(), Lengths(4), Streams(2), 2000, epsilon=0.5)
    assert scores.returns.sum() / scores.lengths.sum() == pytest.approx(0.5 * 3 + 0.5 * 2, abs=0.05)
    again = evaluate(Constant(), Lengths(4), Streams(2), 2000, epsilon=0.5)
    assert (again.returns == scores.returns).all()


def test_policies_see_the_last_action_and_reward() -> None:
    """The actions that were taken, also the random ones; not before the first step."""
    seen: list[Observation] = []
    steps: list[StepBatch] = []

    class Looking(Constant):
        def act(self, observation: Observation, state: Any, rng: Any, mode: Mode) -> ActorOutput:
            seen.append(observation)
            return super().act(observation, state, rng, mode)

    evaluate(Looking(), Lengths(3), Streams(2), 20, epsilon=0.5, on_step=steps.append)
    assert (seen[0].last_action, seen[0].last_reward) == (None, None)
    assert len({action for step in steps for action in step.action.tolist()}) > 1
    for observation, before in zip(seen[1:], steps, strict=False):
        np.testing.assert_array_equal(observation.last_action, before.action)
        np.testing.assert_array_equal(observation.last_reward, before.reward)
        np.testing.assert_array_equal(before.after.last_action, before.action)


def test_an_evaluation_can_be_stopped_at_any_step() -> None:
    environments, asked = Lengths(1), []
    with pytest.raises(EvaluationStopped):
        evaluate(Constant(), environments, Streams(2), 100, 0.0, stopped=lambda: asked.append(0) or len(asked) == 3)
    assert len(asked) == 3


def test_different_episodes_are_counted() -> None:
    """Here an episode is its length."""
    scores = evaluate(Constant(), Lengths(3), Streams(2), 40, epsilon=0.0)
    assert scores.distinct == len(set(scores.lengths)) > 1
    assert not scores.repeated
    again = Lengths(3)
    reset = again.reset
    again.reset = lambda mask, seeds: reset(mask, np.full_like(seeds, 4))  # type: ignore[method-assign]
    assert evaluate(Constant(), again, Streams(2), 40, epsilon=0.0).repeated
    assert not evaluate(Constant(), Lengths(1), Streams(2), 1, epsilon=0.0).repeated


def test_the_interquartile_mean_by_hand() -> None:
    assert iqm(np.array([100.0, 1, 2, 3, 4, 5, 6, -50])) == 3.5
    assert iqm(np.array([7.0])) == 7
    assert iqm(np.array([1.0, 2, 30])) == 11


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_the_interval_is_the_same_at_every_call_and_holds_the_values(values: list[float]) -> None:
    array = np.array(values)
    low, high = bootstrap_interval(array, resamples=200)
    assert (low, high) == bootstrap_interval(array, resamples=200)
    assert array.min() - 1e-9 <= low <= high <= array.max() + 1e-9


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.normal(size=40), np.mean, resamples=300)
        hits += low <= 0 <= high
    assert 0.88 <= hits / 200 <= 0.99
