"""A DQN with a count bonus in a real world, every step kept, to recount from the tape."""

from __future__ import annotations

from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from agents.dqn import DQNAgent, DQNConfig, plugin
from envs.gymnasium import plugin as gymnasium
from rlkit.agent import AgentContext
from rlkit.exploration.count.bonus import CountBonus
from rlkit.seeding import Streams
from rlkit.training.action_log import ActionLog
from rlkit.training.rollout import Rollout
from rlkit.types import Mode, Observation, Purpose, StepBatch

LAKE = gymnasium.config(name="gymnasium", id="FrozenLake-v1")
CART = gymnasium.config(name="gymnasium", id="CartPole-v1")
NEWEST = max(id for id in gym.registry if id.startswith("Taxi-v"))  # v3 in the lowest Gymnasium
TAXI = gymnasium.config(name="gymnasium", id=NEWEST, max_episode_steps=15)
SIMHASH = {"type": "simhash", "bits": 64}
BETA = 0.5


def config(**bonus: Any) -> DQNConfig:
    return DQNConfig(
        name="dqn",
        learning_starts=50,
        replay_capacity=10_000,
        batch_size=16,
        n_step=3,
        network={"hidden": (8,)},
        epsilon={"start": 0.5, "end": 0.5},
        bonus={"beta": BETA, **bonus},
    )


class Run:
    """A DQN in N environments, every step kept."""

    def __init__(self, chosen: DQNConfig, env: Any = LAKE, num_envs: int = 1, steps: int = 200) -> None:
        self.env = env
        self.environments = gymnasium.make(env, num_envs, Purpose.TRAIN)
        self.agent: DQNAgent = plugin.agent(
            chosen, self.environments.spec, AgentContext(Streams(1), torch.device("cpu"))
        )
        self.tape = ActionLog(Streams(2), num_envs, reseed_after=10**9)
        self.rollout = Rollout(self.environments, self.tape, np.random.default_rng(3), Mode.EXPLORE)
        self.steps: list[StepBatch] = []
        self.metrics: list[dict[str, Any]] = []
        self.rollout.start(self.agent)
        for _ in range(steps):
            self.rollout.act(self.agent)
            self.rollout.send()
            self.metrics.append(dict(self.agent.learn()))
            step = self.rollout.receive()
            self.agent.observe(step)
            self.rollout.reset_ended()
            self.steps.append(step)
        self.environments.close()

    @property
    def bonus(self) -> CountBonus:
        bonus = self.agent.bonus
        assert isinstance(bonus, CountBonus)
        return bonus

    def recount(self) -> tuple[Counter[bytes], Counter[tuple[bytes, int]]]:
        """Visited states and executed pairs, from seeds and actions alone."""
        states: Counter[bytes] = Counter()
        pairs: Counter[tuple[bytes, int]] = Counter()
        for number, seed in enumerate(self.tape.seeds()):
            world = gym.make(self.env.id, max_episode_steps=self.env.max_episode_steps)
            obs, _ = world.reset(seed=int(seed))
            begins = True
            for action in self.tape.state_dict()["actions"][:, number]:
                states[self.key(obs)] += begins
                pairs[self.key(obs), int(action)] += 1
                obs, _, terminated, truncated, _ = world.step(int(action))
                states[self.key(obs)] += 1
                begins = terminated or truncated
                if begins:
                    obs, _ = world.reset()
            world.close()
        return states, pairs

    def key(self, obs: Any) -> bytes:
        return np.asarray(obs, self.environments.spec.observation_space.dtype).tobytes()

    def digests(self, keys: list[bytes]) -> Any:
        """The codes of states, by the hash as it is now."""
        space = self.environments.spec.observation_space
        obs = np.stack([np.frombuffer(key, space.dtype).reshape(space.shape) for key in keys])
        return self.bonus.visits.hash(self.bonus.visits.features(Observation(obs, {}, np.zeros(len(obs), np.bool_))))
