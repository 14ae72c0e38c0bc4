"""The DQN agent: acts epsilon-greedily or softly, stores every step, learns as many batches as are owed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from agents.dqn.config import DQNConfig
from agents.dqn.monte_carlo import EpisodeReturns, mixed
from agents.dqn.sequences import SequenceRules, priorities
from rlkit.devices import to_device
from rlkit.exploration.action_mask import observed_mask, where_valued
from rlkit.exploration.protocol import Bonus
from rlkit.exploration.q_policy import QPolicy
from rlkit.learning.q_learner import QLearner
from rlkit.learning.returns import clip_reward, n_step_return
from rlkit.learning.value_loss import Transitions
from rlkit.pacing import Ratio
from rlkit.replay import Replay
from rlkit.types import ActorOutput, ActorState, Batch, Metrics, Mode, Observation, State, StepBatch, Window


def transitions(
    batch: Batch, gamma: float, reward_clip: float, bonus: Bonus, monte_carlo: float | None = None
) -> Transitions:
    """What to learn from a batch of windows: each reward is clipped and gets its bonus, then they are summed.

    monte_carlo: the weight of the stored returns.
    """
    window = batch.window
    reward = bonus.add(clip_reward(window.reward, reward_clip), window)  # (B, n)
    total, discount = n_step_return(reward, window.discount, window.steps, gamma)  # (B,) each
    if monte_carlo is not None:
        total, discount = mixed(total, discount, window, monte_carlo)
    adjustment = where_valued(bonus.bootstrapping(window), window)  # of (B, A), or None
    action = window.action[:, 0]
    return Transitions((window.obs,), action, total, discount, (window.next_obs,), batch.weight, adjustment)


def _sequence_rules(config: DQNConfig) -> SequenceRules:
    burn_in, steps = config.sequence
    return SequenceRules(burn_in, steps, config.n_step, config.discount, config.reward_clip)


class DQNAgent:
    """Mnih et al. 2015, Algorithm 1, and the refinements that its config switches on."""

    def __init__(
        self,
        config: DQNConfig,
        policy: QPolicy,
        learner: QLearner,
        replay: Replay,
        bonus: Bonus,
    ) -> None:
        self._config = config
        self.policy = policy
        self.learner = learner
        self.replay = replay
        self.bonus = bonus
        self._sequences = _sequence_rules(config) if config.network.memory is not None else None
        self._pacing = Ratio(config.updates_per_step, config.learning_starts)
        self._env_steps = 0
        self._warm = False  # the network comes from another run, and needs no initialisation from data
        self.policy.epsilon = self.epsilon
        self._returns: EpisodeReturns | None = None
        if config.monte_carlo is not None:
            self._returns = EpisodeReturns(replay, config.discount, self._rewards)

    def _rewards(self, window: Window) -> Tensor:
        """(B, n)"""
        return self.bonus.add(clip_reward(window.reward, self._config.reward_clip), window)

    @property
    def updates(self) -> int:
        return self.learner.updates

    @property
    def epsilon(self) -> float:
        """The probability of a random action now: 1 until learning starts."""
        steps = self._env_steps - self._config.learning_starts
        return 1.0 if steps < 0 else self._config.epsilon.value(steps)

    def initial_state(self, num_envs: int) -> ActorState:
        return self.policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        if mode is not Mode.EXPLORE:
            return self.policy.act(observation, state, rng, mode)
        return self.policy.explore(
            observation, state, rng, lambda: self.bonus.acting(observation), lambda: self._newest(observation)
        )

    def _newest(self, observation: Observation) -> NDArray[Any] | Tensor:
        """The newest observations; a replay on another device has all but those that begin episodes."""
        if not self.replay.keeps_newest:
            return observation.obs
        newest = self.replay.newest()
        begun = np.flatnonzero(observation.first)
        if len(begun):
            newest[to_device(begun, newest.device)] = to_device(observation.obs[begun], newest.device)
        return newest

    def observe(self, step: StepBatch) -> None:
        later = {} if self._returns is None else self._returns.columns()
        columns = {**step.extras, **self.policy.observed(step), **later}
        self.replay.add(step, {**columns, **self.bonus.observe(step), **observed_mask(step)})
        if self._returns is not None:
            self._returns.observe(step)
        self._env_steps += len(step.action)
        self.policy.epsilon = self.epsilon

    def learn(self) -> Metrics:
        """Makes the updates that are due; returns the newest value of each metric."""
        counted = self.bonus.learn()
        metrics: dict[str, Tensor] = {}
        owed = self._pacing.total(self._env_steps) - self.learner.updates
        if owed and not self.learner.updates and not self._warm:
            self._initialise()
        for _ in range(owed):
            metrics |= self._update()
        return {**counted, **metrics} if counted else metrics

    def _initialise(self) -> None:
        """Data-dependent initialisation from random play; a resumed run knows by its updates that it is done."""
        inputs = self.policy.network.inputs
        if inputs.measures:
            inputs.initialise(self.replay.window(self.replay.sampleable()).obs)
            self.learner.update_target()
        size = self._config.network.initial_batch
        if size and self._sequences is None:
            self.learner.initialise((self.replay.sample(size).window.obs,))
        elif size and self._sequences is not None:
            steps = self._sequences.burn_in + self._sequences.steps
            index, _ = self.replay.draw(-(-size // steps))
            sequences = self._sequences.fetch(self.replay, index)
            self.learner.initialise(self._sequences.arguments(sequences, self._sequences.steps, None, 0))

    def _update(self) -> dict[str, Tensor]:
        config = self._config
        prioritised = config.prioritised
        beta = prioritised.beta_at(self.learner.updates) if prioritised else 0.0
        index, weight = self.replay.draw(config.batch_size, beta)
        if self._sequences is None:
            batch = Batch(self.replay.window(index), index, weight)
            window = transitions(batch, config.discount, config.reward_clip, self.bonus, config.monte_carlo)
            output = self.learner.update(window)
            priority = output.priority
        else:
            sequences = self._sequences.fetch(self.replay, index)
            learned, sequence = self._sequences.transitions(sequences, weight, self.bonus)
            output = self.learner.update(learned)
            priority = priorities(output.priority, sequence, len(index))
        if prioritised:
            self.replay.update_priorities(index, priority)
        if self.policy.softmax is not None:
            self.policy.softmax.measure(self.policy.network.values(output.output))
        return output.metrics

    def gauges(self) -> Metrics:
        readings: dict[str, Any] = {
            "explore/epsilon": self.epsilon,
            "replay/fill": float(self.replay.fill),
            **self.bonus.gauges(),
        }
        if self.policy.softmax is not None:
            readings |= self.policy.softmax.gauges()
        if self._config.prioritised:
            readings["replay/beta"] = self._config.prioritised.beta_at(self.learner.updates)
        return readings

    def state_dict(self) -> dict[str, Any]:
        state = {
            "policy": self.policy.state_dict(),
            "learner": self.learner.state_dict(),
            "replay": self.replay.state_dict(),
            "bonus": self.bonus.state_dict(),
            "env_steps": self._env_steps,
            **({} if self._returns is None else {"returns": self._returns.state_dict()}),
        }
        return {**state, "warm": True} if self._warm else state

    def load_state_dict(self, state: State) -> None:
        self.policy.load_policy_state(state["policy"])
        self.learner.load_state_dict(state["learner"])
        self.replay.load_state_dict(state["replay"])
        self.bonus.load_state_dict(state["bonus"])
        self._env_steps = int(state["env_steps"])
        self._warm = state.get("warm", False)
        self.policy.epsilon = self.epsilon
        if self._returns is not None:
            self._returns.load_state_dict(state["returns"])

    def warm_start(self, state: State, parts: Collection[str]) -> None:
        self.policy.take(state["policy"])
        self.learner.update_target()
        self._warm = True
        if "replay" in parts:
            self.replay.take(state["replay"])
        if "bonus" in parts:
            self.bonus.load_state_dict(state["bonus"])

    def load_policy_state(self, state: State) -> None:
        self.policy.load_policy_state(state)
