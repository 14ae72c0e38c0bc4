"""All MiniGrid worlds at once: the same as the package's environments one by one, bit for bit."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  registers its ids
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from minigrid.core.actions import Actions
from minigrid.core.constants import DIR_TO_VEC, OBJECT_TO_IDX
from minigrid.core.world_object import Ball, Box, Door, Goal, Key, Lava, Wall
from minigrid.wrappers import FullyObsWrapper, ImgObsWrapper
from numpy.typing import NDArray

from envs import minigrid as single
from envs.minigrid_vector import MiniGridConfig, plugin
from envs.minigrid_vector.codes import EMPTY, LOOKS, WALL
from envs.minigrid_vector.draws import Draws, draws
from envs.minigrid_vector.layouts import Layouts
from envs.minigrid_vector.sight import Sight
from envs.minigrid_vector.worlds import Worlds
from helpers.minigrid_rooms import Clutter, Things
from rlkit.errors import ConfigError, SpecError
from rlkit.testing import env_checks
from rlkit.types import Purpose

# one per task, the sizes of views and grids, boxes with keys, lava, moving obstacles
FEW = [
    "MiniGrid-DoorKey-6x6-v0",
    "MiniGrid-MultiRoom-N4-S5-v1",
    "MiniGrid-KeyCorridorS3R2-v0",
    "MiniGrid-ObstructedMaze-1Dlhb-v0",
    "MiniGrid-Unlock-v0",
    "MiniGrid-Fetch-5x5-N2-v0",
    "MiniGrid-GoToDoor-5x5-v0",
    "MiniGrid-GoToObject-6x6-N2-v0",
    "MiniGrid-PutNear-6x6-N2-v0",
    "MiniGrid-MemoryS7-v0",
    "MiniGrid-RedBlueDoors-6x6-v0",
    "MiniGrid-LavaGapS5-v0",
    "MiniGrid-Dynamic-Obstacles-Random-5x5-v0",
]
NEED_IMAGEIO = "MiniGrid-WFC-"
ALL = [name for name in gym.registry if name.startswith("MiniGrid-") and not name.startswith(NEED_IMAGEIO)]


class Twin:
    """N worlds, and N environments of the package beside them; `step` compares everything."""

    def __init__(self, env_id: str, seed: int, num_envs: int = 2, **kwargs: Any) -> None:
        self.worlds = Worlds(Layouts(env_id, kwargs), num_envs)
        self.envs: list[Any] = [gym.make(env_id, disable_env_checker=True, **kwargs) for _ in range(num_envs)]
        self.worlds.reset(range(num_envs), range(seed, seed + num_envs))
        self.views = [env.reset(seed=seed + index)[0]["image"] for index, env in enumerate(self.envs)]
        self.compare()

    def step(self, action: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Returns rewards and ends; ended episodes begin anew, without seeds."""
        reward, terminated, truncated = self.worlds.step(action)
        for index, env in enumerate(self.envs):
            obs, *expected, _ = env.step(int(action[index]))
            self.views[index] = obs["image"]
            assert expected == [reward[index], terminated[index], truncated[index]]
        self.compare()
        ended = terminated | truncated
        for index in np.flatnonzero(ended).tolist():
            self.worlds.reset([index], [None])
            self.views[index] = self.envs[index].reset()[0]["image"]
        if ended.any():
            self.compare()
        return reward, ended

    def compare(self) -> None:
        image = self.worlds.image()
        assert image.dtype == np.uint8
        assert (image == np.stack(self.views)).all()

    def compare_state(self) -> None:
        full = np.stack([FullyObsWrapper(env).observation({})["image"] for env in self.envs])
        assert (self.worlds.full_image() == full).all()

    def jump(self, rng: np.random.Generator) -> None:
        """Moves each agent to a random cell in front of a thing, which random steps would rarely reach."""
        for index, env in enumerate(self.envs):
            cells, world = self.worlds.cells[index], env.unwrapped
            room = cells[1:-1, 1:-1] == EMPTY
            if (cells == EMPTY).sum() > room.sum():  # GoToDoor: no walls around a smaller room
                return
            kind = LOOKS[cells, 0]
            things = (kind != OBJECT_TO_IDX["wall"]) & (cells != EMPTY)
            ahead = [things[1 + x : cells.shape[0] - 1 + x, 1 + y : cells.shape[1] - 1 + y] for x, y in DIR_TO_VEC]
            if len(spots := np.argwhere(np.stack(ahead) & room)):
                direction, x, y = (int(number) for number in rng.choice(spots))
                world.agent_pos, world.agent_dir = (x + 1, y + 1), direction
                self.worlds.agent[index] = index * int(np.prod(self.worlds.layouts.shape)) + self.worlds.layouts.place(
                    (x + 1, y + 1)
                )
                self.worlds.direction[index] = direction

    def walk(self, steps: int, seed: int = 0) -> tuple[int, int]:
        """Random steps and jumps; returns the numbers of rewards and ends."""
        rng = np.random.default_rng(seed)
        weights = np.array([2, 2, 5, 3, 1, 2, 0.5])[: self.worlds.num_actions]
        rewards = ends = 0
        for number in range(steps):
            reward, ended = self.step(rng.choice(len(weights), len(self.envs), p=weights / weights.sum()))
            rewards, ends = rewards + int((reward != 0).sum()), ends + int(ended.sum())
            if number % 20 == 0:
                self.compare_state()
            if number % 4 == 0:
                self.jump(rng)
        return rewards, ends


@pytest.mark.parametrize("env_id", FEW)
def test_steps_are_those_of_the_package(env_id: str) -> None:
    Twin(env_id, seed=3).walk(150)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ALL)
def test_every_environment_steps_as_the_package_does(env_id: str) -> None:
    Twin(env_id, seed=11, num_envs=4).walk(500)
    Twin(env_id, seed=5, num_envs=1, max_steps=40).walk(200)  # truncation, and one more layout after each


def test_only_worlds_that_need_another_package_are_left_out() -> None:
    """The list of what the slow test covers is complete; this part of MiniGrid needs imageio."""
    left_out = [name for name in gym.registry if name.startswith("MiniGrid-") and name not in ALL]
    assert {name.split("-")[1] for name in left_out} == {"WFC"}
    assert len(ALL) >= 75


@pytest.mark.parametrize("options", [{}, {"see_through_walls": True}, {"agent_view_size": 3}, {"agent_view_size": 5}])
def test_random_clutter(options: dict[str, Any]) -> None:
    """All kinds of things, colours and states next to each other, which no registered environment has."""
    twin = Twin("test/Clutter-v0", seed=0, num_envs=4, **options)
    _, ends = twin.walk(150)
    assert ends >= 20  # as many layouts


def test_numbers_one_by_one_are_numpys() -> None:
    """Also between other uses of the generator, and where a number is rejected (spans near 2^32)."""
    ours, theirs = draws(np.random.default_rng(5)), np.random.default_rng(5)
    assert isinstance(ours, Draws)
    plan = np.random.default_rng(0)
    for _ in range(1500):
        low, span = int(plan.integers(-5, 5)), int(plan.choice([1, 2, 3, 6, 25, 3 * 2**30, 2**32, 2**40]))
        if plan.random() < 0.9:
            assert ours.integers(low, low + span) == theirs.integers(low, low + span)
        elif plan.random() < 0.5:
            assert ours.random() == theirs.random()
        else:
            assert (ours.integers(0, 9, 3) == theirs.integers(0, 9, 3)).all()
    for wrong in [(3, 3), (3, 2)]:
        with pytest.raises(ValueError, match="low >= high"):
            ours.integers(*wrong)


def test_an_obstacle_that_cannot_move() -> None:
    """It gives up after as many draws as in the package, or all later layouts and moves would differ."""
    Twin("test/Boxed-v0", seed=0, num_envs=2).walk(40)


LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = Actions
AHEAD, TWO_AHEAD, BELOW = (4, 3), (5, 3), (3, 4)
EDGES: dict[str, tuple[Things, list[Actions], int | None]] = {
    "locked door without a key": ({AHEAD: lambda: Door("red", is_locked=True)}, [TOGGLE, FORWARD], None),
    "locked door, wrong key": (
        {BELOW: lambda: Key("blue"), AHEAD: lambda: Door("red", is_locked=True)},
        [RIGHT, PICKUP, LEFT, TOGGLE, FORWARD],
        None,
    ),
    "locked door, right key; closed, not locked again": (
        {BELOW: lambda: Key("red"), AHEAD: lambda: Door("red", is_locked=True)},
        [RIGHT, PICKUP, LEFT, TOGGLE, TOGGLE, FORWARD, DROP, TOGGLE, FORWARD, FORWARD],
        None,
    ),
    "ball in the colour of the lock": (
        {BELOW: lambda: Ball("red"), AHEAD: lambda: Door("red", is_locked=True)},
        [RIGHT, PICKUP, LEFT, TOGGLE],
        None,
    ),
    "full hands": ({AHEAD: lambda: Key("red"), BELOW: lambda: Ball("blue")}, [PICKUP, RIGHT, PICKUP, LEFT, DROP], None),
    "drop without anything": ({}, [DROP], None),
    "drop on a thing, a wall, a goal": (
        {AHEAD: lambda: Key("red"), BELOW: lambda: Wall(), (2, 3): lambda: Goal(), (3, 2): lambda: Ball("red")},
        [PICKUP, RIGHT, DROP, RIGHT, DROP, RIGHT, DROP, RIGHT, DROP],
        None,
    ),
    "drop into an open door": (
        {AHEAD: lambda: Door("red", is_open=True), BELOW: lambda: Ball("red")},
        [RIGHT, PICKUP, LEFT, DROP, FORWARD],
        None,
    ),
    "box with a key": ({AHEAD: lambda: Box("red", Key("blue"))}, [TOGGLE, PICKUP, FORWARD], None),
    "box with a key, carried": (
        {AHEAD: lambda: Box("red", Key("blue"))},
        [PICKUP, FORWARD, DROP, TOGGLE, PICKUP],
        None,
    ),
    "empty box": ({AHEAD: lambda: Box("green")}, [TOGGLE, TOGGLE, FORWARD], None),
    "things to walk into": ({AHEAD: lambda: Box("green"), BELOW: lambda: Ball()}, [FORWARD, RIGHT, FORWARD], None),
    "pick up a wall, a door, a goal": (
        {AHEAD: lambda: Goal(), BELOW: lambda: Door("red")},
        [PICKUP, RIGHT, PICKUP, RIGHT, RIGHT],
        None,
    ),
    "lava": ({AHEAD: lambda: Lava()}, [TOGGLE, PICKUP, DONE, FORWARD], 0),
    "goal": ({AHEAD: lambda: Goal()}, [FORWARD], 1),
    "views from a doorway": (
        {AHEAD: lambda: Door("red"), TWO_AHEAD: lambda: Ball(), (4, 2): lambda: Wall(), (4, 4): lambda: Wall()},
        [TOGGLE, FORWARD, LEFT, RIGHT, RIGHT, RIGHT],
        None,
    ),
}


@pytest.mark.parametrize("case", EDGES)
def test_rules_of_one_step(case: str) -> None:
    """`end`: None where no step ends the episode, else whether the last one is rewarded."""
    things, actions, end = EDGES[case]
    twin = Twin("test/Room-v0", seed=0, num_envs=1, things=things)
    results = [twin.step(np.array([action])) for action in actions]
    assert [bool(ended) for _, ended in results] == [False] * (len(actions) - 1) + [end is not None]
    assert [bool(reward) for reward, _ in results] == [False] * (len(actions) - 1) + [end == 1]


def config(env_id: str, **options: Any) -> MiniGridConfig:
    return MiniGridConfig(name="minigrid", id=env_id, **options)


@pytest.mark.parametrize("env_id", ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-ObstructedMaze-1Dlhb-v0"])
def test_signals_are_those_of_single_environments(env_id: str) -> None:
    names = ("success", "state", "standing", "position", "direction", "carried", "full")
    environments = plugin.make(config(env_id, signals=names), 1, Purpose.TRAIN)
    env: Any = gym.make(env_id, disable_env_checker=True)
    everyone, rng = np.ones(1, np.bool_), np.random.default_rng(0)
    found = environments.reset(everyone, np.array([4])).signals
    env.reset(seed=4)
    for _ in range(300):
        assert {name: (value.shape[1:], value.dtype) for name, value in found.items()} == {
            name: (spec.shape, spec.dtype) for name, spec in environments.spec.signals.items()
        }
        expected = single.situation(env)
        assert (found["state"][0] == expected["state"]).all()
        assert (found["standing"][0] == expected["standing"]).all()
        assert found["success"][0] == expected.get("success", False)
        state = expected["state"]
        assert (found["position"][0] == state[:2]).all()
        assert (found["direction"][0] == state[2:3]).all()
        assert (found["carried"][0] == state[3:5]).all()
        assert (found["full"][0] == FullyObsWrapper(env).observation({})["image"]).all()
        action = rng.choice(7, p=np.array([2, 2, 5, 3, 1, 3, 0]) / 16)
        environments.send(np.array([action]))
        step, ended = environments.receive(), any(env.step(action)[2:4])
        found = step.after.signals
        assert bool(step.terminated[0] or step.truncated[0]) == ended
        if ended:
            found = environments.reset(everyone, np.array([-1])).signals
            env.reset()


def test_success_where_there_is_no_goal_square() -> None:
    environments = plugin.make(config("MiniGrid-Fetch-5x5-N2-v0"), 8, Purpose.EVALUATE)
    everyone, rng = np.ones(8, np.bool_), np.random.default_rng(0)
    assert not environments.reset(everyone, np.arange(8)).signals["success"].any()
    seen = 0
    for _ in range(200):
        environments.send(rng.integers(0, 4, 8))
        step = environments.receive()
        assert (step.after.signals["success"] == (step.reward > 0)).all()
        seen += int(step.after.signals["success"].sum())
        if (ended := step.terminated | step.truncated).any():
            after = environments.reset(ended, np.full(8, -1))
            assert not after.signals["success"][ended].any()
    assert seen > 0


def test_more_doors_than_fit_are_refused() -> None:
    things = {(1 + index % 5, 1 + index // 5): lambda: Door("red") for index in range(13) if index != 12}
    things[1, 5] = things[5, 5] = things[1, 1]
    rooms = config("test/Room-v0", kwargs={"things": things}, signals=("state",))
    with pytest.raises(SpecError, match="state holds 12 doors, and a layout has 14"):
        plugin.make(rooms, 2, Purpose.TRAIN).reset(np.ones(2, np.bool_), np.arange(2))


@pytest.mark.parametrize(
    "pictured",
    ["MiniGrid-KeyCorridorS3R1-v0", "MiniGrid-LavaGapS5-v0", "test/Clutter-v0"],
)
def test_pictures_are_the_packages(pictured: str) -> None:
    twin = Twin(pictured, seed=1, num_envs=2, tile_size=8)
    rng = np.random.default_rng(0)
    for _ in range(12):
        for index, env in enumerate(twin.envs):
            assert (twin.worlds.picture(index) == env.unwrapped.get_frame(tile_size=8)).all()
        twin.step(rng.integers(0, 7, 2))


CHECKS = [
    (f"{env_id}-{name}", check)
    for env_id, options in [
        ("MiniGrid-MultiRoom-N2-S4-v0", {"signals": ("state", "success")}),
        ("MiniGrid-Dynamic-Obstacles-5x5-v0", {"observation": "full", "layout_seed": 3}),
    ]
    for name, check in env_checks(plugin, config(env_id, **options), steps=100, resets=20)
]


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
def test_conformance(name: str, check: Any) -> None:
    check()


def test_one_layout_for_all_episodes() -> None:
    """As ReseedWrapper with one seed, the moves of obstacles after a reset included."""
    env_id = "MiniGrid-Dynamic-Obstacles-Random-6x6-v0"
    environments = plugin.make(config(env_id, layout_seed=5), 2, Purpose.TRAIN)
    env = ImgObsWrapper(gym.make(env_id, disable_env_checker=True))
    for seed in (1, 2, -1):
        obs = environments.reset(np.ones(2, np.bool_), np.array([seed, seed])).obs
        assert (obs == env.reset(seed=5)[0]).all()
        for action in (0, 1, 1):
            environments.send(np.array([action, action]))
            assert (environments.receive().after.obs == env.step(action)[0]).all()


def test_time_limits() -> None:
    """A limit below max_steps truncates and leaves the scale of the rewards alone."""
    environments = plugin.make(config("MiniGrid-Empty-5x5-v0", max_episode_steps=3), 1, Purpose.TRAIN)
    environments.reset(np.ones(1, np.bool_), np.zeros(1, np.int64))
    ends = []
    for _ in range(3):
        environments.send(np.zeros(1, np.int64))
        ends.append(bool(environments.receive().truncated[0]))
    assert ends == [False, False, True]
    environments = plugin.make(config("MiniGrid-Empty-5x5-v0", max_episode_steps=5), 1, Purpose.TRAIN)
    environments.reset(np.ones(1, np.bool_), np.zeros(1, np.int64))
    for action in (FORWARD, FORWARD, RIGHT, FORWARD, FORWARD):
        environments.send(np.array([action]))
        step = environments.receive()
    assert (step.reward, step.terminated, step.truncated) == (np.float32(1 - 0.9 * 5 / 100), True, True)
    assert plugin.protocol(config("MiniGrid-Empty-5x5-v0", max_episode_steps=3))["time limit"] == "3 steps"
    assert plugin.protocol(config("test/Short-v0"))["time limit"] == "5 steps"  # of its registration
    with pytest.raises(ConfigError, match=r"max_episode_steps: 101 exceeds .* limit of 100 steps; set max_steps"):
        plugin.make(config("MiniGrid-Empty-5x5-v0", max_episode_steps=101), 1, Purpose.TRAIN)


class Slippery(Clutter):
    def step(self, action: Any) -> Any:
        return super().step(action if self.np_random.random() < 0.9 else 0)


class Noisy(Clutter):
    def gen_obs(self) -> Any:
        return super().gen_obs()


class Statue(Ball):
    pass


class Museum(Clutter):
    def _gen_grid(self, width: int, height: int) -> None:
        super()._gen_grid(width, height)
        self.grid.set(1, 1, Statue())


class Nested(Clutter):
    def _gen_grid(self, width: int, height: int) -> None:
        super()._gen_grid(width, height)
        self.grid.set(1, 1, Box("red", Box("red")))


gym.register("test/Slippery-v0", entry_point=Slippery)
gym.register("test/Noisy-v0", entry_point=Noisy)
gym.register("test/Museum-v0", entry_point=Museum)
gym.register("test/Nested-v0", entry_point=Nested)
gym.register("test/Short-v0", entry_point=Clutter, max_episode_steps=5)
gym.register("test/Wrapped-v0", entry_point=Clutter, additional_wrappers=(ImgObsWrapper.wrapper_spec(),))


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        ("BabyAI-GoToRedBall-v0", {}, "BabyAI-GoToRedBall-v0 is not supported: the rewards of RoomGridLevel are not"),
        ("test/Slippery-v0", {}, "test/Slippery-v0 is not supported: the rewards of Slippery are not known"),
        ("test/Noisy-v0", {}, "test/Noisy-v0 is not supported: Noisy has its own gen_obs"),
        ("test/Museum-v0", {}, "test/Museum-v0 is not supported: it contains a Statue, which"),
        ("test/Nested-v0", {}, "test/Nested-v0 is not supported: it contains a Box with a Box inside"),
        ("test/Wrapped-v0", {}, "test/Wrapped-v0 is not supported: it is registered with wrappers"),
        ("CartPole-v1", {}, 'CartPole-v1 is not an environment of MiniGrid; use name = "gymnasium"'),
        ("none:My-v0", {}, "no registered environment 'none:My-v0'; does env.register name the package"),
        ("MiniGrid-DoorKey-7x7-v0", {}, r"no registered environment .* \(did you mean MiniGrid-DoorKey-.x.-v0"),
        ("MiniGrid-DoorKey-8x8-v0", {"sice": 5}, "cannot make MiniGrid-DoorKey-8x8-v0 with {'sice': 5}: .*sice"),
        ("MiniGrid-DoorKey-8x8-v0", {"agent_view_size": 9}, r"agent_view_size is 9; supported are \(3, 5, 7\)"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(env_id: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plugin.make(config(env_id, kwargs=kwargs), 1, Purpose.TRAIN)


def test_larger_multi_rooms() -> None:
    """By arguments and by rlkit's own ids, the same."""
    env = gym.make("rlkit/MultiRoom-N7-S8-v0", disable_env_checker=True)
    rooms = {"minNumRooms": 7, "maxNumRooms": 7, "maxRoomSize": 8}
    by_arguments = Worlds(Layouts("MiniGrid-MultiRoom-N6-v0", rooms), 1)
    by_arguments.reset([0], [2])
    assert (by_arguments.image()[0] == env.reset(seed=2)[0]["image"]).all()
    assert env.unwrapped.max_steps == 140  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("env_id", ["MiniGrid-Dynamic-Obstacles-5x5-v0", "MiniGrid-GoToDoor-5x5-v0"])
def test_the_vector_environment_is_gymnasiums(env_id: str, mode: AutoresetMode) -> None:
    import envs  # noqa: F401

    def make() -> Any:
        return ImgObsWrapper(gym.make(env_id, disable_env_checker=True))

    theirs = SyncVectorEnv([make] * 4, autoreset_mode=mode)
    ours = gym.make_vec("rlkit/MiniGrid-v0", num_envs=4, env_id=env_id, autoreset_mode=mode)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] is mode
    assert (ours.reset(seed=7)[0] == theirs.reset(seed=7)[0]).all()
    rng, ends = np.random.default_rng(0), 0
    for _ in range(80):
        action = rng.integers(0, ours.single_action_space.n, 4)  # type: ignore[attr-defined]
        *mine, info = ours.step(action)
        *expected, their_info = theirs.step(action)
        assert all((a == b).all() for a, b in zip(mine, expected, strict=True))
        ended = mine[2] | mine[3]
        ends += int(ended.sum())
        if mode is AutoresetMode.SAME_STEP and ended.any():
            assert (info["_final_obs"] == their_info["_final_obs"]).all()
            assert (info["final_obs"][ended] == np.stack(list(their_info["final_obs"][ended]))).all()
        if mode is AutoresetMode.DISABLED and ended.any():
            mask = {"reset_mask": ended.copy()}
            assert (ours.reset(options=dict(mask))[0] == theirs.reset(options=dict(mask))[0]).all()
    assert ends > 5


def test_the_vector_environment_with_full_view_signals_and_pictures() -> None:
    rooms = {"kwargs": {"size": 6}, "observation": "full", "signals": ["position"], "render_mode": "rgb_array"}
    worlds = gym.make_vec("rlkit/MiniGrid-v0", num_envs=2, env_id="MiniGrid-DoorKey-8x8-v0", **rooms)
    env: Any = gym.make("MiniGrid-DoorKey-6x6-v0", render_mode="rgb_array")
    obs, info = worlds.reset(seed=[1, 2])
    env.reset(seed=2)
    assert (obs[1] == FullyObsWrapper(env).observation({})["image"]).all()
    assert (info["position"][1] == env.unwrapped.agent_pos).all()
    pictures = worlds.render()
    assert pictures is not None
    assert (pictures[1] == env.render()).all()


def test_the_vector_environment_refuses_wrong_use() -> None:
    env = gym.make_vec("rlkit/MiniGrid-v0", num_envs=2, env_id="MiniGrid-Empty-5x5-v0", autoreset_mode="Disabled")
    with pytest.raises(ValueError, match="observation: all not known; expected full, view"):
        gym.make_vec("rlkit/MiniGrid-v0", env_id="MiniGrid-Empty-5x5-v0", observation="all")
    with pytest.raises(ValueError, match="signals: stat not known; expected carried, direction"):
        gym.make_vec("rlkit/MiniGrid-v0", env_id="MiniGrid-Empty-5x5-v0", signals=["stat"])
    with pytest.raises(ValueError, match=r"render_mode: 'human' is not supported; expected \"rgb_array\" or None"):
        gym.make_vec("rlkit/MiniGrid-v0", env_id="MiniGrid-Empty-5x5-v0", render_mode="human")
    with pytest.raises(ValueError, match="3 seeds"):
        env.reset(seed=[1, 2, 3])
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected 2 of 0\.\.6"):
        env.step(np.array([0, 7]))
    for _ in range(100):
        env.step(np.zeros(2, np.int64))
    with pytest.raises(ValueError, match=r"reset the environments \[0, 1\] first"):
        env.step(np.zeros(2, np.int64))


def test_sight_of_every_row() -> None:
    """The table of rows against the package's loop, for random walls in a 7 x 7 view."""
    from minigrid.core.grid import Grid

    rng = np.random.default_rng(0)
    sight = Sight(7, column=7, through_walls=False)
    for _ in range(300):
        walls = rng.random((7, 7)) < rng.choice([0.2, 0.4, 0.6])
        grid = Grid(7, 7)
        for x, y in np.argwhere(walls).tolist():
            grid.set(x, y, Wall())
        visible = grid.process_vis((3, 6))
        cells = np.where(walls, WALL, EMPTY).astype(np.uint8).ravel()
        up = np.array([3])
        image = sight.image(cells, np.array([3 * 7 + 6]), up, np.array([EMPTY]))[0]
        assert ((image[..., 0] > 0) == visible).all()
