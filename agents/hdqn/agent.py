"""The h-DQN agent: a meta-controller chooses goals, a controller acts towards them; both learn separately."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.hdqn.config import HDQNConfig
from agents.hdqn.critic import intrinsic_reward, relabel, transitions
from agents.hdqn.options import Bools, Ints, OptionReturn, clipped, reaches
from agents.hdqn.policy import HDQNPolicy
from agents.hdqn.statistics import OptionStatistics
from rlkit.devices import to_device
from rlkit.exploration.action_mask import observed_mask
from rlkit.exploration.adjustment import mask, on_device
from rlkit.exploration.bonus import bonus_columns
from rlkit.exploration.protocol import Bonus
from rlkit.learning.q_learner import QLearner
from rlkit.learning.value_loss import Transitions
from rlkit.pacing import Ratio
from rlkit.replay import OptionStore, Replay
from rlkit.types import ActorOutput, ActorState, Batch, Metrics, Mode, Observation, State, StepBatch


@dataclass(frozen=True, slots=True)
class Level:
    """A learner, and the bonus on its rewards."""

    learner: QLearner
    bonus: Bonus


class HDQNAgent:
    """Kulkarni et al. 2016, Algorithm 1, with separate update rates of both levels."""

    def __init__(
        self,
        config: HDQNConfig,
        num_envs: int,
        policy: HDQNPolicy,
        controller: Level,
        meta: Level,
        replay: Replay,
        store: OptionStore,
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        """rng: decides which windows are relabelled, and with which goals."""
        self._config = config
        self.policy = policy
        self.controller = controller
        self.meta = meta
        self.replay = replay
        self.store = store
        self._rng = rng
        self._device = device
        self._pacing = Ratio(config.controller.updates_per_step, config.controller.learning_starts)
        self._meta_pacing = Ratio(config.meta.updates_per_option, config.meta.learning_starts)
        self._env_steps = 0
        discount = config.meta.discount
        self._returns = OptionReturn(discount, config.option_discount, np.zeros(num_envs), np.ones(num_envs))
        self._marks: dict[str, NDArray[Any]] = {}  # (N,) the meta bonus's columns for options in progress
        self._latest = {name for name, column in bonus_columns(config.meta.bonus).items() if column.latest}
        self.statistics = OptionStatistics(policy.goals.names, num_envs)
        self._metrics: dict[str, float] = {}
        self._warm = False  # the networks come from another run, and need no initialisation from data
        self._schedule()

    @property
    def updates(self) -> int:
        """Updates of the controller; the meta-controller's follow the number of options."""
        return self.controller.learner.updates

    def epsilon(self) -> NDArray[np.float64]:
        """(G,) the probability of a random action now under each goal: 1 until learning starts."""
        config = self._config.controller
        steps = self._env_steps - config.learning_starts
        value = 1.0 if steps < 0 else config.epsilon.value(steps)
        everywhere = np.full(len(self.policy.goals.names), value)
        if config.epsilon_by == "schedule" or steps < 0:
            return everywhere
        return np.where(self.statistics.mastered(config.mastered), config.epsilon.end, everywhere)

    def meta_epsilon(self) -> float:
        """The probability of a random goal now: 1 until the meta-controller learns."""
        steps = self._env_steps - self._config.pretraining_steps
        waits = steps < 0 or self.store.total < self._config.meta.learning_starts or self._meta_waits
        return 1.0 if waits else self._config.meta.epsilon.value(steps)

    def initial_state(self, num_envs: int) -> ActorState:
        return self.policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        if mode is Mode.EVALUATE:
            return self.policy.act(observation, state, rng, mode)
        return self.policy.explore(observation, state, rng, lambda: self.controller.bonus.acting(observation))

    def _schedule(self) -> None:
        """Hands the present exploration rates to the policy."""
        self.policy.epsilon, self.policy.meta_epsilon = self.epsilon(), self.meta_epsilon()

    def observe(self, step: StepBatch) -> None:
        goal, age = step.extras["goal"], step.extras["age"]
        achieved = self.policy.goals.achieved(step.after)  # (N, G)
        over = self.policy.rules.over(goal, age + 1, achieved, step.ended)
        before = step.extras["achieved_before"]
        columns = {"goal": goal, "achieved": achieved, **self.controller.bonus.observe(step), **observed_mask(step)}
        if self._config.controller.hindsight is not None:
            columns["achieved_before"] = before
        self.replay.add(step, columns, cut=over)
        reached = reaches(goal, achieved)
        intrinsic = intrinsic_reward(reached, step.discount, self._config.controller.reward).astype(np.float64)
        self._metrics = self.statistics.observe(step.before.first, age == 0, intrinsic, achieved & ~before, step.ended)
        self._account(step, age == 0, over, goal, achieved)
        idle = (age == 0) & reaches(goal, before)  # nothing else was left to choose
        self.statistics.finish(over, idle, goal, age + 1, reached, self._returns.total)
        self._env_steps += len(step.action)
        self._schedule()

    def _account(self, step: StepBatch, begins: Bools, over: Bools, goal: Ints, achieved: Bools) -> None:
        """The meta-controller's part: sums the rewards of options, and stores those that are over."""
        self._returns.add(begins, clipped(step, self._config.meta.reward_clip), step.discount)
        for name, mark in self.meta.bonus.observe(step).items():
            self._marks[name] = np.where(begins | (name in self._latest), mark, self._marks.get(name, mark))
        if self._env_steps < self._config.pretraining_steps:
            return
        placed = np.flatnonzero(begins & (step.before.first | self.store.unplaced))
        if len(placed):
            self.store.begin(placed, step.before.obs[placed])
        ends = np.flatnonzero(over)
        if len(ends):
            options = {
                "choice": goal,
                "reward": self._returns.total,
                "discount": self._returns.factor(),
                "allowed": self.policy.rules.allowed(achieved, goal),
                **self._marks,
            }
            columns = {name: column[ends] for name, column in options.items()}
            self.store.add(ends, step.after.obs[ends], columns, step.ended[ends])

    def learn(self) -> Metrics:
        """Makes the updates that are due on both levels; returns the newest metrics."""
        metrics: dict[str, Any] = dict(self._metrics)
        self._metrics = {}
        metrics |= _named("controller", self.controller.bonus.learn()) | _named("meta", self.meta.bonus.learn())
        owed = self._pacing.total(self._env_steps) - self.controller.learner.updates
        if owed and not self.controller.learner.updates and not self._warm:
            self._initialise()
        for _ in range(owed):
            metrics |= _named("controller", self._update())
        owed = self._meta_pacing.total(self.store.total) - self.meta.learner.updates
        for _ in range(owed if len(self.store) and not self._meta_waits else 0):
            metrics |= _named("meta", self._meta_update())
        self._schedule()
        return metrics

    @property
    def _meta_waits(self) -> bool:
        """Whether the meta-controller's network is still to be initialised from data."""
        needs_data = self._config.meta.network.initial_batch > 0 or self.policy.meta.inputs.measures
        return needs_data and not self.controller.learner.updates and not self._warm

    def _initialise(self) -> None:
        """Data-dependent initialisation of both levels from random play, before the controller's first update.

        A resumed run knows by the controller's updates that it is done.
        """
        levels = (self.policy.controller.inputs, self.controller.learner), (self.policy.meta.inputs, self.meta.learner)
        for inputs, learner in levels:
            if inputs.measures:
                inputs.initialise(self.replay.window(self.replay.sampleable()).obs)
                learner.update_target()
        if size := self._config.controller.network.initial_batch:
            window = self.replay.sample(size).window
            goal = np.ascontiguousarray(np.asarray(window.extras["goal"])[:, 0])  # (B,) the original ones
            self.controller.learner.initialise((window.obs, to_device(goal, self._device)))
        if size := self._config.meta.network.initial_batch:
            self.meta.learner.initialise((self.replay.sample(size).window.obs,))

    def _update(self) -> Metrics:
        config = self._config.controller
        batch = self.replay.sample(config.batch_size)
        goal = to_device(self._goals(batch), self._device)
        level = self.controller
        return level.learner.update(transitions(batch, goal, config.discount, config.reward, level.bonus)).metrics

    def _goals(self, batch: Batch) -> Ints:
        """(B,) the goals to learn a batch under: the original ones, or others with hindsight."""
        goal: Ints = np.ascontiguousarray(np.asarray(batch.window.extras["goal"])[:, 0])
        hindsight = self._config.controller.hindsight
        if hindsight is None:
            return goal
        # a goal that was achieved before the step is none to learn about
        candidates = self.replay.later(batch.index) & ~np.asarray(batch.window.extras["achieved_before"])[:, 0]
        return relabel(goal, candidates, self._rng.random((2, len(goal))), hindsight.share)

    def _meta_update(self) -> Metrics:
        window = self.store.sample(self._config.meta.batch_size)
        reward = self.meta.bonus.add(window.reward, window)[:, 0]
        allowed = on_device(mask(np.asarray(window.extras["allowed"])[:, 0]), self._device)  # of (B, G)
        weight = torch.ones(len(reward), device=self._device)
        action, discount = window.action[:, 0], window.discount[:, 0]
        made = Transitions((window.obs,), action, reward, discount, (window.next_obs,), weight, allowed)
        return self.meta.learner.update(made).metrics

    def caption(self, state: ActorState) -> list[str]:
        return self.policy.caption(state)

    def gauges(self) -> Metrics:
        epsilon = self.epsilon()
        return {
            "explore/epsilon": float(epsilon.mean()),
            "explore/meta_epsilon": self.meta_epsilon(),
            "replay/fill": float(self.replay.fill),
            "replay/options": float(self.store.fill),
            "progress/meta_updates": float(self.meta.learner.updates),
            **self.statistics.gauges(),
            **_named("controller", self.controller.bonus.gauges()),
            **_named("meta", self.meta.bonus.gauges()),
        }

    def state_dict(self) -> dict[str, Any]:
        state = {
            "policy": self.policy.state_dict(),
            "controller": _level_state(self.controller),
            "meta": _level_state(self.meta),
            "replay": self.replay.state_dict(),
            "store": self.store.state_dict(),
            "accounts": self._returns.state_dict(),
            "marks": dict(self._marks),
            "statistics": self.statistics.state_dict(),
            "metrics": dict(self._metrics),
            "rng": self._rng.bit_generator.state,
            "env_steps": self._env_steps,
        }
        return {**state, "warm": True} if self._warm else state

    def load_state_dict(self, state: State) -> None:
        self.policy.load_policy_state(state["policy"])
        for level, name in ((self.controller, "controller"), (self.meta, "meta")):
            level.learner.load_state_dict(state[name]["learner"])
            level.bonus.load_state_dict(state[name]["bonus"])
        self.replay.load_state_dict(state["replay"])
        self.store.load_state_dict(state["store"])
        self._returns.load_state_dict(state["accounts"])
        self._marks = {name: mark.copy() for name, mark in state["marks"].items()}
        self.statistics.load_state_dict(state["statistics"])
        self._metrics = dict(state["metrics"])
        self._rng.bit_generator.state = state["rng"]
        self._env_steps = int(state["env_steps"])
        self._warm = state.get("warm", False)
        self._schedule()

    def warm_start(self, state: State, parts: Collection[str]) -> None:
        self.policy.take(state["policy"])
        self._warm = True
        for level, name in ((self.controller, "controller"), (self.meta, "meta")):
            level.learner.update_target()
            if "bonus" in parts:
                level.bonus.load_state_dict(state[name]["bonus"])
        if "replay" in parts:
            self.replay.take(state["replay"])
            self.store.take(state["store"])

    def load_policy_state(self, state: State) -> None:
        self.policy.load_policy_state(state)


def _level_state(level: Level) -> dict[str, Any]:
    return {"learner": level.learner.state_dict(), "bonus": level.bonus.state_dict()}


def _named(level: str, metrics: Metrics) -> dict[str, Any]:
    """The metrics of one level: "loss/td" becomes "controller/loss_td"."""
    return {f"{level}/{name.replace('/', '_')}": value for name, value in metrics.items()}
