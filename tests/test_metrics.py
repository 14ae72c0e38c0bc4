import numpy as np
import torch

from rlkit.metrics import EpisodeMeter, Meters
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


def step(reward: list[float], terminated: list[bool], truncated: list[bool]) -> StepBatch:
    num_envs = len(reward)
    observation = Observation(np.zeros((num_envs, 1)), {}, np.zeros(num_envs, bool))
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
