"""An environment whose action mask changes with every step: any other action raises an error."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

MASKED = {"name": "gymnasium", "id": "Masked-v0", "register": ["helpers.masked_world:register"], "action_mask": True}


class Masked(gym.Env[Any, Any]):
    """Observes two random numbers; two of four actions are allowed. The reward is 1 for the lower of them."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self.look()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self.allowed[action]:
            raise ValueError(f"{action} is not allowed")
        reward = float(self.allowed.argmax() == action)
        self.time += 1
        obs, info = self.look()
        return obs, reward, self.time == 8, False, info

    def look(self) -> tuple[Any, dict[str, Any]]:
        self.allowed = self.np_random.permutation(4) < 2
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {"action_mask": self.allowed}


def register() -> None:
    if "Masked-v0" not in gym.registry:
        gym.register("Masked-v0", Masked, max_episode_steps=9)
