"""CartPole swing-up with a sparse reward: the pole hangs at the start, and each step pays 1 while it is upright.

The environment follows Houthooft et al. 2016 (VIME, `cartpole_swingup_env_x.py`) and Tang et al. 2017 (#Exploration,
section 3.1), whose environment is based on rllab's. A cart of 1 kg with a pole of 0.1 kg (1 m by 0.1 m) moves on a rail
without friction under gravity 10. Each step of 0.05 s pushes the cart with a force of up to 10 N. An episode starts
with position U(-1, 1) m, velocity U(-2, 2) m/s, angle pi + U(-1, 1) from upright, and angular velocity U(-3, 3) rad/s.
It ends at |x| > 3. The reward is 1 while cos(angle) > 0.8, and 0 otherwise and in the step that ends the episode. The
time limit is 500 steps, as in the papers.

The optimal return is not known in closed form. It is at most 500 minus the number of steps of the swing-up.

Differences from the authors' code:
1. Action. The authors use one real number in [-10, 10] N. This environment has three actions: -10, 0 and 10 N.
2. Dynamics. The authors use Box2D, which takes first-order steps of bodies connected by a joint. This environment
   integrates the equations of motion of the same bodies with Runge-Kutta steps. The step is 0.05 s in both.
3. Start. The authors place the cart without its pole, and the joint pulls the two together in the first steps. Here
   they are connected from the start.
4. Observation. The authors use (x, dx/dt, angle, d angle/dt) with an unbounded angle. This environment returns the
   cosine and the sine of the angle instead, so a full turn leads back to the same observation.
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
RAIL = 3.0  # m on each side
STANDING = 0.8  # a step pays if the cosine of the angle is larger
START_LOW = (-1.0, -2.0, math.pi - 1, -3.0)
START_HIGH = (1.0, 2.0, math.pi + 1, 3.0)


class SparseCartPoleSwingUp(gym.Env[NDArray[np.float32], Any]):
    """The environment described in the module's docstring.

    Observations are (5,) float32: x in m, dx/dt in m/s, cosine and sine of the angle, d angle/dt in rad/s.
    """

    def __init__(self) -> None:
        # the last step can pass the end of the rail by less than a metre
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
    """d/dt (x, speed, angle, spin): Lagrange's equations with the pole's centre at (x - l sin, l cos)."""
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
