"""The random agent conforms, and is random."""

import numpy as np
import torch

from agents.random import plugin
from envs.gymnasium import plugin as gymnasium
from rlkit.testing.agents import check_agent
from rlkit.types import Mode, Observation, Purpose

CARTPOLE = gymnasium.config(name="gymnasium", id="CartPole-v1")


def test_conformance() -> None:
    check_agent(plugin, plugin.config(name="random"), gymnasium, CARTPOLE, num_envs=2, steps=40)


def test_all_actions_are_equally_likely_in_both_modes() -> None:
    environments = gymnasium.make(gymnasium.config(name="gymnasium", id="Acrobot-v1"), 1, Purpose.TRAIN)
    policy = plugin.policy(plugin.config(name="random"), environments.spec, torch.device("cpu"))
    environments.close()
    seen = Observation(np.zeros((6000, 6), np.float32), {}, np.zeros(6000, np.bool_))
    for mode in Mode:
        counts = np.bincount(policy.act(seen, {}, np.random.default_rng(1), mode).action, minlength=3)
        assert counts.shape == (3,)
        np.testing.assert_allclose(counts, 2000, atol=150)
