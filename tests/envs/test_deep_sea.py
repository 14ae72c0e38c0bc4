"""DeepSea against a slow transcription of its definition, its optimum against dynamic programming and simulation."""

from __future__ import annotations

import itertools
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium_env
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.deep_sea import DeepSea, action_mapping, optimal_return, solved_return, state, treasure_probability
from envs.gymnasium import GymnasiumConfig, plugin
from rlkit.errors import ConfigError
from rlkit.testing import check_env
from rlkit.types import Purpose


class Published:
    """The definition, read off Osband et al. 2020 line by line; `chance` answers whether a step right fails."""

    def __init__(self, size: int, mapping: list[list[int]]) -> None:
        self.size, self.mapping = size, mapping
        self.row = self.column = 0

    def grid(self) -> np.ndarray:
        grid = np.zeros((self.size, self.size))
        if self.row < self.size:
            grid[self.row][self.column] = 1
        return grid

    def step(self, action: int, fails: bool = False) -> tuple[np.ndarray, float, bool]:
        goes_right = action == self.mapping[self.row][self.column]
        reward = 0.0
        if goes_right and self.column == self.size - 1:
            reward += 1.0
        if goes_right:
            reward -= 0.01 / self.size
            if not fails:
                self.column = min(self.column + 1, self.size - 1)
        else:
            self.column = max(self.column - 1, 0)
        self.row += 1
        return self.grid(), reward, self.row == self.size


def mapping_bits(size: int, mapping_seed: int) -> list[list[int]]:
    words = iter(np.random.PCG64(mapping_seed).random_raw(size * size).tolist())
    return [[1 if next(words) >= 2**63 else 0 for _ in range(size)] for _ in range(size)]


def config(**values: Any) -> GymnasiumConfig:
    return GymnasiumConfig(name="gymnasium", id="rlkit/DeepSea-v0", signals="envs.deep_sea:state", kwargs=values)


@given(size=st.integers(2, 12), mapping_seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=60, deadline=None)
def test_it_is_the_published_definition(size: int, mapping_seed: int, data: st.DataObject) -> None:
    sea, published = DeepSea(size, mapping_seed=mapping_seed), Published(size, mapping_bits(size, mapping_seed))
    for _ in range(2):
        obs, _ = sea.reset()
        published.row = published.column = 0
        ended = False
        while not ended:
            assert (obs == published.grid()).all()
            assert (sea.row, sea.column) == (published.row, published.column)
            # half of the steps go right, which random actions seldom do for long
            wish = data.draw(st.integers(0, 2))
            action = published.mapping[sea.row][sea.column] if wish == 2 else wish
            obs, reward, terminated, truncated, _ = sea.step(action)
            expected, paid, ended = published.step(action)
            assert (obs == expected).all()
            assert obs in sea.observation_space
            assert reward == pytest.approx(paid, abs=1e-12)
            assert (terminated, truncated) == (ended, False)


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_of_all_action_sequences_one_reaches_the_treasure(size: int) -> None:
    sea = DeepSea(size, mapping_seed=7)
    found = []
    for actions in itertools.product((0, 1), repeat=size):
        sea.reset()
        total = sum(sea.step(action)[1] for action in actions)
        assert sea.treasure == (total > solved_return(size))
        assert total <= 0 or sea.treasure
        found += [total] * sea.treasure
    assert found == pytest.approx([optimal_return(size)])


def test_the_mapping_is_fixed_for_all_time() -> None:
    assert action_mapping(4, 42).tolist() == [[1, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1], [1, 1, 0, 0]]
    assert abs(action_mapping(100, 0).mean() - 0.5) < 0.02  # four standard deviations
    assert (action_mapping(20, 0) != action_mapping(20, 1)).any()


def best_by_dynamic_programming(size: int, failure: float) -> float:
    value = np.zeros((size + 1, size))
    for row in reversed(range(size)):
        for column in range(size):
            landed = value[row + 1, min(column + 1, size - 1)]
            right = (column == size - 1) - 0.01 / size + (1 - failure) * landed + failure * value[row + 1, column]
            value[row, column] = max(value[row + 1, max(column - 1, 0)], right)
    return float(value[0, 0])


@pytest.mark.parametrize("size", [2, 3, 5, 10, 20, 50])
def test_the_optimum_is_that_of_dynamic_programming(size: int) -> None:
    assert optimal_return(size) == pytest.approx(best_by_dynamic_programming(size, 0.0), abs=1e-12)
    assert optimal_return(size, True) == pytest.approx(best_by_dynamic_programming(size, 1 / size), abs=1e-12)


def test_the_stochastic_optimum_and_its_parts_by_simulation() -> None:
    """The best policy, 20,000 episodes: frequencies and means within four standard errors."""
    size, episodes = 6, 20_000
    sea, mapping = DeepSea(size, stochastic=True), action_mapping(size, 42)
    returns, treasures, tries, failures = [], 0, 0, 0
    noise: dict[int, list[float]] = {column: [] for column in range(size)}
    for episode in range(episodes):
        sea.reset(seed=0 if episode == 0 else None)
        total, ended = 0.0, False
        while not ended:
            row, column = sea.row, sea.column
            goes_right = column == row  # gives up where a step right has failed
            _, reward, ended, _, _ = sea.step(int(mapping[row, column] if goes_right else 1 - mapping[row, column]))
            if goes_right and row < size - 1:
                tries += 1
                failures += sea.column == column
            if row == size - 1:
                noise[column].append(reward + goes_right * (0.01 / size - 1))
            total += reward
        treasures += sea.treasure
        returns.append(total)
    assert abs(failures / tries - 1 / size) < 4 * math.sqrt((1 - 1 / size) / size / tries)
    chance = treasure_probability(size, True)
    assert abs(treasures / episodes - chance) < 4 * math.sqrt(chance * (1 - chance) / episodes)
    assert abs(np.mean(returns) - optimal_return(size, True)) < 4 * np.std(returns) / math.sqrt(episodes)
    for column, values in noise.items():
        if column in (0, size - 1):
            assert len(values) > 300
            assert abs(np.mean(values)) < 4 / math.sqrt(len(values))
            assert abs(np.var(values) - 1) < 4 * math.sqrt(2 / len(values))
        else:
            assert not np.any(values)


def test_signals_say_where_the_observation_is() -> None:
    sea = DeepSea(5, stochastic=True)
    rng = np.random.default_rng(0)
    for episode in range(40):
        obs, _ = sea.reset(seed=episode)
        for row in range(5):
            assert np.argwhere(obs).tolist() == [state(sea)["state"].tolist()]
            assert state(sea)["state"][0] == row
            obs, _, ended, _, _ = sea.step(rng.integers(2))
        assert ended
        assert not obs.any()
        assert state(sea)["state"][0] == 5


def test_the_treasure_is_a_signal_of_its_episode() -> None:
    sea, mapping = DeepSea(3), action_mapping(3, 42)
    sea.reset()
    for cell in range(3):
        assert not state(sea)["success"]
        sea.step(int(mapping[cell, cell]))
    assert state(sea)["success"]
    sea.reset()
    assert not state(sea)["success"]


@pytest.mark.parametrize("stochastic", [False, True])
def test_conformance(stochastic: bool) -> None:
    check_env(plugin, config(size=6, stochastic=stochastic))
    check_env(plugin, config(size=3, stochastic=stochastic).model_copy(update={"mode": "async"}), steps=30, resets=2)
    made = gym.make("rlkit/DeepSea-v0", size=6, stochastic=stochastic, render_mode="rgb_array")
    check_gymnasium_env(made.unwrapped, skip_render_check=True)
    assert "6 steps" in plugin.protocol(config(size=6))["time limit"]


def test_the_picture_shows_the_diver() -> None:
    sea = DeepSea(4, render_mode="rgb_array")
    sea.reset()
    before = sea.render()
    sea.step(0)
    after = sea.render()
    assert before.shape == (240, 240, 3)
    assert before[0, 0].tolist() == after[60, 60 * sea.column].tolist() == [240, 240, 240]
    assert after[0, 0].tolist() != [240, 240, 240]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"size": 1}, "size must be at least 2, not 1"), ({"mapping_seed": -1}, "mapping_seed must be 0 or more, not -1")],
)
def test_bad_arguments_are_one_clear_line(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plugin.make(config(**values), 1, Purpose.TRAIN)
