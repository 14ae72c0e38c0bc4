"""The chain against its definition, against dynamic programming and against simulation."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium_env

from envs.chain import LEFT, RIGHT, Chain, end_probability, optimal_return, state
from envs.gymnasium import GymnasiumConfig, plugin
from rlkit.errors import ConfigError
from rlkit.testing import check_env
from rlkit.types import Purpose


def config(**values: Any) -> GymnasiumConfig:
    return GymnasiumConfig(name="gymnasium", id="rlkit/Chain-v0", signals="envs.chain:state", kwargs=values)


@pytest.mark.parametrize("length", [3, 6, 9])
def test_it_is_the_published_definition(length: int) -> None:
    """Random play, every transition: which moves are possible, how often right succeeds, what the left end pays."""
    chain, rng = Chain(length), np.random.default_rng(length)
    tried = succeeded = 0
    for episode in range(2000):
        place, _ = chain.reset(seed=0 if episode == 0 else None)
        assert place == 1
        visited, ended = False, False
        while not ended:
            action = int(rng.random() < 0.8)
            after, reward, ended, truncated, _ = chain.step(action)
            up = min(place + 1, length - 1)
            assert after == place - 1 or (action == RIGHT and after == up)
            tried += action == RIGHT
            succeeded += action == RIGHT and after == up
            visited |= after == length - 1
            assert ended == (after == 0)
            assert reward == ((1.0 if visited else 0.01) if ended else 0.0)
            assert not truncated
            assert state(chain)["state"].tolist() == [after, visited]
            assert state(chain)["success"] == visited
            place = after
    assert abs(succeeded / tried - 0.5) < 4 * math.sqrt(0.25 / tried)


def best_by_value_iteration(length: int, epsilon: float) -> float:
    """Over (state, visited), each action uniformly random with probability epsilon; no discount."""
    value = np.zeros((length, 2))
    value[0] = (0.01, 1.0)
    for _ in range(20_000):
        before = value.copy()
        for place in range(1, length):
            for seen in range(2):
                up = min(place + 1, length - 1)
                left = before[place - 1, seen]
                right = 0.5 * before[up, max(seen, int(up == length - 1))] + 0.5 * left
                value[place, seen] = (1 - epsilon) * max(left, right) + epsilon * (left + right) / 2
        if np.abs(value - before).max() < 1e-14:
            break
    return float(value[1, 0])


@pytest.mark.parametrize("length", [3, 6, 10])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
def test_the_optimum_is_that_of_value_iteration(length: int, epsilon: float) -> None:
    assert optimal_return(length, epsilon) == pytest.approx(best_by_value_iteration(length, epsilon), abs=1e-9)


def test_the_optimum_of_the_paper_s_chain() -> None:
    assert [round(optimal_return(6, epsilon), 4) for epsilon in (0, 0.05, 0.1, 0.2, 1)] == [
        0.2080, 0.1887, 0.1705, 0.1374, 0.0182
    ]  # fmt: skip


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_the_optimum_by_simulation(epsilon: float) -> None:
    """Right until the end, then left: return and visits within four standard errors over 20,000 episodes."""
    chain, rng, episodes = Chain(), np.random.default_rng(1), 20_000
    returns, visits = [], 0
    for episode in range(episodes):
        chain.reset(seed=0 if episode == 0 else None)
        ended, reward = False, 0.0
        while not ended:
            wish = LEFT if chain.visited_end else RIGHT
            _, reward, ended, _, _ = chain.step(int(rng.integers(2)) if rng.random() < epsilon else wish)
        returns.append(reward)
        visits += chain.visited_end
    chance = end_probability(6, epsilon)
    assert abs(visits / episodes - chance) < 4 * math.sqrt(chance * (1 - chance) / episodes)
    assert abs(np.mean(returns) - optimal_return(6, epsilon)) < 4 * np.std(returns) / math.sqrt(episodes)


def test_conformance() -> None:
    check_env(plugin, config())
    check_env(plugin, config(length=4).model_copy(update={"mode": "async"}), steps=30, resets=2)
    check_gymnasium_env(gym.make("rlkit/Chain-v0", render_mode="rgb_array").unwrapped, skip_render_check=True)
    assert "1000 steps" in plugin.protocol(config())["time limit"]


def test_the_picture_shows_where_the_agent_is_and_where_it_was() -> None:
    chain = Chain(3, render_mode="rgb_array")
    chain.reset(seed=0)
    assert chain.render().shape == (48, 144, 3)
    dark = chain.render()[0, -1].tolist()
    chain.place, chain.visited_end = 0, True
    assert chain.render()[0, 0].tolist() == [240, 240, 240]
    assert chain.render()[0, -1].tolist() != dark


def test_bad_arguments_are_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="length must be at least 3, not 2"):
        plugin.make(config(length=2), 1, Purpose.TRAIN)
