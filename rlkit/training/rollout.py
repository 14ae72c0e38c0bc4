"""The rollout: one policy in N environments. Every row is a real transition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlkit.agent import Policy
from rlkit.environments import Environments, reset
from rlkit.errors import RlkitError, WorkerError
from rlkit.exploration.action_mask import require_choice
from rlkit.training.action_log import ActionLog
from rlkit.training.finite import require_finite
from rlkit.types import ActorState, Mode, Observation, RawStep, State, StepBatch


class Recorder(Protocol):
    """Gives the seeds of resets, and may record actions and steps."""

    def first_seeds(self) -> NDArray[np.int64]: ...
    def seeds_after(self, ended: NDArray[np.bool_]) -> NDArray[np.int64]: ...
    def seeds_after_crash(self, crashed: NDArray[np.bool_]) -> NDArray[np.int64]: ...
    def add_reset(self, observation: Observation, mask: NDArray[np.bool_]) -> None: ...
    def add_step(self, action: NDArray[np.int64], step: RawStep) -> None: ...


class Rollout:
    """Steps N environments: call `start` once, then act, send, receive and reset_ended in a loop."""

    def __init__(self, environments: Environments, recorder: Recorder, rng: np.random.Generator, mode: Mode) -> None:
        self._environments = environments
        self._recorder = recorder
        self._rng = rng
        self._mode = mode
        self._num_actions = environments.spec.num_actions
        self._num_envs = environments.spec.num_envs
        self._observation: Observation
        self._state: ActorState = {}
        self._action: NDArray[np.int64]
        self._last: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None  # action and reward of the newest step
        self._extras: Mapping[str, NDArray[Any]] = {}
        self._ended = np.zeros(self._num_envs, dtype=np.bool_)
        self.crashed: NDArray[np.bool_] | None = None  # (N,) environments that crashed in the newest step; None: none

    @property
    def observation(self) -> Observation:
        """What the next act sees."""
        return self._observation

    @property
    def actor_state(self) -> ActorState:
        """What the next act is given."""
        return self._state

    def start(self, policy: Policy) -> None:
        """Begins an episode in all environments, from new seeds."""
        everyone = np.ones(self._num_envs, dtype=np.bool_)
        self._observation = self._environments.reset(everyone, self._recorder.first_seeds())
        require_finite(self._observation)
        self._recorder.add_reset(self._observation, everyone)
        self._state = policy.initial_state(self._num_envs)
        self._last = None

    def act(self, policy: Policy) -> None:
        require_choice(self._observation)
        output = policy.act(self._observation, self._state, self._rng, self._mode)
        self._action, self._state, self._extras = output.action, output.state, output.extras
        # an invalid action makes some emulators hang; seen as unsigned, negative actions are too large as well
        action = self._action
        fits = action.shape == (self._num_envs,) and action.dtype == np.int64
        if not fits or np.count_nonzero(action.view(np.uint64) >= self._num_actions):
            expected = f"{self._num_envs} int64 in 0..{self._num_actions - 1}"
            raise RlkitError(f"the policy returned actions {action!r}; expected {expected}")

    def send(self) -> None:
        self._environments.send(self._action)

    def receive(self) -> StepBatch:
        raw = self._environments.receive()
        require_finite(raw.after, raw.reward)
        self._recorder.add_step(self._action, raw)
        self.crashed = raw.crashed
        self._last = self._action, raw.reward
        after = self._with_last(raw.after)
        step = StepBatch(
            before=self._observation,
            action=self._action,
            reward=raw.reward,
            discount=raw.discount,
            terminated=raw.terminated,
            truncated=raw.truncated,
            after=after,
            extras=self._extras,
        )
        self._observation = after
        self._ended = step.ended
        return step

    def reset_ended(self) -> None:
        """Begins a new episode in the environments whose episode ended in the latest step."""
        if np.count_nonzero(self._ended):  # takes a quarter of the time of any()
            seeds = self._recorder.seeds_after(self._ended)
            observation = reset(self._environments, self._ended, seeds, self._recorder.seeds_after_crash)
            require_finite(observation)
            self._recorder.add_reset(observation, self._ended)
            self._observation = self._with_last(observation)

    def _with_last(self, observation: Observation) -> Observation:
        """The observation with the action and the reward of the newest step."""
        if self._last is None:
            return observation
        return Observation(observation.obs, observation.signals, observation.first, *self._last)

    def close(self) -> None:
        """Closes the environments; no further step can be made."""
        self._environments.close()

    def state_dict(self) -> State:
        """Actor state, random stream, newest action and reward, and where episodes begin."""
        action, reward = self._last or (None, None)
        return {
            "actor": dict(self._state),
            "last_action": action,
            "last_reward": reward,
            "first": self._observation.first.copy(),
            "rng": self._rng.bit_generator.state,
        }

    def resume(self, state: State, action_log: ActionLog) -> bool:
        """Restores the environments by replaying `action_log`. False if they fail or reach another state.

        In that case nothing of the old episodes is used: call `start`.
        """
        self._rng.bit_generator.state = state["rng"]
        self._state = state["actor"]
        known = state.get("last_action") is not None  # older checkpoints do not have it
        self._last = (state["last_action"], state["last_reward"]) if known else None
        try:
            observation, differs = action_log.play_back(self._environments)
        except WorkerError:  # the recorded steps did not fail when they were made
            return False
        self._observation = self._with_last(observation)
        return not differs.any() and bool((observation.first == state["first"]).all())
