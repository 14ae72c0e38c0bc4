"""CartPole swing-up with sparse reward: the pole hangs, and each step pays 1 while it stands.

Houthooft et al. 2016 (VIME, `cartpole_swingup_env_x.py`) and Tang et al. 2017 (#Exploration, section 3.1), built on
rllab's: a cart of 1 kg and a pole of 0.1 kg (1 m by 0.1 m) on a rail without friction under gravity 10, pushed by up to
10 N in steps of 0.05 s. An episode starts with x in U(-1, 1) m, velocity U(-2, 2) m/s, angle pi + U(-1, 1) from
upright, angular velocity U(-3, 3) rad/s, and ends at |x| > 3. Reward 1 while cos(angle) > 0.8, else 0, and 0 in the
step that ends it. Time limit: the 500 steps of the papers' paths.

The optimum is not known in closed form: 500 less the steps of the swing-up bound it from above.

Deviations (the authors' value, then ours):
1. Action: one real number in [-10, 10] N / three, -10, 0 and 10 N.
2. Dynamics: Box2D, first-order steps of bodies held together by a joint / the same bodies' equations of motion,
   Runge-Kutta steps of the same 0.05 s.
3. Start: the cart is moved and the pole is not, so that the joint first pulls them together / joined from the start.
4. Observation: (x, dx/dt, angle, d angle/dt), the angle unbounded / its cosine and sine in place of the angle, so that
   a full turn leads back to the same observation.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.dynamics import State, runge_kutta

GRAVITY = 10.0  # m/s^2, Box2D's default
CART_MASS = 1.0  # kg
POLE_MASS = 0.1  # kg
HALF_LENGTH = 0.5  # m, from the joint to the pole's centre
INERTIA = POLE_MASS * (1.0**2 + 0.1**2) / 12  # kg m^2, about its centre: a rectangle of 1 m by 0.1 m
FORCE = 10.0  # N
STEP = 0.05  # s
RAIL = 3.0  # m to either side
STANDING = 0.8  # the cosine beyond which a step pays
START_LOW = (-1.0, -2.0, math.pi - 1, -3.0)
START_HIGH = (1.0, 2.0, math.pi + 1, 3.0)


class SparseCartPoleSwingUp(gym.Env[NDArray[np.float32], Any]):
    """See the module. Observations (5,) float32: x in m, dx/dt, cos and sin of the angle, d angle/dt in rad/s."""

    def __init__(self) -> None:
        # the last step may overshoot the rail's end, by less than a metre
        high = np.array([RAIL + 1, np.inf, 1, 1, np.inf], np.float32)
        self.observation_space = spaces.Box(-high, high, dtype=np.float32)
        self.action_space = spaces.Discrete(3)
        self.state: State = (0.0, 0.0, math.pi, 0.0)  # x, dx/dt, angle from upright (counter-clockwise), d angle/dt

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.state = tuple(self.np_random.uniform(START_LOW, START_HIGH).tolist())
        return self._observation(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        force = FORCE * (int(action) - 1)
        self.state = runge_kutta(lambda state: _motion(state, force), self.state, STEP)
        x, _, angle, _ = self.state
        terminated = abs(x) > RAIL
        return self._observation(), float(not terminated and math.cos(angle) > STANDING), terminated, False, {}

    def _observation(self) -> NDArray[np.float32]:
        x, speed, angle, spin = self.state
        return np.array((x, speed, math.cos(angle), math.sin(angle), spin), dtype=np.float32)


def _motion(state: State, force: float) -> State:
    """d/dt (x, speed, angle, spin); Lagrange's equations with the pole's centre at (x - l sin, l cos)."""
    _, speed, angle, spin = state
    sin, cos = math.sin(angle), math.cos(angle)
    arm = POLE_MASS * HALF_LENGTH
    mass, coupling, inertia = CART_MASS + POLE_MASS, -arm * cos, INERTIA + arm * HALF_LENGTH
    # mass * a + coupling * alpha = push;  coupling * a + inertia * alpha = torque
    push, torque = force - arm * sin * spin**2, arm * GRAVITY * sin
    determinant = mass * inertia - coupling**2
    acceleration = (push * inertia - torque * coupling) / determinant
    return speed, acceleration, spin, (torque * mass - push * coupling) / determinant


def state(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Signals: "state" (4,) float32: x, dx/dt, the angle from upright in [-pi, pi], d angle/dt."""
    x, speed, angle, spin = env.unwrapped.state  # type: ignore[attr-defined]
    return {"state": np.array((x, speed, math.remainder(angle, math.tau), spin), dtype=np.float32)}
