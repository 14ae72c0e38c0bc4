"""The PPO agent: samples actions, collects rollouts, learns from each and forgets it."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.ppo.config import PPOConfig
from agents.ppo.learner import PPOLearner
from agents.ppo.policy import PPOPolicy
from rlkit.errors import ConfigError
from rlkit.exploration.action_mask import ACTED, acted_mask
from rlkit.exploration.protocol import Bonus
from rlkit.learning.background import Background
from rlkit.learning.policy_losses import PolicySteps
from rlkit.learning.returns import clip_reward, gae
from rlkit.learning.sequences import RolloutInputs, rollout_inputs
from rlkit.replay import Trajectory, TrajectoryBatch
from rlkit.types import ActorOutput, ActorState, Metrics, Mode, Observation, State, StepBatch


class PPOAgent:
    """Schulman et al. 2017, Algorithm 1, with one network for policy and value or two."""

    def __init__(
        self,
        config: PPOConfig,
        policy: PPOPolicy,
        learner: PPOLearner,
        trajectory: Trajectory,
        bonus: Bonus,
        background: Background | None = None,
    ) -> None:
        """trajectory: with the columns "log_probability" and "value", and those of bonus and action mask.

        background: if given, the learner has a network of its own, and learns while the policy acts.
        """
        self._config = config
        self.policy = policy
        self.learner = learner
        self.trajectory = trajectory
        self.bonus = bonus
        self._background = background
        self._env_steps = 0
        self._warm = False  # the network comes from another run, and needs no initialisation from data

    @property
    def updates(self) -> int:
        """Gradient steps so far, with those that are being made."""
        return self.learner.updates if self._background is None else self._background.updates

    def initial_state(self, num_envs: int) -> ActorState:
        return self.policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return self.policy.act(observation, state, rng, mode)

    def observe(self, step: StepBatch) -> None:
        remembered, counted = self.policy.observed(step), self.bonus.observe(step)
        self.trajectory.add(step, {**step.extras, **remembered, **counted, **acted_mask(step)})
        self._env_steps += len(step.action)

    def learn(self) -> Metrics:
        """Learns from the rollout if it is full."""
        counted = self.bonus.learn()
        if not self.trajectory.full:
            return counted
        batch = self.trajectory.take()
        inputs = rollout_inputs(batch, self.policy.network, self._config.sequence)
        learned: Metrics = {} if self._background is None else self._background.finish()  # of the rollout before
        steps = self._steps(batch, inputs)
        updates = partial(self.learner.learn, inputs, steps, self._factors(self._env_steps - len(steps.action)))
        if self._background is None:
            learned = updates()
        else:
            self._background.start(updates, self.learner.round)
        return {**counted, **value_metrics(steps), **learned}

    def _steps(self, batch: TrajectoryBatch, inputs: RolloutInputs) -> PolicySteps:
        """All steps with advantages and returns; before the first update the network is initialised from them."""
        values, log_probability = (torch.as_tensor(batch.extras[name]) for name in ("value", "log_probability"))
        if not self.updates and not self._warm and self.learner.initialise(inputs):
            if self._background is not None:
                self._background.publish()
            values = self._values(*inputs.all()).view_as(values)  # those before the initialisation mean nothing
        elif self.learner.initialises:  # nor does that of the step which was in flight meanwhile
            values = torch.cat((self._values(*inputs.first()).view_as(values[:1]), values[1:]))
        advantage, advantages = self._advantages(batch, values, inputs.successors(self._values))
        returns = (advantages + values).flatten(0, 1)  # (T * N, V)
        action, allowed = batch.action.flatten(), batch.extras.get(ACTED)  # (T, N, A) or None
        allowed = None if allowed is None else torch.as_tensor(allowed).flatten(0, 1)
        return PolicySteps(
            action, log_probability.flatten(), advantage.flatten(), returns, values.flatten(0, 1), allowed
        )

    def _advantages(self, batch: TrajectoryBatch, values: Tensor, successors: Tensor) -> tuple[Tensor, Tensor]:
        """Advantages (T, N) for the policy, and those by each value (T, N, V).

        values (T, N, V) of the observations, successors (N + K, V) of `batch.successors`.
        """
        config, own = self._config, self._config.bonus_value
        reward, bonus = clip_reward(batch.reward, config.reward_clip), self._bonus(batch)
        if bonus is not None and own is None:
            reward, bonus = reward + bonus, None
        following = batch.next_values(values, successors)
        discount, ended, gamma, lambda_ = batch.discount, batch.ended, config.discount, config.gae_lambda
        advantage = gae(reward, discount, ended, values[..., 0], following[..., 0], gamma, lambda_)
        if bonus is None or own is None:
            return advantage, advantage.unsqueeze(2)
        if not own.episodic:  # the next episode follows; its first observation is not known after the last step
            discount, ended = torch.ones_like(discount), torch.zeros_like(ended)
            following = torch.cat((values[1:], following[-1:]))
        of_bonus = gae(bonus, discount, ended, values[..., 1], following[..., 1], own.discount, lambda_)
        return advantage + own.weight * of_bonus, torch.stack((advantage, of_bonus), 2)

    def _bonus(self, batch: TrajectoryBatch) -> Tensor | None:
        """(T, N) the bonus of each step; None if there is no bonus."""
        if self._config.bonus is None:
            return None
        nothing = torch.zeros_like(batch.reward)
        return self.bonus.add(nothing.view(-1, 1), batch.windows()).view_as(nothing)

    def _values(self, *arguments: Any) -> Tensor:
        """(B, V) values by the network that acted in the rollout, from its arguments."""
        if self._background is None:
            output = self.learner.gradient.evaluate(*arguments)
        else:
            with torch.no_grad():
                output = self.policy.network(*arguments)
        return output[:, -self._config.num_values :]

    def _factors(self, env_steps: int) -> tuple[float, float]:
        """The factors of learning rate and clip range for a rollout that began after `env_steps` steps."""
        return (1.0, 1.0) if self._config.anneal is None else self._config.anneal.factors(env_steps)

    def gauges(self) -> Metrics:
        readings = {"rollout/fill": len(self.trajectory) / self.trajectory.length, **self.bonus.gauges()}
        if self._config.anneal is not None:
            rate, clip = self._factors(self._env_steps)
            readings["policy/learning_rate"] = self._config.learning_rate * rate
            readings["policy/clip"] = self._config.clip * clip
        return readings

    def state_dict(self) -> dict[str, Any]:
        background = {} if self._background is None else {"background": self._background.state_dict()}
        state = {
            **background,
            "policy": self.policy.state_dict(),
            "learner": self.learner.state_dict(),
            "trajectory": self.trajectory.state_dict(),
            "bonus": self.bonus.state_dict(),
            "env_steps": self._env_steps,
        }
        return {**state, "warm": True} if self._warm else state

    def load_state_dict(self, state: State) -> None:
        if self._background is not None:
            self._background.load_state_dict(state["background"])
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
        if self._background is not None:
            self._background.adopt()
        self._warm = True
        if "bonus" in parts:
            self.bonus.load_state_dict(state["bonus"])

    def load_policy_state(self, state: State) -> None:
        self.policy.load_policy_state(state)
        if self._background is not None:
            self._background.adopt()


def value_metrics(steps: PolicySteps) -> dict[str, Tensor]:
    """The mean of each value, and how well it predicts its returns."""
    metrics = {}
    for number, group in zip(range(steps.value.shape[1]), ("value", "bonus_value"), strict=False):
        value, returns = steps.value[:, number], steps.returns[:, number]
        metrics[f"{group}/mean"] = value.mean()
        metrics[f"{group}/explained_variance"] = explained_variance(value, returns)
    return metrics


def explained_variance(values: Tensor, returns: Tensor) -> Tensor:
    """1 - Var(returns - values) / Var(returns) over all steps, (). 1: perfect; 0: no better than a constant.

    0 if returns do not vary.
    """
    variance = returns.var(correction=0)
    share = 1.0 - (returns - values).var(correction=0) / variance
    return torch.where(variance > 0, share, 0.0)
