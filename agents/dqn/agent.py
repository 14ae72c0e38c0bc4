"""The DQN agent: acts epsilon-greedily, stores every step, learns as many batches as are owed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from agents.dqn.config import DQNConfig
from agents.dqn.policy import DQNPolicy
from rlkit.devices import to_device
from rlkit.exploration.count.bonus import CountBonus, NoBonus
from rlkit.exploration.epsilon import epsilon_greedy
from rlkit.learning.q_learner import QLearner, Transitions
from rlkit.learning.returns import clip_reward, n_step_return
from rlkit.pacing import Ratio
from rlkit.replay import Replay
from rlkit.types import ActorOutput, ActorState, Batch, Metrics, Mode, Observation, State, StepBatch


def transitions(batch: Batch, gamma: float, reward_clip: float, bonus: CountBonus | NoBonus) -> Transitions:
    """What to learn from a batch of windows: rewards clipped one by one, each with its bonus, then summed."""
    window = batch.window
    reward = bonus.add(clip_reward(window.reward, reward_clip), window)  # (B, n)
    total, discount = n_step_return(reward, window.discount, window.steps, gamma)  # (B,) each
    optimism = bonus.bootstrapping(window)  # (B, A) or None
    action = window.action[:, 0]
    return Transitions((window.obs,), action, total, discount, (window.next_obs,), batch.weight, optimism)


class DQNAgent:
    """Mnih et al. 2015, Algorithm 1, and the refinements that its config switches on."""

    def __init__(
        self,
        config: DQNConfig,
        num_actions: int,
        policy: DQNPolicy,
        learner: QLearner,
        replay: Replay,
        bonus: CountBonus | NoBonus,
    ) -> None:
        self._config = config
        self._num_actions = num_actions
        self._policy = policy
        self._learner = learner
        self._replay = replay
        self._bonus = bonus
        self._pacing = Ratio(config.updates_per_step, config.learning_starts)
        self._env_steps = 0

    @property
    def updates(self) -> int:
        return self._learner.updates

    @property
    def epsilon(self) -> float:
        """The probability of a random action now: 1 until learning starts."""
        steps = self._env_steps - self._config.learning_starts
        return 1.0 if steps < 0 else self._config.epsilon.value(steps)

    def initial_state(self, num_envs: int) -> ActorState:
        return {}

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        if mode is Mode.EVALUATE:
            return self._policy.act(observation, state, rng, mode)

        def greedy() -> NDArray[np.int64]:
            return self._policy.greedy(self._newest(observation), self._bonus.acting(observation))

        action = epsilon_greedy(self.epsilon, greedy, len(observation.obs), self._num_actions, rng)
        return ActorOutput(action, {}, {})

    def _newest(self, observation: Observation) -> NDArray[Any] | Tensor:
        """What to act on. A replay on another device has all of it but the beginnings of episodes."""
        if not self._replay.keeps_newest:
            return observation.obs
        newest = self._replay.newest()
        begun = np.flatnonzero(observation.first)
        if len(begun):
            newest[to_device(begun, newest.device)] = to_device(observation.obs[begun], newest.device)
        return newest

    def observe(self, step: StepBatch) -> None:
        self._replay.add(step, self._bonus.observe(step))
        self._env_steps += len(step.action)

    def learn(self) -> Metrics:
        """Makes the updates owed and gives the newest of each metric."""
        counted = self._bonus.learn()
        metrics: dict[str, Tensor] = {}
        owed = self._pacing.total(self._env_steps) - self._learner.updates
        if owed and not self._learner.updates:
            self._initialise()
        for _ in range(owed):
            metrics |= self._update()
        return {**counted, **metrics} if counted else metrics

    def _initialise(self) -> None:
        """Fits what is initialised from data to random play; a resumed run knows by its updates that it was done."""
        if self._config.network.initial_batch:
            batch = self._replay.sample(self._config.network.initial_batch)
            self._learner.initialise((batch.window.obs,))

    def _update(self) -> dict[str, Tensor]:
        config = self._config
        prioritised = config.prioritised
        beta = prioritised.beta_at(self._learner.updates) if prioritised else 0.0
        batch = self._replay.sample(config.batch_size, beta)
        output = self._learner.update(transitions(batch, config.discount, config.reward_clip, self._bonus))
        if prioritised:
            self._replay.update_priorities(batch.index, output.td_error)
        return output.metrics

    def gauges(self) -> Metrics:
        readings: dict[str, Any] = {
            "explore/epsilon": self.epsilon,
            "replay/fill": float(self._replay.fill),
            **self._bonus.gauges(),
        }
        if self._config.prioritised:
            readings["replay/beta"] = self._config.prioritised.beta_at(self._learner.updates)
        return readings

    def state_dict(self) -> dict[str, Any]:
        return {
            "policy": self._policy.state_dict(),
            "learner": self._learner.state_dict(),
            "replay": self._replay.state_dict(),
            "bonus": self._bonus.state_dict(),
            "env_steps": self._env_steps,
        }

    def load_state_dict(self, state: State) -> None:
        self._policy.load_policy_state(state["policy"])
        self._learner.load_state_dict(state["learner"])
        self._replay.load_state_dict(state["replay"])
        self._bonus.load_state_dict(state["bonus"])
        self._env_steps = int(state["env_steps"])

    def load_policy_state(self, state: State) -> None:
        self._policy.load_policy_state(state)
