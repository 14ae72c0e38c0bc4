"""A policy with nothing but `state_dict()["policy"]` explores as its agent does: a remote actor is Rollout + Policy."""

from typing import Any

import numpy as np
import pytest
import torch

from agents.dqn import DQNConfig
from agents.dqn import plugin as dqn
from agents.hdqn import plugin as hdqn
from envs.gymnasium import plugin as gymnasium
from helpers.hdqn_worlds import CHAIN
from helpers.hdqn_worlds import config as hdqn_config
from rlkit.agent import AgentContext
from rlkit.learning.softmax import SoftmaxConfig
from rlkit.seeding import Streams
from rlkit.testing.states import snapshot
from rlkit.training.action_log import ActionLog
from rlkit.training.rollout import Rollout
from rlkit.types import Mode, Purpose

LAKE = gymnasium.config(name="gymnasium", id="FrozenLake-v1", max_episode_steps=20)
CARTPOLE = gymnasium.config(name="gymnasium", id="CartPole-v1")
OPTIMISM = {"scale": 5.0, "exponent": 0.5}


def dqn_config(**bonus: Any) -> DQNConfig:
    return DQNConfig(
        name="dqn",
        learning_starts=20,
        replay_capacity=200,
        batch_size=8,
        network={"hidden": (8,)},
        epsilon={"start": 0.2, "end": 0.2},
        bonus={**bonus, "optimism": OPTIMISM},
    )


CASES = {
    "dqn-exact": (dqn, dqn_config(), LAKE),
    "dqn-simhash": (dqn, dqn_config(hash={"type": "simhash"}), CARTPOLE),
    "dqn-bounded-sketch": (dqn, dqn_config(counts={"type": "sketch", "primes": (101, 103)}), LAKE),
    "dqn-soft": (dqn, dqn_config().model_copy(update={"softmax": SoftmaxConfig(temperature=1.0)}), CARTPOLE),
    "hdqn": (hdqn, hdqn_config(controller={"bonus": {"optimism": OPTIMISM}, "epsilon": {"end": 0.3}}), CHAIN),
}


@pytest.mark.parametrize("case", CASES)
def test_a_policy_explores_from_its_state_alone(case: str) -> None:
    plugin, config, env = CASES[case]
    environments = gymnasium.make(env, 3, Purpose.TRAIN)
    agent: Any = plugin.agent(config, environments.spec, AgentContext(Streams(1), torch.device("cpu")))
    rollout = Rollout(environments, ActionLog(Streams(2), 3, 10**9), np.random.default_rng(3), Mode.EXPLORE)
    rollout.start(agent)
    compared = []
    for number in range(60):
        if number >= 30:
            policy: Any = plugin.policy(config, environments.spec, torch.device("cpu"))
            policy.load_policy_state(snapshot(agent.state_dict()["policy"]))
            observation, state = rollout.observation, rollout.actor_state
            told, asked = (
                each.act(observation, state, np.random.default_rng(number), Mode.EXPLORE) for each in (agent, policy)
            )
            np.testing.assert_array_equal(told.action, asked.action)
            assert told.extras.keys() == asked.extras.keys()
            greedy = policy.act(observation, state, np.random.default_rng(number), Mode.EVALUATE)
            compared.append((asked.action != greedy.action).mean())
        rollout.act(agent)
        rollout.send()
        agent.learn()
        agent.observe(rollout.receive())
        rollout.reset_ended()
    environments.close()
    assert np.mean(compared) > 0.15, "what explores is hardly told apart from what is greedy"


@pytest.mark.parametrize(("plugin", "config", "env"), [CASES["dqn-exact"], CASES["hdqn"]], ids=["dqn", "hdqn"])
def test_a_policy_of_version_0_1_0_evaluates_and_says_why_it_cannot_explore(plugin: Any, config: Any, env: Any) -> None:
    environments = gymnasium.make(env, 1, Purpose.TRAIN)
    observation = environments.reset(np.ones(1, np.bool_), np.zeros(1, np.int64))
    policy = plugin.policy(config, environments.spec, torch.device("cpu"))
    networks = ("network", "meta", "controller")
    policy.load_policy_state({name: part for name, part in policy.state_dict().items() if name in networks})
    state, rng = policy.initial_state(1), np.random.default_rng(0)
    policy.act(observation, state, rng, Mode.EVALUATE)
    with pytest.raises(ValueError, match=r"saved by rlkit 0\.1\.0"):
        policy.act(observation, state, rng, Mode.EXPLORE)
