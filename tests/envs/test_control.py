"""The sparse control tasks: Gymnasium's dynamics untouched, and the laws of mechanics for those written here."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium_env

import envs  # noqa: F401  registers rlkit's ids
from envs import cartpole_swingup, mountain_car
from envs.cartpole_swingup import SparseCartPoleSwingUp
from envs.gymnasium import GymnasiumConfig, plugin
from envs.mountain_car import MountainCarGoal, SparseMountainCar
from rlkit.testing import check_env

SIGNALS = {
    "rlkit/MountainCarGoal-v0": "envs.mountain_car:state",
    "rlkit/SparseMountainCar-v0": "envs.mountain_car:state",
    "rlkit/SparseCartPoleSwingUp-v0": "envs.cartpole_swingup:state",
}


def pumped(velocity: float) -> int:
    """Pushes the way the car rolls, which takes it out of any valley."""
    return 2 if velocity >= 0 else 0


@pytest.mark.parametrize("id", SIGNALS)
@pytest.mark.filterwarnings("ignore:.*observation space m.*imum value is -?infinity")
def test_conformance(id: str) -> None:
    check_env(plugin, GymnasiumConfig(name="gymnasium", id=id, signals=SIGNALS[id]))
    check_gymnasium_env(gym.make(id).unwrapped, skip_render_check=True)


def test_mountain_car_goal_is_gymnasiums_but_for_the_reward() -> None:
    ours, theirs = gym.make("rlkit/MountainCarGoal-v0"), gym.make("MountainCar-v0")
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    rng = np.random.default_rng(0)
    reached = cut = 0
    for episode in range(12):
        obs, expected = ours.reset(seed=episode)[0], theirs.reset(seed=episode)[0]
        ended = False
        while not ended:
            assert (obs == expected).all()
            action = pumped(obs[1]) if episode % 2 else rng.integers(3)
            obs, reward, terminated, truncated, _ = ours.step(action)
            expected, _, *ends, _ = theirs.step(action)
            assert [terminated, truncated] == ends
            assert reward == terminated
            ended = terminated or truncated
        assert (obs == expected).all()
        reached += terminated
        cut += truncated
    assert reached == cut == 6


def test_the_car_obeys_conservation_of_energy() -> None:
    """A point mass has one degree of freedom on its track: energy and the work of the push say all of its motion."""

    def energy(x: float, v: float) -> float:
        slope = math.pi / 2 * math.sin(math.pi * x / 2)
        return 0.4 * ((1 + slope**2) * v**2 / 2 + 10 * (1 - math.cos(math.pi * x / 2)))

    def arc(start: float, end: float) -> float:
        x = np.linspace(start, end, 201)
        return float(np.trapezoid(np.sqrt(1 + (math.pi / 2 * np.sin(math.pi * x / 2)) ** 2), x))

    car, rng = SparseMountainCar(), np.random.default_rng(0)
    compared = 0
    for episode in range(30):
        car.reset(seed=episode)
        for _ in range(40):
            before, action = car.state, int(rng.integers(3))
            obs, _, ended, _, _ = car.step(action)
            assert obs.tolist() == pytest.approx(car.state)
            gained = energy(*car.state) - energy(*before)
            if (before[1] > 0) == (car.state[1] > 0):  # it did not turn within the step
                assert gained == pytest.approx((action - 1) * arc(before[0], car.state[0]), abs=2e-3)
                compared += 1
            if ended:
                break
    assert compared > 300


def test_the_car_starts_at_the_bottom_and_is_paid_at_the_goal_alone() -> None:
    car = SparseMountainCar()
    starts = [car.reset(seed=seed)[0].tolist() for seed in range(500)]
    assert {x for x, _ in starts} == {0.0}
    speeds = [v for _, v in starts]
    assert -1 <= min(speeds) < -0.98
    assert 0.98 < max(speeds) <= 1
    for seed in range(20):
        car.reset(seed=seed)
        for _ in range(100):
            _, reward, ended, _, _ = car.step(pumped(car.state[1]))
            assert reward == ended == (car.state[0] >= 0.6)
            if ended:
                break
        assert ended
    car.reset(seed=0)
    assert not any(car.step(2)[1] for _ in range(500))  # it must swing


def test_the_car_cannot_leave_on_the_left() -> None:
    """Who turns before the goal has at most the energy of rest there; pushing left from then on is all that is left."""
    car = SparseMountainCar()
    for start in ((0.6, 0.0), (0.0, -1.0)):
        car.reset()
        car.state = start
        lowest = 0.0
        while car.state[1] <= 0:
            car.step(0)
            lowest = min(lowest, car.state[0])
        assert -1.0 < lowest < -0.1


def cart_energy(x: float, speed: float, angle: float, spin: float) -> float:
    across, down = speed - 0.5 * math.cos(angle) * spin, -0.5 * math.sin(angle) * spin
    turning = 0.1 * (1 + 0.01) / 12 * spin**2 / 2
    return speed**2 / 2 + 0.1 * (across**2 + down**2) / 2 + turning + 0.1 * 10 * 0.5 * math.cos(angle)


def cart_momentum(x: float, speed: float, angle: float, spin: float) -> float:
    return 1.0 * speed + 0.1 * (speed - 0.5 * math.cos(angle) * spin)


def test_the_cart_pole_obeys_conservation_of_energy_and_momentum() -> None:
    """Two degrees of freedom, two laws: with the push's work and impulse they say all of the motion."""
    world, rng = SparseCartPoleSwingUp(), np.random.default_rng(0)
    for episode in range(40):
        world.reset(seed=episode)
        for _ in range(60):
            before, action = world.state, int(rng.integers(3))
            _, _, ended, _, _ = world.step(action)
            after, force = world.state, 10.0 * (action - 1)
            work = force * (after[0] - before[0])
            assert cart_energy(*after) - cart_energy(*before) == pytest.approx(work, abs=3e-3)
            assert cart_momentum(*after) - cart_momentum(*before) == pytest.approx(force * 0.05, abs=1e-3)
            if ended:
                break


def test_the_swing_up_starts_hanging_and_pays_while_it_stands() -> None:
    world = SparseCartPoleSwingUp()
    starts = []
    for seed in range(1000):
        obs, _ = world.reset(seed=seed)
        starts.append(world.state)
        x, speed, angle, spin = world.state
        assert obs.tolist() == pytest.approx([x, speed, math.cos(angle), math.sin(angle), spin], abs=1e-6)
    middle, reach = np.array([0, 0, math.pi, 0]), np.array([1, 2, 1, 3])
    extent = (np.array(starts) - middle) / reach
    assert (np.abs(extent) <= 1).all()
    assert (extent.min(axis=0) < -0.98).all()
    assert (extent.max(axis=0) > 0.98).all()

    rng, seen = np.random.default_rng(0), set()
    for seed in range(60):
        world.reset(seed=seed)
        ended = False
        while not ended:
            _, reward, ended, _, _ = world.step(rng.integers(3))
            x, _, angle, _ = world.state
            assert ended == (abs(x) > 3)
            assert reward == (not ended and math.cos(angle) > 0.8)
            seen.add((ended, math.cos(angle) > 0.8))
    assert seen == {(ended, up) for ended in (False, True) for up in (False, True)}  # a standing pole's last step too


def test_a_hanging_pole_at_rest_stays_and_is_not_paid() -> None:
    world = SparseCartPoleSwingUp()
    world.reset()
    world.state = (0.0, 0.0, math.pi, 0.0)
    assert not any(world.step(1)[1] for _ in range(100))
    assert world.state == pytest.approx((0, 0, math.pi, 0), abs=1e-9)


def test_signals_are_the_state() -> None:
    for car in (MountainCarGoal(), SparseMountainCar()):
        obs, _ = car.reset(seed=3)
        for action in (0, 0, 2):
            assert mountain_car.state(car)["state"].tolist() == obs.tolist()
            obs = car.step(action)[0]
    world: Any = SparseCartPoleSwingUp()
    world.reset(seed=1)
    world.state = (0.5, 1.0, 2 * math.pi + 0.25, -2.0)
    assert cartpole_swingup.state(world)["state"].tolist() == pytest.approx([0.5, 1.0, 0.25, -2.0])
