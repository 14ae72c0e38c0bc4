"""MountainCar with reward at the goal alone: on Gymnasium's dynamics, and the one of #Exploration.

`MountainCarGoal` is Gymnasium's MountainCar-v0 (Moore 1990; Sutton & Barto) with reward 1 in the step that reaches the
goal, else 0. Its time limit is MountainCar-v0's 200 steps.

`SparseMountainCar` is that of Houthooft et al. 2016 (VIME, `mountain_car_env_x.py`) and Tang et al. 2017 (#Exploration,
section 3.1), built on rllab's: a car of 0.4 kg in the valley y = 1 - cos(pi x / 2), pushed along the track by up to
1 N under gravity 10, steps of 0.05 s. It starts at the bottom, x = 0, with velocity U(-1, 1); reward 1 and the end at
x >= 0.6; observation (x, dx/dt). The push is a quarter of the weight, so it must swing. Time limit: the 500 steps of
the papers' paths.

Deviations of `SparseMountainCar` (the authors' value, then ours):
1. Action: one real number in [-1, 1] N / three, -1, 0 and 1 N.
2. Dynamics: Box2D, a box of 0.4 m by 0.2 m with friction 0.0005, first-order steps / a point mass without friction,
   Runge-Kutta steps of the same 0.05 s.
3. End: also at |x| >= 2, which their code pays like the goal / only the goal; from a start no sequence of pushes leads
   beyond x = -1 before the goal, so it makes no difference here.
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
MASS = 0.4  # kg: 5 kg/m^2, 0.4 m by 0.2 m
FORCE = 1.0  # N
STEP = 0.05  # s
GOAL = 0.6  # m
START_SPEED = 1.0  # m/s


class MountainCarGoal(MountainCarEnv):
    """Gymnasium's MountainCar-v0, reward 1 at the goal and 0 elsewhere."""

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, _, terminated, truncated, info = super().step(action)
        return obs, float(terminated), terminated, truncated, info


class SparseMountainCar(gym.Env[NDArray[np.float32], Any]):
    """See the module. Observations (2,) float32: position in m, its rate of change in m/s."""

    def __init__(self) -> None:
        # the speed is bounded by the energy that pushes can give; no bound is claimed for it
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
    """d/dt (x, v) of a point mass on y = 1 - cos(pi x / 2), pushed along the track; Lagrange's equation in x."""
    x, v = state
    slope = math.pi / 2 * math.sin(math.pi / 2 * x)
    curvature = math.pi**2 / 4 * math.cos(math.pi / 2 * x)  # the second derivative
    length = 1 + slope**2  # (arc length per x), squared
    return v, (force * math.sqrt(length) / MASS - slope * (curvature * v**2 + GRAVITY)) / length


def state(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Signals of either car: "state" (2,) float32, position and velocity."""
    return {"state": np.asarray(env.unwrapped.state, dtype=np.float32)}  # type: ignore[attr-defined]
