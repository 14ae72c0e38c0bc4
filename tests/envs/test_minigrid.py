"""MiniGrid's own state as a signal, and one fixed layout by config."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  registers its ids
import numpy as np
import pytest
from minigrid.core.constants import COLOR_TO_IDX
from minigrid.core.world_object import Door, Key
from minigrid.wrappers import FullyObsWrapper

from envs.gymnasium import GymnasiumConfig, plugin
from envs.minigrid import StateObsWrapper, state
from rlkit.errors import ConfigError, SpecError
from rlkit.testing import check_env
from rlkit.types import Purpose

OPEN, CLOSED, LOCKED = 0, 1, 2
KEY, DOOR, AGENT = 5, 4, 10
WORLDS = ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-MultiRoom-N6-v0", "MiniGrid-KeyCorridorS3R2-v0"]


def fixed(id: str, *seeds: int) -> GymnasiumConfig:
    reseeded = {"path": "minigrid.wrappers:ReseedWrapper", "kwargs": {"seeds": list(seeds)}}
    wrappers = ("minigrid.wrappers:ImgObsWrapper", reseeded)
    return GymnasiumConfig(
        name="gymnasium", id=id, register=("minigrid",), wrappers=wrappers, signals="envs.minigrid:state"
    )


@pytest.mark.parametrize("id", WORLDS)
def test_the_state_is_what_the_full_view_shows(id: str) -> None:
    env = FullyObsWrapper(gym.make(id))
    grid: Any = env.unwrapped
    rng = np.random.default_rng(0)
    for seed in range(4):
        full = env.reset(seed=seed)[0]["image"]  # (width, height, 3): kind, colour, state
        for _ in range(100):
            found = state(env)["state"]
            assert found.shape == (17,)
            assert found.dtype == np.int16
            ((x, y),) = np.argwhere(full[:, :, 0] == AGENT)
            assert found[:3].tolist() == [x, y, full[x, y, 2]]
            cells = grid.grid.encode().transpose(1, 0, 2).reshape(-1, 3)  # row by row, without the agent
            doors = cells[cells[:, 0] == DOOR][:, 2].tolist()
            assert found[5:].tolist() == doors + [-1] * (12 - len(doors))
            obs, _, terminated, truncated, _ = env.step(rng.choice([0, 1, 2, 2, 3, 4, 5]))
            full = obs["image"]
            if terminated or truncated:
                break


@pytest.mark.parametrize(
    ("id", "doors", "objects"), [("MiniGrid-DoorKey-6x6-v0", 1, 1), ("MiniGrid-MultiRoom-N2-S4-v0", 1, 0)]
)
def test_the_state_as_observation_hides_nothing_of_one_layout(id: str, doors: int, objects: int) -> None:
    """Over a random walk, each observation stands for one full view and one carried object, and the other way round."""
    full = FullyObsWrapper(gym.make(id, max_steps=10_000))
    short = StateObsWrapper(full, doors, objects)
    obs, _ = short.reset(seed=1)
    world: Any = short.unwrapped
    rng = np.random.default_rng(0)
    views: dict[bytes, bytes] = {}
    for _ in range(1500):
        assert short.observation_space.contains(obs)
        held = "" if world.carrying is None else world.carrying.type
        view = full.observation({})["image"].tobytes() + held.encode()
        assert views.setdefault(obs.tobytes(), view) == view
        obs, _, terminated, truncated, _ = short.step(rng.choice([0, 1, 2, 2, 3, 4, 5]))
        if terminated or truncated:
            obs, _ = short.reset(seed=1)
    assert len(set(views.values())) == len(views) > 40


def test_the_state_as_observation_says_what_it_has_no_room_for() -> None:
    with pytest.raises(SpecError, match="this environment has 5 doors and 0 loose objects: give StateObsWrapper doors"):
        StateObsWrapper(gym.make("MiniGrid-MultiRoom-N6-v0"), doors=4).reset(seed=0)
    with pytest.raises(SpecError, match=r"1 doors and 1 loose objects.*now 1 and 0"):
        StateObsWrapper(gym.make("MiniGrid-DoorKey-5x5-v0"), objects=0).reset(seed=0)


def test_keys_and_doors_of_a_walk() -> None:
    """DoorKey, with the agent set before the key and before the door: what is carried, and a door's three states."""
    env = gym.make("MiniGrid-DoorKey-5x5-v0")
    env.reset(seed=0)
    world: Any = env.unwrapped
    places = {type(cell): divmod(index, world.width) for index, cell in enumerate(world.grid.grid) if cell is not None}

    def face(kind: type) -> None:
        row, column = places[kind]
        world.agent_pos, world.agent_dir = (column - 1, row), 0

    def seen() -> tuple[list[int], int]:
        values = state(env)["state"]
        return values[3:5].tolist(), int(values[5])

    colour = COLOR_TO_IDX[world.grid.get(*places[Key][::-1]).color]
    assert seen() == ([-1, -1], LOCKED)
    face(Key)
    env.step(world.actions.pickup)
    assert seen() == ([KEY, colour], LOCKED)
    face(Door)
    env.step(world.actions.toggle)
    assert seen() == ([KEY, colour], OPEN)
    env.step(world.actions.toggle)
    assert seen() == ([KEY, colour], CLOSED)


def test_success_is_the_goal_square() -> None:
    env = gym.make("MiniGrid-DoorKey-5x5-v0")
    env.reset(seed=0)
    world: Any = env.unwrapped
    assert not state(env)["success"]
    world.agent_pos, world.agent_dir = (3, 2), 1  # right above the goal, facing it
    assert env.step(world.actions.forward)[2]
    assert state(env)["success"]
    ball = gym.make("MiniGrid-KeyCorridorS3R1-v0")  # its end is a ball picked up
    ball.reset(seed=0)
    assert set(state(ball)) == {"state"}


def test_more_doors_than_fit_are_refused() -> None:
    env = gym.make("MiniGrid-Empty-8x8-v0")
    env.reset(seed=0)
    world: Any = env.unwrapped
    for index in range(13):
        world.grid.set(index % 6 + 1, index // 6 + 2, Door("red"))
    with pytest.raises(SpecError, match="holds 12 doors, and this environment has 13"):
        state(env)


@pytest.mark.parametrize("id", WORLDS[1:])
def test_one_seed_fixes_the_layout(id: str) -> None:
    environments = plugin.make(fixed(id, 3), 2, Purpose.TRAIN)
    everyone = np.ones(2, dtype=np.bool_)
    first = environments.reset(everyone, np.array([5, 6]))
    again = environments.reset(everyone, np.array([7, -1]))
    environments.close()
    free = gym.make(id)
    layouts = set()
    for seed in (3, 4, 5):
        free.reset(seed=seed)
        layouts.add(state(free)["state"].tobytes())
        if seed == 3:
            assert (first.signals["state"] == state(free)["state"]).all()
    assert len(layouts) > 1  # by itself the world differs from seed to seed
    assert (first.obs == again.obs).all()
    assert (first.obs[0] == first.obs[1]).all()
    assert (first.signals["state"] == again.signals["state"]).all()


@pytest.mark.parametrize("id", ["MiniGrid-DoorKey-8x8-v0", "MiniGrid-MultiRoom-N6-v0"])
def test_a_fixed_layout_passes_the_conformance_suite(id: str) -> None:
    check_env(plugin, fixed(id, 3), resets=10)


def test_the_protocol_names_the_layout() -> None:
    wrappers = plugin.protocol(fixed("MiniGrid-DoorKey-8x8-v0", 3))["wrappers"]
    assert wrappers == "minigrid.wrappers:ImgObsWrapper, minigrid.wrappers:ReseedWrapper(seeds=[3])"


def test_several_seeds_are_refused_with_the_reason() -> None:
    """The wrapper goes through them in turn and goes on after a seeded reset: such a run could not be resumed."""
    with pytest.raises(ConfigError, match=r"ReseedWrapper with 2 seeds does not restart.*seeds = \[0\]"):
        plugin.make(fixed("MiniGrid-DoorKey-5x5-v0", 0, 1), 1, Purpose.TRAIN)
