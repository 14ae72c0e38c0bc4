"""Environments without a library around them, for tests that drive an agent themselves, a hundred times a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rlkit.agent import Agent
from rlkit.types import ArraySpec, EnvSpec, Mode, Observation, StepBatch

PLACES = 6
SIDE = 10
LIMIT = 6  # steps after which an episode is truncated
SIGNALS = {
    "memory": ArraySpec((2,), np.uint8),
    "sums": ArraySpec((2,), np.uint8),
    "screen": ArraySpec((SIDE, SIDE, 3), np.uint8),
    "success": ArraySpec((), np.bool_),
}
SPACES = {
    "number": Discrete(PLACES),
    "vector": Box(-2, 2, (3,), np.float32),
    "image": Box(0, 255, (SIDE, SIDE, 3), np.uint8),
}


def line_spec(shown: str, num_envs: int = 2) -> EnvSpec:
    """`shown`: "number", "vector" or "image"."""
    return EnvSpec(SPACES[shown], 3, num_envs, signals=SIGNALS)


class Line:
    """N agents on places 0 to 5 of a line. Actions: left, stay, right. Place 0 terminates, and age truncates.

    Every reward is different, of both signs, and up to 3 in size, so that sums, clipping and losses differ.
    """

    def __init__(self, spec: EnvSpec) -> None:
        self.spec = spec
        self._place = 1 + np.arange(spec.num_envs) % 2
        self._age = np.zeros(spec.num_envs, np.int64)
        self._last: tuple[NDArray[np.int64], NDArray[np.float32]] | tuple[()] = ()

    def observe(self) -> Observation:
        place, age = self._place, self._age
        return Observation(self._shown(), _signals(place, age), age == 0, *self._last)

    def paid(self, reward: NDArray[np.float32]) -> None:
        """Replaces the last reward in what is observed."""
        self._last = (self._last[0], reward) if self._last else ()

    def _shown(self) -> NDArray[Any]:
        place, age = self._place, self._age
        if isinstance(self.spec.observation_space, Discrete):
            return place.copy()
        if len(self.spec.observation_space.shape or ()) == 3:
            return _image(place, age)
        return np.stack((np.sin(place), np.cos(place), age / LIMIT), 1).astype(np.float32)

    def step(self, before: Observation, action: NDArray[np.int64], extras: Mapping[str, Any]) -> StepBatch:
        """One step; where an episode ended the next `observe` begins another one."""
        self._place = np.clip(self._place + action - 1, 0, PLACES - 1)
        self._age = self._age + 1
        reward = (3 * np.sin(7.0 * self._place + 3.0 * self._age + action)).astype(np.float32)
        self._last = action, reward
        terminated = self._place == 0
        truncated = ~terminated & (self._age == LIMIT)
        after = self.observe()
        ended = terminated | truncated
        self._place = np.where(ended, 1 + self._age % 2, self._place)
        self._age = np.where(ended, 0, self._age)
        discount = (~terminated).astype(np.float32)
        return StepBatch(before, action, reward, discount, terminated, truncated, after, extras)


def _image(place: NDArray[np.int64], age: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A bright column at the place, a row at the age, each colour its own shade."""
    image = np.zeros((len(place), SIDE, SIDE, 3), np.uint8)
    envs = np.arange(len(place))
    image[envs, :, place] = [250, 120, 40]
    image[envs, age] = [30, 90, 200]
    return image


def _signals(place: NDArray[np.int64], age: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    memory = np.stack((place, 40 + 10 * age), 1).astype(np.uint8)
    shown = {"memory": memory, "sums": memory + memory[:, ::-1], "screen": _image(place // 2, age)}
    return {**shown, "success": place == 0}


def live(agent: Agent, line: Line, turns: int, seed: int = 0) -> tuple[list[list[int]], set[str]]:
    """Lives through `turns` steps in the engine's order; gives the actions, and the names of all metrics."""
    rng, state = np.random.default_rng(seed), agent.initial_state(line.spec.num_envs)
    actions, names = [], set()
    for _ in range(turns):
        observation = line.observe()
        output = agent.act(observation, state, rng, Mode.EXPLORE)
        names |= set(agent.learn())
        step = line.step(observation, output.action, output.extras)
        agent.observe(step)
        state = output.state
        actions.append(output.action.tolist())
    names |= set(agent.learn())
    return actions, names


class Places:
    """A goal space: some places of the line, told by a signal, whatever is shown."""

    def __init__(self, spec: EnvSpec, places: Sequence[int] = (2, 4, 5)) -> None:
        self.names = [f"place {place}" for place in places]
        self._places = np.array(places)

    def achieved(self, observation: Observation) -> NDArray[np.bool_]:
        here: NDArray[np.bool_] = observation.signals["memory"][:, :1] == self._places
        return here

    def encode(self, goal: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.eye(len(self.names), dtype=np.float32)[goal]


class Sides(Places):
    """Another goal space: the left, and the right."""

    def __init__(self, spec: EnvSpec, places: Sequence[int] = (1, PLACES - 1)) -> None:
        super().__init__(spec, places)


class Doubled(torch.nn.Module):
    """An encoder of a user's own."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.output_size = 2 * int(np.prod(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x, -x), 1).flatten(1)


def tenths(obs: NDArray[Any], signals: Any) -> NDArray[Any]:
    """Features of a user's own."""
    return np.rint(10 * obs.reshape(len(obs), -1)[:, :1])


def halves(obs: NDArray[Any], signals: Any) -> NDArray[Any]:
    """Other features."""
    return np.rint(2 * obs.reshape(len(obs), -1)[:, :1])
