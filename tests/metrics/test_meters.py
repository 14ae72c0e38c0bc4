from typing import Any

import numpy as np
import pytest
import torch

from rlkit.errors import RlkitError
from rlkit.metrics.meters import EpisodeMeter, Meters, summarise
from rlkit.types import Histogram, Observation, StepBatch


def test_meters_give_means_since_the_last_take() -> None:
    meters = Meters()
    meters.add({"loss": torch.tensor(1.0), "plain": 3.0, "h": Histogram(np.arange(3))})
    meters.add({"loss": torch.tensor(2.0)})
    meters.add({"loss": torch.tensor(6.0), "plain": 4.0})
    row = meters.take()
    assert (row["loss"], row["plain"]) == (3.0, 3.5)
    assert isinstance(row["h"], Histogram)
    assert meters.take() == {}


def test_half_filled_meters_survive_a_checkpoint() -> None:
    meters, other = Meters(), Meters()
    meters.add({"loss": torch.tensor(1.0), "plain": 3.0})
    other.load_state_dict(meters.state_dict(), torch.device("cpu"))
    for each in (meters, other):
        each.add({"loss": torch.tensor(0.1), "plain": 0.2})
    assert meters.take() == other.take()


def test_training_in_few_numbers() -> None:
    """Two parts, (0, 200] and (200, 400]; evaluations and times are no part of it."""
    rows: list[dict[str, float]] = [
        {"env_steps": 100, "loss/td": 1.0, "time/hours": 7.0},
        {"env_steps": 200, "loss/td": 2.0, "episode/return": 5.0},
        {"env_steps": 200, "evaluation/return_mean": 9.0},
        {"env_steps": 201, "loss/td": 1 / 3},
        {"env_steps": 400, "loss/td": 0.5, "final/return_mean": 9.0},
    ]
    expected = {"env_steps": [200.0, 400.0], "episode/return": [5.0, None], "loss/td": [1.5, 0.41667]}
    assert summarise(rows, parts=2) == expected
    assert summarise([]) == {}


def step(
    reward: list[float], terminated: list[bool], truncated: list[bool], success: list[bool] | None = None
) -> StepBatch:
    num_envs = len(reward)
    signals = {} if success is None else {"success": np.array(success)}
    observation = Observation(np.zeros((num_envs, 1)), signals, np.zeros(num_envs, bool))
    return StepBatch(
        observation,
        np.zeros(num_envs, np.int64),
        np.array(reward, np.float32),
        np.ones(num_envs, np.float32),
        np.array(terminated),
        np.array(truncated),
        observation,
        {},
    )


def test_episode_returns_are_raw_sums_per_environment() -> None:
    meter = EpisodeMeter(2)
    assert meter.add(step([1, 10], [False, False], [False, False])) == []
    assert meter.add(step([2, -20], [True, False], [False, False])) == [{"episode/return": 3, "episode/length": 2}]
    other = EpisodeMeter(2)
    other.load_state_dict(meter.state_dict())
    for each in (meter, other):
        rows = each.add(step([5, 30], [False, False], [True, True]))
        assert rows == [{"episode/return": 5, "episode/length": 1}, {"episode/return": 20, "episode/length": 3}]
        assert each.episodes == 3
        assert each.recent == [3, 5, 20]


def test_forgotten_episodes_begin_anew() -> None:
    meter = EpisodeMeter(2)
    meter.add(step([1, 10], [False, False], [False, False]))
    meter.forget()
    rows = meter.add(step([5, 30], [True, True], [False, False]))
    assert rows == [{"episode/return": 5, "episode/length": 1}, {"episode/return": 30, "episode/length": 1}]


def test_episodes_say_whether_they_succeeded_where_the_environment_does() -> None:
    meter = EpisodeMeter(3)
    rows = meter.add(step([1, 2, 3], [True, False, True], [False, False, False], [True, True, False]))
    assert [row["episode/success"] for row in rows] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("value", "what"), [(np.zeros(3), r"of shape \(3,\)"), (torch.zeros(1), "of shape"), ([1], "list")]
)
def test_a_metric_that_is_no_number_is_named(value: Any, what: str) -> None:
    with pytest.raises(RlkitError, match=rf"the metric 'loss/each' is {what}.*; expected one number"):
        Meters().add({"loss/each": value})
