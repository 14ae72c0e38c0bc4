"""The Gymnasium plug-in: what a config may say, what is refused and how, and what comes out."""

from __future__ import annotations

import tomllib
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from envs.action_names import action_names
from envs.gymnasium import Build, GymnasiumConfig, WrapperConfig, plugin
from envs.wrapping import sticky_actions, time_limit
from rlkit.config.load import resolve
from rlkit.config.tables import Config
from rlkit.environments import Environments
from rlkit.errors import ConfigError, SpecError
from rlkit.types import Purpose, Stack

IMAGE = "minigrid.wrappers:ImgObsWrapper"
CLIFF = max(id for id in gym.registry if id.startswith("CliffWalking-v"))  # its version depends on Gymnasium's
STACK = "gymnasium.wrappers:FrameStackObservation"


def config(id: str, **values: Any) -> GymnasiumConfig:
    return GymnasiumConfig(name="gymnasium", id=id, **values)


def minatar(game: str, **values: Any) -> GymnasiumConfig:
    return config(f"MinAtar/{game}-v1", register=("minatar.gym:register_envs",), max_episode_steps=500, **values)


def made(config: GymnasiumConfig, num_envs: int = 1, purpose: Purpose = Purpose.TRAIN) -> Environments:
    environments = plugin.make(config, num_envs, purpose)
    environments.reset(np.ones(num_envs, dtype=np.bool_), np.arange(num_envs))
    return environments


def resolved(toml: str) -> Config:
    tables = {"agent": {"name": "random"}, "train": {"steps": 1}, **tomllib.loads(toml)}
    return resolve("test", tables)


def signals(env: gym.Env) -> dict[str, Any]:
    return {"position": np.asarray(env.unwrapped.agent_pos, dtype=np.int16)}


def last_action(env: gym.Env) -> dict[str, Any]:
    return {"last action": np.int64(env.unwrapped.game.last_action)}


def scaled(env: gym.Env, by: Any) -> gym.Env:
    return gym.wrappers.TransformReward(env, by.sum())


def not_an_environment(env: gym.Env) -> int:
    return 3


def test_wrappers_from_toml_and_back() -> None:
    toml = f"""
    [env]
    name = "gymnasium"
    id = "MiniGrid-DoorKey-5x5-v0"
    register = ["minigrid"]
    wrappers = ["{IMAGE}", {{ path = "{STACK}", kwargs = {{ stack_size = 3, padding_type = "zero" }} }}]
    """
    table = f"""
    [env]
    name = "gymnasium"
    id = "MiniGrid-DoorKey-5x5-v0"
    register = ["minigrid"]
    [[env.wrappers]]
    path = "{IMAGE}"
    [[env.wrappers]]
    path = "{STACK}"
    kwargs = {{ stack_size = 3, padding_type = "zero" }}
    """
    for text in (toml, table):
        found = resolved(text)
        assert resolve("again", tomllib.loads(found.to_toml())).env == found.env
        spec = made(found.env).spec
        assert spec.observation_space.shape == (3, 7, 7, 3)
        assert spec.stack == Stack(axis=0, size=3, padding="zero")


def test_unknown_keys_and_values_are_named() -> None:
    with pytest.raises(ConfigError, match=r"env.mod: unknown key \(did you mean mode"):
        resolved('env = {name = "gymnasium", id = "CartPole-v1", mod = "sync"}')
    with pytest.raises(ConfigError, match=r"env.mode: .*'sync' or 'async'"):
        resolved('env = {name = "gymnasium", id = "CartPole-v1", mode = "threads"}')
    with pytest.raises(ConfigError, match=r"env.max_episode_steps: .*greater than or equal to 1"):
        resolved('env = {name = "gymnasium", id = "CartPole-v1", max_episode_steps = 0}')
    with pytest.raises(ConfigError, match='render_mode is set by rlkit; remove it, or give "rgb_array"'):
        resolved('env = {name = "gymnasium", id = "CartPole-v1", kwargs = {render_mode = "human"}}')


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id": "CartPole-v7"}, "env.id: .*'CartPole-v7' .did you mean CartPole-v1"),
        ({"id": "Cartpole-v1"}, "did you mean CartPole-v1"),
        ({"id": "Zzz/Qqqqq-v0"}, "does env.register name the package"),
        ({"id": "CartPole-v1", "register": ("no_such_module",)}, "no module 'no_such_module'"),
        ({"id": "CartPole-v1", "register": ("minatar.gym:nothing",)}, "has no 'nothing'"),
        ({"id": "CartPole-v1", "kwargs": {"gravity": 3}}, "cannot make CartPole-v1 with .*unexpected keyword"),
        ({"id": "CartPole-v1", "wrappers": ("gymnasium.wrappers:Nope",)}, "has no 'Nope'"),
        ({"id": "CartPole-v1", "wrappers": (STACK,)}, "FrameStackObservation with {} failed.*stack_size"),
        ({"id": "CartPole-v1", "wrappers": (f"{__name__}:not_an_environment",)}, "returned int; expected an env"),
        ({"id": "CartPole-v1", "wrappers": ("gymnasium.wrappers:NormalizeObservation",)}, "keeps its statistics"),
        ({"id": "CartPole-v1", "wrappers": ("gymnasium.wrappers:NormalizeReward",)}, "keeps its statistics"),
        ({"id": "CartPole-v1", "wrappers": ("gymnasium.wrappers:Autoreset",)}, "only the engine may do this"),
        (
            {"id": "CartPole-v1", "wrappers": ({"path": "gymnasium.wrappers:MaxAndSkipObservation"},)},
            "MaxAndSkipObservation keeps its frames over resets",
        ),
        (
            {
                "id": "CartPole-v1",
                "wrappers": ({"path": "gymnasium.wrappers:TransformReward", "kwargs": {"func": "a:b"}},),
            },
            "TransformReward wants a function for 'func', got 'a:b'; TOML has no functions .*my_module:wrapped",
        ),
        (
            {
                "id": "CartPole-v1",
                "wrappers": ({"path": f"{__name__}:scaled", "kwargs": {"by": [1, 2]}},),
            },
            "scaled with {'by': .1, 2.} failed: AttributeError: 'list' .*TOML has no functions and no arrays",
        ),
        ({"id": "CartPole-v1", "signals": "no_such_module:f"}, "no module 'no_such_module'"),
        ({"id": CLIFF}, f"env.max_episode_steps: missing; {CLIFF} states no time limit"),
        (
            {"id": "MiniGrid-DoorKey-5x5-v0", "register": ("minigrid",), "max_episode_steps": 251},
            "251 exceeds the environment's own limit of 250 steps",
        ),
    ],
)
def test_what_does_not_exist_or_work_is_one_clear_line(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        plugin.make(config(**values), 1, Purpose.TRAIN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"id": "MiniGrid-DoorKey-5x5-v0", "register": ("minigrid",)},
            "'mission' .MissionSpace. are not.*FilterObservation.*filter_keys = .'direction', 'image'.*ImgObsWrapper",
        ),
        ({"id": "Pendulum-v1"}, "Pendulum-v1: action space Box.*must be Discrete"),
    ],
)
def test_spaces_that_are_refused_say_what_helps(values: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        plugin.make(config(**values), 1, Purpose.TRAIN)


def test_a_list_is_also_tried_as_a_tuple() -> None:
    """TOML has no tuples, and some wrappers want one."""
    pictures = ("minigrid.wrappers:RGBImgObsWrapper", IMAGE)
    small = {"path": "gymnasium.wrappers:ResizeObservation", "kwargs": {"shape": [21, 30]}}
    door = {"id": "MiniGrid-Empty-5x5-v0", "register": ("minigrid",)}
    assert made(config(**door, wrappers=(*pictures, small))).spec.observation_space.shape == (21, 30, 3)
    kept = {"path": "minigrid.wrappers:ReseedWrapper", "kwargs": {"seeds": [3]}}  # a list serves: it stays one
    assert isinstance(Build(config(**door, wrappers=(kept,)))().seeds, list)


def test_observations_can_be_rendered_pictures() -> None:
    render = {"path": "gymnasium.wrappers:AddRenderObservation", "kwargs": {"render_only": True}}
    for values in ({"wrappers": (render,)}, {"wrappers": (render,), "kwargs": {"render_mode": "rgb_array"}}):
        environments = made(config("CartPole-v1", **values))
        assert environments.spec.observation_space.shape == (400, 600, 3)
        environments.send(np.zeros(1, np.int64))
        assert len(np.unique(environments.receive().after.obs)) > 3
        environments.close()


class Reuses(gym.Env):
    """Returns one array and writes to it."""

    observation_space = gym.spaces.Box(0, 99, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict]:
        self.array = np.zeros(1, np.float32)
        return self.array, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        self.array += 1
        return self.array, 0.0, False, False, {}


def test_a_frame_stack_keeps_frames_that_the_environment_overwrites() -> None:
    gym.register("Reuses-v0", Reuses, max_episode_steps=9)
    environments = made(config("Reuses-v0", wrappers=({"path": STACK, "kwargs": {"stack_size": 3}},)))
    for expected in ([0, 0, 1], [0, 1, 2], [1, 2, 3]):
        environments.send(np.zeros(1, np.int64))
        assert environments.receive().after.obs.ravel().tolist() == expected


class Moves(Reuses):
    """`max_steps` is how far a piece may move."""

    max_steps = 3


def test_only_real_time_limits_count() -> None:
    gym.register("Moves-v0", Moves)
    with pytest.raises(ConfigError, match="Moves-v0 states no time limit"):
        plugin.make(config("Moves-v0"), 1, Purpose.TRAIN)
    limited = config("Moves-v0", max_episode_steps=50)
    assert time_limit(Build(limited)()) == 50
    assert plugin.protocol(limited)["time limit"] == "at most 50 steps", "it may truncate earlier by itself"
    babyai = {"id": "BabyAI-GoToRedBallGrey-v0", "register": ("minigrid",), "wrappers": (IMAGE,)}
    assert plugin.protocol(config(**babyai))["time limit"] == "64 steps", "0 before the first reset"
    assert plugin.protocol(config(**babyai, max_episode_steps=32))["time limit"] == "32 steps"


def test_registering_twice_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            Build(minatar("Breakout"))().close()


def episode_lengths(config: GymnasiumConfig) -> set[int]:
    """Of truncated episodes, under an action that does not end one before."""
    environments, lengths, length = made(config), set(), 0
    for _ in range(1100):
        environments.send(np.zeros(1, np.int64))
        step = environments.receive()
        length += 1
        if step.truncated[0]:
            assert step.discount[0] == 1 - step.terminated[0]
            lengths.add(length)
            length = 0
            environments.reset(np.ones(1, np.bool_), np.array([-1]))
    environments.close()
    return lengths


def test_time_limits() -> None:
    door = {"id": "MiniGrid-DoorKey-5x5-v0", "register": ("minigrid",), "wrappers": (IMAGE,)}
    assert episode_lengths(config("MountainCar-v0")) == {200}
    assert episode_lengths(config("MountainCar-v0", max_episode_steps=30)) == {30}
    assert episode_lengths(config("MountainCar-v0", max_episode_steps=500)) == {500}
    assert episode_lengths(config(CLIFF, max_episode_steps=40)) == {40}
    assert episode_lengths(config(**door)) == {250}
    assert episode_lengths(config(**door, max_episode_steps=60)) == {60}
    assert episode_lengths(config(**door, kwargs={"max_steps": 400})) == {400}
    limited = ({"path": "gymnasium.wrappers:TimeLimit", "kwargs": {"max_episode_steps": 25}},)
    assert time_limit(Build(config("MountainCar-v0", wrappers=limited))()) == 25


def test_a_seeded_reset_of_minatar_forgets_the_sticky_action() -> None:
    environments = made(minatar("Breakout", signals=f"{__name__}:last_action"), 2)
    everyone = np.ones(2, dtype=np.bool_)
    for _ in range(5):
        environments.send(np.array([2, 2]))
        environments.receive()
    assert (environments.reset(everyone, np.array([5, -1])).signals["last action"] == 0).tolist() == [True, False]
    environments.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_signals_are_those_of_the_observation(mode: str) -> None:
    """In MiniGrid's full view the agent (code 10) is where the signal says, at ends and after resets too."""
    full = ("minigrid.wrappers:FullyObsWrapper", IMAGE)
    environments = plugin.make(
        config(
            "MiniGrid-Dynamic-Obstacles-6x6-v0",
            register=("minigrid",),
            wrappers=full,
            mode=mode,
            signals=f"{__name__}:signals",
            max_episode_steps=7,
        ),
        2,
        Purpose.TRAIN,
    )
    observation = environments.reset(np.ones(2, np.bool_), np.arange(2))
    rng = np.random.default_rng(0)
    for _ in range(40):
        for env in range(2):
            where = np.argwhere(observation.obs[env, :, :, 0] == 10)
            assert where.tolist() == [observation.signals["position"][env].tolist()]
        environments.send(rng.integers(0, 3, 2))
        step = environments.receive()
        observation = step.after
        assert observation.signals["position"].dtype == np.int16
        if (ended := step.terminated | step.truncated).any():
            if rng.random() < 0.5:
                observation = environments.reset(ended, np.full(2, -1))
            else:
                observation = environments.reset(np.ones(2, np.bool_), np.full(2, -1))
    environments.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("of", ["CartPole-v1", "MinAtar/Breakout-v1"])
def test_rendering(of: str, mode: str) -> None:
    wanted = config(of, mode=mode, register=("minatar.gym:register_envs",), max_episode_steps=50)
    environments = plugin.make(wanted, 2, Purpose.RENDER)
    observation = environments.reset(np.ones(2, np.bool_), np.arange(2))
    screen = observation.signals["screen"]
    assert screen.dtype == np.uint8
    assert (screen.shape[0], screen.ndim, screen.shape[-1]) == (2, 4, 3)
    assert screen.max() > 100
    environments.send(np.ones(2, np.int64))
    assert (environments.receive().after.signals["screen"] != screen).any()
    environments.close()


class Invisible(gym.Env):
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[int, dict]:
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        return 1, 0.0, False, False, {}


class Dark(Invisible):
    metadata = {"render_modes": []}  # noqa: RUF012  as Gymnasium has it

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def render(self) -> None:
        return None


@pytest.mark.parametrize("kind", [Invisible, Dark])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_rendered_says_so(kind: type[gym.Env]) -> None:
    gym.register(f"{kind.__name__}-v0", kind, max_episode_steps=5)
    plugin.make(config(f"{kind.__name__}-v0"), 1, Purpose.TRAIN).close()
    with pytest.raises(ConfigError, match=f"{kind.__name__}-v0"):
        plugin.make(config(f"{kind.__name__}-v0"), 1, Purpose.RENDER)


MINIGRID = {"register": ("minigrid",), "wrappers": (IMAGE,)}


@pytest.mark.parametrize(
    ("of", "names"),
    [
        (minatar("Breakout"), ("none", "left", "right")),
        (
            config("MiniGrid-DoorKey-5x5-v0", **MINIGRID),
            ("left", "right", "forward", "pickup", "drop", "toggle", "done"),
        ),
        (config("MiniGrid-Dynamic-Obstacles-5x5-v0", **MINIGRID), ("left", "right", "forward")),
        (config("CartPole-v1"), ()),
    ],
)
def test_actions_have_names_where_the_environment_knows_them(of: GymnasiumConfig, names: tuple[str, ...]) -> None:
    assert made(of).spec.action_names == names


def test_actions_of_a_wrapper_have_no_names_of_the_environment() -> None:
    env = gym.wrappers.TransformAction(gym.make("CartPole-v1"), lambda action: action % 2, gym.spaces.Discrete(4))
    env.unwrapped.action_names = ("left", "right")
    assert action_names(env.env) == ("left", "right")
    assert action_names(env) == ()


def test_protocol_says_what_a_score_depends_on() -> None:
    assert plugin.protocol(config("CartPole-v1")) == {"environment": "CartPole-v1", "time limit": "500 steps"}
    assert plugin.protocol(minatar("Freeway", kwargs={"sticky_action_prob": 0.25})) == {
        "environment": "MinAtar/Freeway-v1",
        "arguments": "sticky_action_prob=0.25",
        "time limit": "500 steps",
        "sticky actions": "0.25",
    }
    wrapped = config("MiniGrid-DoorKey-5x5-v0", register=("minigrid",), wrappers=(WrapperConfig(path=IMAGE),))
    assert plugin.protocol(wrapped)["wrappers"] == IMAGE
    assert plugin.protocol(wrapped)["time limit"] == "250 steps"
    assert sticky_actions(Build(minatar("Freeway"))()) == 0.1
    sticky = ({"path": "gymnasium.wrappers:StickyAction", "kwargs": {"repeat_action_probability": 0.3}},)
    assert plugin.protocol(config("CartPole-v1", wrappers=sticky))["sticky actions"] == "0.3"


def test_every_field_is_explained() -> None:
    for model in (GymnasiumConfig, WrapperConfig):
        assert all(field.description for field in model.model_fields.values())
