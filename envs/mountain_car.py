"""Two MountainCar environments that pay a reward at the goal only.

`MountainCarGoal` is Gymnasium's MountainCar-v0 (Moore 1990; Sutton & Barto) with reward 1 in the step that reaches the
goal, and 0 otherwise. Its time limit is 200 steps, as in MountainCar-v0.

`SparseMountainCar` follows Houthooft et al. 2016 (VIME, `mountain_car_env_x.py`) and Tang et al. 2017 (#Exploration,
section 3.1), whose environment is based on rllab's. A car of 0.4 kg is in the valley y = 1 - cos(pi x / 2) under
gravity 10. Each step of 0.05 s pushes it along the track with a force of up to 1 N. The car starts at the bottom, x =
0, with velocity U(-1, 1). At x >= 0.6 it receives reward 1, and the episode ends. The observation is (x, dx/dt). The
force is a quarter of the car's weight, so the car must swing to reach the goal. The time limit is 500 steps, as in the
papers.

Differences of `SparseMountainCar` from the authors' code:
1. Action. The authors use one real number in [-1, 1] N. This environment has three actions: -1, 0 and 1 N.
2. Dynamics. The authors use Box2D with a box of 0.4 m by 0.2 m, friction 0.0005 and first-order steps. This environment
   uses a point mass without friction and Runge-Kutta steps. The step is 0.05 s in both.
3. End. In the authors' code the episode also ends at |x| >= 2, with the same reward as at the goal. Here it ends at the
   goal only. This makes no difference, because no sequence of pushes takes the car beyond x = -1 before it reaches the
   goal.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.mountain_car import MountainCarEnv
from numpy.typing import NDArray

from envs.dynamics import State, runge_kutta

GRAVITY = 10.0  # m/s^2, Box2D's default
MASS = 0.4  # kg: 5 kg/m^2 times 0.4 m by 0.2 m
FORCE = 1.0  # N
STEP = 0.05  # s
GOAL = 0.6  # m
START_SPEED = 1.0  # m/s


class MountainCarGoal(MountainCarEnv):
    """Gymnasium's MountainCar-v0 with reward 1 at the goal and 0 elsewhere."""

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, _, terminated, truncated, info = super().step(action)
        return obs, float(terminated), terminated, truncated, info


class SparseMountainCar(gym.Env[NDArray[np.float32], Any]):
    """The environment described in the module's docstring.

    Observations are (2,) float32: position in m, and its rate of change in m/s.
    """

    def __init__(self) -> None:
        # the pushes bound the speed, but the space does not state this bound
        low, high = np.array([-2, -np.inf], np.float32), np.array([2, np.inf], np.float32)
        self.observation_space = spaces.Box(low, high, dtype=np.float32)
        self.action_space = spaces.Discrete(3)
        self.state: State = (0.0, 0.0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.state = (0.0, float(self.np_random.uniform(-START_SPEED, START_SPEED)))
        return np.array(self.state, dtype=np.float32), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        force = FORCE * (int(action) - 1)
        self.state = runge_kutta(lambda state: _car(state, force), self.state, STEP)
        terminated = self.state[0] >= GOAL
        return np.array(self.state, dtype=np.float32), float(terminated), terminated, False, {}


def _car(state: State, force: float) -> State:
    """d/dt (x, v) of a point mass on y = 1 - cos(pi x / 2) pushed along the track (Lagrange, in x)."""
    x, v = state
    slope = math.pi / 2 * math.sin(math.pi / 2 * x)
    curvature = math.pi**2 / 4 * math.cos(math.pi / 2 * x)  # the second derivative
    length = 1 + slope**2  # (arc length per x), squared
    return v, (force * math.sqrt(length) / MASS - slope * (curvature * v**2 + GRAVITY)) / length


def state(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Signals of both environments: "state" (2,) float32, position and velocity."""
    return {"state": np.asarray(env.unwrapped.state, dtype=np.float32)}  # type: ignore[attr-defined]
