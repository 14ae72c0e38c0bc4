"""An environment family and a sink as somebody else would write them: no line of rlkit knows of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rlkit.config.model import PluginConfig
from rlkit.environments import Environments
from rlkit.errors import ConfigError
from rlkit.metrics.meters import Row
from rlkit.metrics.sinks import SinkContext
from rlkit.types import EnvSpec, Observation, Purpose, RawStep


class CorridorConfig(PluginConfig):
    length: int = Field(default=5, ge=2, description="Cells; reward 1 in the last one.")
    slip: float = Field(default=0.1, ge=0, le=1, description="Probability that a step goes the other way.")


class Corridors:
    """N corridors as arrays; an episode ends in the last cell, or is truncated after 30 steps."""

    def __init__(self, config: CorridorConfig, num_envs: int) -> None:
        self.spec = EnvSpec(gym.spaces.Discrete(config.length), num_actions=2, num_envs=num_envs)
        self._config = config
        self._cell = np.zeros(num_envs, dtype=np.int64)
        self._age = np.zeros(num_envs, dtype=np.int64)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]
        self._action = np.zeros(num_envs, dtype=np.int64)

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> Observation:
        for env in np.flatnonzero(mask):
            if seeds[env] >= 0:
                self._rngs[env] = np.random.default_rng(int(seeds[env]))
        self._cell[mask] = self._age[mask] = 0
        return Observation(self._cell.copy(), {}, mask.copy())

    def send(self, action: NDArray[np.int64]) -> None:
        self._action = action.copy()

    def receive(self) -> RawStep:
        slips = np.array([rng.random() < self._config.slip for rng in self._rngs])
        self._cell = np.clip(self._cell + np.where(slips, -1, 1) * (2 * self._action - 1), 0, self._config.length - 1)
        self._age += 1
        terminated = self._cell == self._config.length - 1
        after = Observation(self._cell.copy(), {}, np.zeros(len(slips), dtype=np.bool_))
        discount = 1 - terminated.astype(np.float32)
        return RawStep(after, terminated.astype(np.float32), discount, terminated, ~terminated & (self._age >= 30))

    def close(self) -> None:
        pass


class CorridorPlugin:
    config = CorridorConfig

    def make(self, config: CorridorConfig, num_envs: int, purpose: Purpose) -> Environments:
        if purpose is Purpose.RENDER:
            raise ConfigError("a corridor cannot be drawn")
        return Corridors(config, num_envs)

    def protocol(self, config: CorridorConfig) -> Mapping[str, str]:
        return {"environment": f"corridor of {config.length}", "time limit": "30 steps"}

    def reference_scores(self, config: CorridorConfig) -> Mapping[str, Any] | None:
        return None


class CountingSink:
    """RUN/rows.json: how often each name was written."""

    def __init__(self, context: SinkContext) -> None:
        self._path = context.folder / "rows.json"
        self._counts: dict[str, int] = {}

    def write(self, env_steps: int, row: Row) -> None:
        for name in row:
            self._counts[name] = self._counts.get(name, 0) + 1

    def close(self) -> None:
        self._path.write_text(json.dumps(self._counts))


corridor = CorridorPlugin()
