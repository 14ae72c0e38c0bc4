"""The action log: seeds and actions of each environment, from which its state can be restored and verified."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.environments import Environments, reset
from rlkit.errors import RunError
from rlkit.seeding import Streams
from rlkit.training.parts import Notable, Part, prune
from rlkit.types import Observation, RawStep, State


def require_actions(actions: NDArray[np.integer[Any]], num_actions: int) -> None:
    """Raises RunError if a log has an action that the environment does not have."""
    if actions.size and not (actions.min() >= 0 and actions.max() < num_actions):
        wrong = actions[(actions < 0) | (actions >= num_actions)].flat[0]
        raise RunError(f"the action log is damaged: action {wrong}, of an environment with {num_actions} actions")


class RowHash:
    """A running checksum per environment over its observations, rewards and episode ends."""

    def __init__(self, num_envs: int) -> None:
        self.value = [0] * num_envs

    def reset(self, env: int) -> None:
        self.value[env] = 0

    def add_observation(self, obs: NDArray[Any], rows: NDArray[np.intp]) -> None:
        obs = np.ascontiguousarray(obs)
        for env in rows:
            self.value[env] = zlib.crc32(obs[env], self.value[env])

    def add_step(self, step: RawStep) -> None:
        obs, reward = np.ascontiguousarray(step.after.obs), step.reward
        terminated, truncated = step.terminated.tolist(), step.truncated.tolist()
        for env, value in enumerate(self.value):
            value = zlib.crc32(reward[env], zlib.crc32(obs[env], value))
            self.value[env] = zlib.crc32(b"\1" if terminated[env] else b"\2" if truncated[env] else b"\0", value)


class ActionLog:
    """The actions of N environments, of each since its latest seed.

    `actions` is a (T, N) matrix. The part of environment e begins at row `start[e]`, where it was reset with `seed[e]`.
    An environment gets a new seed at its first episode end after `reseed_after` steps. Its part so far is then closed:
    written to `folder` as a `Part`, and dropped. The oldest closed parts are removed where all of them exceed `limit`
    bytes, except for those with notable episodes.

    Where an environment crashed, its part ends before the action that crashed, and its next one begins with a new seed.
    """

    def __init__(
        self,
        streams: Streams,
        num_envs: int,
        reseed_after: int,
        folder: Path | None = None,
        limit: int | None = None,
    ) -> None:
        self._streams = streams
        self._reseed_after = reseed_after
        self._folder = folder
        self._limit = limit
        self._actions = np.zeros((1024, num_envs), dtype=np.int64)
        self._length = 0  # rows in use
        self._dropped = 0  # rows before them since the run began
        self._start = np.zeros(num_envs, dtype=np.int64)
        self._resets = np.zeros(num_envs, dtype=np.int64)  # number of seeds used, per environment
        self._hash = RowHash(num_envs)
        self.restarts = 0  # crashed environments that were made anew
        self._notable = Notable(num_envs)

    def _seed(self, env: int) -> int:
        return self._streams.seed("environment", env, int(self._resets[env]))

    def first_seeds(self) -> NDArray[np.int64]:
        """(N,) a new seed for every environment; restarts the log."""
        for env in range(len(self._start)):
            self._restart(env)
        self._drop_rows()
        return self.seeds()

    def seeds_after(self, ended: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(N,) the seeds to reset the ended environments with; -1: the environment's generator continues."""
        seeds = np.full(len(ended), -1, dtype=np.int64)
        crashed = ended & (self._start == self._length)
        seeds[crashed] = self.seeds()[crashed] if crashed.any() else -1
        due = ended & ~crashed & (self._length - self._start >= self._reseed_after)
        return np.where(due, self._new_seeds(due), seeds) if due.any() else seeds

    def seeds_after_crash(self, crashed: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(N,) new seeds for the environments that crashed in a reset without one; -1: another environment."""
        self.restarts += int(crashed.sum())
        return self._new_seeds(crashed)

    def _new_seeds(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(N,) a new seed for each environment of `mask`, whose part ends here; -1 elsewhere."""
        seeds = np.full(len(mask), -1, dtype=np.int64)
        for env in np.flatnonzero(mask):
            self._close(int(env))
            self._restart(int(env))
            seeds[env] = self._seed(int(env))
        self._drop_rows()
        return seeds

    def add_reset(self, observation: Observation, mask: NDArray[np.bool_]) -> None:
        self._hash.add_observation(observation.obs, np.flatnonzero(mask))

    def add_step(self, action: NDArray[np.int64], step: RawStep) -> None:
        crashed = () if step.crashed is None else np.flatnonzero(step.crashed)
        for env in crashed:  # before the action that crashed, so that playing back never meets the crash
            self._close(int(env))
        if self._length == len(self._actions):
            self._actions = np.concatenate([self._actions, np.zeros_like(self._actions)])
        self._actions[self._length] = action
        self._length += 1
        self._hash.add_step(step)
        self._notable.add(step)
        for env in crashed:
            self._restart(int(env))
            self.restarts += 1

    def _restart(self, env: int) -> None:
        self._start[env] = self._length
        self._resets[env] += 1
        self._hash.reset(env)
        self._notable.begin(env)

    def _close(self, env: int) -> None:
        if self._folder is None or self._start[env] == self._length:
            return
        first, kept = self._dropped + int(self._start[env]), self._notable.in_part(env)
        part = Part.of(self._folder, env, first, self._seed(env), self._hash.value[env], kept)
        part.write(self._actions[self._start[env] : self._length, env])
        if self._limit is not None:
            prune(self._folder, self._limit)

    def _drop_rows(self) -> None:
        """Drops the rows before the start of every environment."""
        unused = int(self._start.min())
        if unused:
            self._actions[: self._length - unused] = self._actions[unused : self._length]
            self._length -= unused
            self._start -= unused
            self._dropped += unused

    def seeds(self) -> NDArray[np.int64]:
        """(N,) the latest seed of each environment."""
        return np.array([self._seed(env) for env in range(len(self._start))], dtype=np.int64)

    def state_dict(self) -> State:
        return {
            "actions": self._actions[: self._length].copy(),
            "dropped": self._dropped,
            "start": self._start.copy(),
            "resets": self._resets.copy(),
            "hash": list(self._hash.value),
            "restarts": self.restarts,
            "notable": self._notable.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        self._actions = np.concatenate([state["actions"], np.zeros((1024, len(self._start)), dtype=np.int64)])
        self._length = len(state["actions"])
        self._dropped = state["dropped"]
        self._start = state["start"].copy()
        self._resets = state["resets"].copy()
        self._hash.value = list(state["hash"])
        self.restarts = state.get("restarts", 0)  # not in version 0.1.0
        if "notable" in state:  # not in version 0.1.0
            self._notable.load_state_dict(state["notable"])

    def play_back(
        self, environments: Environments, on_row: Callable[[int], None] = lambda rows: None
    ) -> tuple[Observation, NDArray[np.bool_]]:
        """Brings fresh environments to the state at the end of the log.

        All environments take all actions, and each is reset with its seed at its own start row, so the actions before
        do not matter. Returns the current observation and (N,) which environments reached another state. Raises
        RunError for actions that there are not: some emulators never return from such a step.
        """
        require_actions(self._actions[: self._length], environments.spec.num_actions)
        seeds = self.seeds()
        check = RowHash(len(seeds))
        everyone = np.ones(len(seeds), dtype=np.bool_)
        observation = environments.reset(everyone, seeds)
        check.add_observation(observation.obs, np.flatnonzero(everyone))
        for row in range(self._length):
            environments.send(self._actions[row].copy())
            step = environments.receive()
            check.add_step(step)
            observation = step.after
            begins = self._start == row + 1
            mask = step.terminated | step.truncated | begins
            if mask.any():
                for env in np.flatnonzero(begins):
                    check.reset(int(env))
                observation = reset(environments, mask, np.where(begins, seeds, -1), lambda _: seeds)
                check.add_observation(observation.obs, np.flatnonzero(mask))
            on_row(row + 1)
        return observation, np.array(check.value) != np.array(self._hash.value)
