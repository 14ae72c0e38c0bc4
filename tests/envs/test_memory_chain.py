"""The chain in which only memory pays."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import envs.worlds  # noqa: F401
from envs.memory_chain import MemoryChain


def test_an_episode_by_hand() -> None:
    env = gym.make("rlkit/MemoryChain-v0", length=4).unwrapped
    contexts = set()
    for seed in range(8):
        first, _ = env.reset(seed=seed)
        contexts.add(float(first[1]))
        right = int(first[1] > 0)
        for last in (right, 1 - right):
            obs = env.reset(seed=seed)[0]
            shown, rewards, ends = [obs], [], []
            for action in (0, 1, 0, last):
                obs, reward, terminated, truncated, _ = env.step(action)
                shown.append(obs)
                rewards.append(reward)
                ends.append((terminated, truncated))
            np.testing.assert_allclose(np.array(shown)[:, 0], [1, 0.75, 0.5, 0.25, 0])
            assert np.array(shown)[:, 1].tolist() == [first[1], 0, 0, 0, 0]
            assert rewards == [0, 0, 0, 1 if last == right else -1]
            assert ends == [(False, False)] * 3 + [(True, False)]
    assert contexts == {-1.0, 1.0}


def test_too_short_a_chain_is_refused() -> None:
    with pytest.raises(ValueError, match="length must be at least 2, not 1"):
        MemoryChain(1)
