"""The store of options against a list that keeps everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from rlkit.errors import CapacityError, ConfigError, RlkitError
from rlkit.replay import Column, OptionStore, option_bytes
from rlkit.testing.states import difference, snapshot
from rlkit.types import EnvSpec, Stack

CPU = torch.device("cpu")
STACKED = Box(0, 255, (2, 3), np.uint8)
ALLOWED = {"allowed": Column((3,), np.bool_, host=True)}


def spec(num_envs: int, space: Any = STACKED) -> EnvSpec:
    stack = Stack(0, 2, "zero") if space is STACKED else None
    return EnvSpec(space, 4, num_envs, stack=stack)


def store(num_envs: int, capacity: int, space: Any = STACKED) -> OptionStore:
    return OptionStore(capacity, spec(num_envs, space), extras=ALLOWED, device=CPU, rng=np.random.default_rng(3))


class Play:
    """Options of random lengths in random episodes, and what a store must hold of them: all, in a list."""

    def __init__(self, num_envs: int, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self.rng = np.random.default_rng(seed)
        self.num_envs = num_envs
        self.at: list[Any] = [None] * num_envs  # the observation at which an option began
        self.options: list[tuple[Any, ...]] = []  # (row it began in, obs, choice, reward, discount, next_obs, allowed)
        self.row = [0] * num_envs
        self.rows = 0

    def obs(self, count: int) -> np.ndarray:
        return self.rng.integers(0, 256, (count, 2, 3)).astype(np.uint8)

    def step(self, kept: OptionStore) -> None:
        begins = np.flatnonzero([at is None for at in self.at])
        assert kept.unplaced.nonzero()[0].tolist() == begins.tolist()
        if len(begins):
            obs = self.obs(len(begins))
            kept.begin(begins, obs)
            for env, seen in zip(begins, obs, strict=True):
                self.at[env], self.row[env] = seen, self.rows
                self.rows += 1
        over = np.flatnonzero(self.rng.random(self.num_envs) < 0.4)
        if not len(over):
            return
        ended, obs = self.rng.random(len(over)) < 0.3, self.obs(len(over))
        columns = {
            "choice": self.rng.integers(0, 3, len(over)),
            "reward": self.rng.random(len(over)),
            "discount": self.rng.random(len(over)),
            "allowed": self.rng.random((len(over), 3)) < 0.5,
        }
        kept.add(over, obs, columns, ended)
        for place, env in enumerate(over):
            row = [columns[name][place] for name in ("choice", "reward", "discount")]
            if self.row[env] >= self.rows + len(over) - self.capacity:  # else its beginning is overwritten by now
                self.options.append((self.row[env], self.at[env], *row, obs[place], columns["allowed"][place]))
            self.at[env], self.row[env] = (None if ended[place] else obs[place]), self.rows + place
        self.rows += len(over)


def held(kept: OptionStore) -> list[tuple[Any, ...]]:
    """All options that can be drawn, in the order of the rows in which they began."""
    window = kept.window(kept.sampleable())
    columns = (window.obs, window.action[:, 0], window.reward[:, 0], window.discount[:, 0], window.next_obs)
    return list(zip(*(column.numpy() for column in columns), window.extras["allowed"][:, 0], strict=True))


@pytest.mark.parametrize("num_envs", [1, 5])
@pytest.mark.parametrize("capacity", [23, 1000])
def test_it_holds_the_newest_options_whole(num_envs: int, capacity: int) -> None:
    kept, play = store(num_envs, capacity), Play(num_envs, capacity, seed=0)
    for number in range(150):
        play.step(kept)
        if number % 10 == 0:
            expected = sorted(
                (option for option in play.options if option[0] >= play.rows - capacity), key=lambda option: option[0]
            )
            found = held(kept)
            assert len(found) == len(expected) == len(kept)
            for one, (_, *other) in zip(found, expected, strict=True):
                for a, b in zip(one, other, strict=True):
                    np.testing.assert_array_equal(a, np.asarray(b, np.asarray(a).dtype))
    assert kept.total == len(play.options)
    assert kept.fill == min(1.0, play.rows / capacity)


def test_each_observation_takes_one_row() -> None:
    """An episode of k options takes k + 1 rows, whatever the stack."""
    kept = store(1, 100)
    kept.begin(np.array([0]), np.zeros((1, 2, 3), np.uint8))
    for number in range(1, 6):
        columns = {"choice": np.zeros(1, int), "reward": np.zeros(1), "discount": np.ones(1)}
        columns["allowed"] = np.ones((1, 3), np.bool_)
        kept.add(np.array([0]), np.full((1, 2, 3), number, np.uint8), columns, np.array([number == 5]))
    assert kept.fill == 6 / 100
    assert kept.unplaced.all()
    assert option_bytes(100, spec(1), ALLOWED) == 100 * (6 + 8 + 4 + 4 + 3 + 8 + 1)


def test_draws_are_uniform() -> None:
    kept, play = store(3, 40), Play(3, 40, seed=1)
    for _ in range(60):
        play.step(kept)
    rewards, count = kept.sample(20_000).reward[:, 0].numpy(), len(kept)
    _, drawn = np.unique(rewards, return_counts=True)
    assert len(drawn) == count
    assert np.abs(drawn / 20_000 - 1 / count).max() < 5 * np.sqrt(1 / count / 20_000)


def test_a_state_goes_through_whole() -> None:
    kept, play = store(3, 40), Play(3, 40, seed=2)
    for _ in range(60):
        play.step(kept)
    other = store(3, 40)
    other.load_state_dict(snapshot(kept.state_dict()))
    assert difference(snapshot(kept.state_dict()), snapshot(other.state_dict())) is None
    np.testing.assert_array_equal(kept.sample(30).reward.numpy(), other.sample(30).reward.numpy())
    with pytest.raises(ConfigError, match=r"40 rows.*41"):
        store(3, 41).load_state_dict(kept.state_dict())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 6"):
        store(3, 5)
    with pytest.raises(CapacityError, match="store of 1,000,000,000,000 options"):
        store(1, 10**12)
    with pytest.raises(RlkitError, match="finish an option first"):
        store(1, 10).sample(1)
