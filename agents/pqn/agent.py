"""The PQN agent: acts epsilon-greedily or softly, collects rollouts, learns from each and forgets it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.pqn.config import PQNConfig
from agents.pqn.learner import PQNLearner, Samples
from rlkit.errors import ConfigError
from rlkit.exploration.action_mask import STORED, observed_mask, where_valued
from rlkit.exploration.protocol import Bonus
from rlkit.exploration.q_policy import QPolicy
from rlkit.learning.returns import clip_reward, lambda_return
from rlkit.learning.sequences import rollout_inputs
from rlkit.learning.softmax import state_values
from rlkit.replay import Trajectory, TrajectoryBatch
from rlkit.types import ActorOutput, ActorState, Metrics, Mode, Observation, State, StepBatch


class PQNAgent:
    """Gallici et al. 2024, Algorithm 1, with Q(lambda)."""

    def __init__(
        self, config: PQNConfig, policy: QPolicy, learner: PQNLearner, trajectory: Trajectory, bonus: Bonus
    ) -> None:
        """trajectory: with the column "values", and those of the bonus."""
        self._config = config
        self.policy = policy
        self.learner = learner
        self.trajectory = trajectory
        self.bonus = bonus
        self._env_steps = 0
        self._warm = False  # the network comes from another run, and needs no initialisation from data
        self.policy.epsilon = config.epsilon.value(0)

    @property
    def updates(self) -> int:
        return self.learner.updates

    def initial_state(self, num_envs: int) -> ActorState:
        return self.policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return self.policy.act(observation, state, rng, mode)

    def observe(self, step: StepBatch) -> None:
        told = {**step.extras, **self.policy.observed(step)}
        self.trajectory.add(step, {**told, **self.bonus.observe(step), **observed_mask(step)})
        self._env_steps += len(step.action)
        self.policy.epsilon = self._config.epsilon.value(self._env_steps)

    def learn(self) -> Metrics:
        """Learns from the rollout if it is full."""
        counted = self.bonus.learn()
        if not self.trajectory.full:
            return counted
        samples = self._samples(self.trajectory.take())
        rate = self._learning_rate(self._env_steps - len(samples.target))
        return {**counted, **self.learner.learn(samples, rate)}

    def _samples(self, batch: TrajectoryBatch) -> Samples:
        """The rollout with its targets; before the first update the network is initialised from it."""
        config = self._config
        inputs = rollout_inputs(batch, self.policy.network, config.sequence)
        q = torch.as_tensor(batch.extras["values"])  # (T, N, A)
        if not self.updates and not self._warm and self.learner.initialise(inputs):
            q = self._q(*inputs.all()).view_as(q)  # those of the network before its initialisation mean nothing
        q = batch.next_values(q, inputs.successors(self._q)).flatten(0, 1)  # (T * N, A) of the true successors
        reward = clip_reward(batch.reward, config.reward_clip)  # (T, N)
        if config.bonus is not None or STORED in batch.extras:  # windows hold a copy of all observations
            windows = batch.windows()
            reward = self.bonus.add(reward.view(-1, 1), windows).view_as(reward)
            adjustment = where_valued(self.bonus.bootstrapping(windows), windows)
            q = q if adjustment is None else adjustment(q)
        next_values = state_values(q, self.policy.softmax).view_as(reward)
        gamma, lambda_ = config.discount, config.q_lambda
        target = lambda_return(reward, batch.discount, batch.ended, next_values, gamma, lambda_)  # (T, N)
        return Samples(inputs, batch.action.flatten(), target.flatten())

    def _q(self, *arguments: Any) -> Tensor:
        """(B, A) action values, from the arguments of the network."""
        return self.learner.gradient.evaluate(*arguments)

    def _learning_rate(self, env_steps: int) -> float:
        """Of a rollout that began after `env_steps` steps."""
        anneal, rate = self._config.anneal, self._config.learning_rate
        return rate if anneal is None else rate * anneal.factor(env_steps, anneal.learning_rate)

    def gauges(self) -> Metrics:
        readings: dict[str, Any] = {
            "explore/epsilon": self._config.epsilon.value(self._env_steps),
            "rollout/fill": len(self.trajectory) / self.trajectory.length,
            **self.bonus.gauges(),
        }
        if self.policy.softmax is not None:
            readings |= self.policy.softmax.gauges()
        if self._config.anneal is not None:
            readings["gradient/learning_rate"] = self._learning_rate(self._env_steps)
        return readings

    def state_dict(self) -> dict[str, Any]:
        state = {
            "policy": self.policy.state_dict(),
            "learner": self.learner.state_dict(),
            "trajectory": self.trajectory.state_dict(),
            "bonus": self.bonus.state_dict(),
            "env_steps": self._env_steps,
        }
        return {**state, "warm": True} if self._warm else state

    def load_state_dict(self, state: State) -> None:
        self.policy.load_policy_state(state["policy"])
        self.learner.load_state_dict(state["learner"])
        self.trajectory.load_state_dict(state["trajectory"])
        self.bonus.load_state_dict(state["bonus"])
        self._env_steps = int(state["env_steps"])
        self._warm = state.get("warm", False)

    def warm_start(self, state: State, parts: Collection[str]) -> None:
        if "replay" in parts:
            raise ConfigError("this agent keeps no replay")
        self.policy.take(state["policy"])
        self._warm = True
        if "bonus" in parts:
            self.bonus.load_state_dict(state["bonus"])

    def load_policy_state(self, state: State) -> None:
        self.policy.load_policy_state(state)
