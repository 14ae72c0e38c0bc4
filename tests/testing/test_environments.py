"""The conformance suite for environments: known environments pass, and planted faults fail the check made for them."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from envs import gymnasium as family
from envs.gymnasium import GymnasiumConfig, GymnasiumPlugin, plugin
from rlkit.environments import Environments
from rlkit.testing import check_env, env_checks
from rlkit.types import ArraySpec, EnvSpec, Observation, Purpose, RawStep

IMAGE = "minigrid.wrappers:ImgObsWrapper"
MINATAR = ["Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"]
MINIGRID = ["DoorKey-5x5", "MultiRoom-N2-S4", "Dynamic-Obstacles-6x6"]
STACK = {"path": "gymnasium.wrappers:FrameStackObservation", "kwargs": {"stack_size": 3, "padding_type": "zero"}}


def newest(name: str) -> str:
    """Toy text counts its versions up from one Gymnasium to the next, and drops the old ones."""
    return max(id for id in gym.registry if id.startswith(f"{name}-v"))


WORLDS: dict[str, dict[str, Any]] = {
    **{id: {} for id in ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "FrozenLake-v1", newest("Taxi"))},
    newest("CliffWalking"): {"max_episode_steps": 200},
    **{
        f"MinAtar/{game}-v1": {"register": ("minatar.gym:register_envs",), "max_episode_steps": 500} for game in MINATAR
    },
    **{f"MiniGrid-{world}-v0": {"register": ("minigrid",), "wrappers": (IMAGE,)} for world in MINIGRID},
}


def config(id: str, **values: Any) -> GymnasiumConfig:
    return GymnasiumConfig(name="gymnasium", id=id, **{**WORLDS.get(id, {}), **values})


COSTLY = [id for id in WORLDS if id.startswith(("Taxi", "MiniGrid"))]  # to make or to reset


@pytest.mark.parametrize("id", WORLDS)
def test_worlds_pass(id: str) -> None:
    check_env(plugin, config(id), resets=20 if id in COSTLY else 100)


@pytest.mark.slow
@pytest.mark.parametrize("id", COSTLY)
def test_costly_worlds_pass_a_hundred_resets(id: str) -> None:
    check_env(plugin, config(id))


@pytest.mark.slow
@pytest.mark.parametrize(
    "id",
    [
        "CartPole-v1",
        *(
            pytest.param(id, marks=pytest.mark.slow)
            for id in ("MinAtar/Breakout-v1", "MiniGrid-Dynamic-Obstacles-6x6-v0")
        ),
    ],
)
def test_worlds_pass_in_workers(id: str) -> None:
    check_env(plugin, config(id, mode="async"), steps=40, resets=3)


def test_stacks_and_signals_pass() -> None:
    values = {"wrappers": (IMAGE, STACK), "signals": f"{__name__}:position"}
    check_env(plugin, config("MiniGrid-Dynamic-Obstacles-6x6-v0", **values), steps=60, resets=10)


def position(env: gym.Env) -> dict[str, Any]:
    return {"position": np.array(env.unwrapped.agent_pos)}


def test_global_generators_are_put_back() -> None:
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    check_env(plugin, config("CartPole-v1"), steps=5, resets=2)
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


@pytest.mark.parametrize("game", [game for game in MINATAR if game != "Freeway"])
def test_minatar_as_it_comes_is_caught(game: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ForgetLastAction, its sticky action outlives a seeded reset.

    Not in Freeway, where nothing moves in the first three steps: four repeats in a row show once in 10,000 resets.
    """
    monkeypatch.setattr(family, "is_minatar", lambda env: False)
    with pytest.raises(AssertionError, match="a seeded reset of a used environment is not that of a fresh one"):
        check_env(plugin, config(f"MinAtar/{game}-v1"), steps=20)


class Sound(gym.Env):
    """Where one stands on a line, with noise in every step; subclasses break it in one place each."""

    observation_space: spaces.Space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(3)
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  as Gymnasium has it

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.resets = 0
        self.x = 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.resets += 1
        self.x = float(self.np_random.uniform(-0.5, 0.5))
        return self.observation(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        self.x += 0.3 * (action - 1) + 0.1 * self.noise()
        return self.observation(), self.reward(), abs(self.x) > 1, False, {}

    def noise(self) -> float:
        return float(self.np_random.uniform(-1, 1))

    def observation(self) -> Any:
        return np.clip(np.array([self.x, -self.x], np.float32), -1, 1)

    def reward(self) -> float:
        return self.x

    def render(self) -> Any:
        return np.full((4, 5, 3), 255 * min(abs(self.x), 1), np.uint8)


class LeaksIntoObservation(Sound):
    def observation(self) -> Any:
        return np.clip(np.array([self.x, self.resets / 100], np.float32), -1, 1)


class LeaksIntoReward(Sound):
    def reward(self) -> float:
        return self.x + 0.01 * self.resets


class UsesNumpysGlobalGenerator(Sound):
    def noise(self) -> float:
        return float(np.random.uniform(-1, 1))  # noqa: NPY002


class UsesPythonsGlobalGenerator(Sound):
    def noise(self) -> float:
        return random.uniform(-1, 1)


class NeverSeeds(Sound):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.own = np.random.default_rng()

    def noise(self) -> float:
        return float(self.own.uniform(-1, 1))


class SharedBetweenEnvironments(Sound):
    seeds = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        if seed is not None:
            type(self).seeds = np.random.default_rng(seed)
        return super().reset(seed=seed, options=options)

    def noise(self) -> float:
        return float(self.seeds.uniform(-1, 1))


class LeavesItsSpace(Sound):
    def observation(self) -> Any:
        return np.array([self.x, -3], np.float32)


class PaysNothingANumber(Sound):
    def reward(self) -> float:
        return float("nan") if self.x > 0.5 else 0.0


class DrawsWhileRendering(Sound):
    def render(self) -> Any:
        self.np_random.random()
        return super().render()


class OverwritesItsObservation(Sound):
    """Harmless on its own, but FrameStackObservation keeps the arrays."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.buffer = np.zeros(2, np.float32)

    def observation(self) -> Any:
        self.buffer[:] = super().observation()
        return self.buffer


def registered(kind: type[gym.Env], **values: Any) -> GymnasiumConfig:
    if f"{kind.__name__}-v0" not in gym.registry:
        gym.register(f"{kind.__name__}-v0", kind, max_episode_steps=30)
    return config(f"{kind.__name__}-v0", **values)


def failures(plugin: GymnasiumPlugin, config: GymnasiumConfig) -> dict[str, str]:
    """The messages of the checks that fail, by name, in the order of the suite."""
    found = {}
    for name, check in env_checks(plugin, config, steps=60, resets=20):
        try:
            check()
        except AssertionError as error:
            found[name] = str(error)
    return found


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_sound_environment_passes(mode: str) -> None:
    check_env(plugin, registered(Sound, mode=mode), steps=60, resets=4)


def test_checks_are_skipped_by_name() -> None:
    blind = BlindPlugin()
    assert list(failures(blind, registered(Sound))) == ["rendering"]
    check_env(blind, registered(Sound), steps=10, resets=2, skip={"rendering": "has no pictures"})
    with pytest.raises(ValueError, match="unknown checks: pictures; the known ones are description, answers"):
        env_checks(blind, registered(Sound), skip={"pictures": "has none"})


HISTORY = "a seeded reset of a used environment is not that of a fresh one"


GLOBAL = "masked_reset seeded_reset"


@pytest.mark.parametrize(
    ("kind", "check", "message", "also"),
    [
        (LeavesItsSpace, "answers", "observation of environment 0 is .*; expected one in Box", ""),
        (PaysNothingANumber, "answers", "reward is .*; expected finite numbers", ""),
        (UsesNumpysGlobalGenerator, "determinism", "equal seeds and actions differ: environment 0", GLOBAL),
        (UsesPythonsGlobalGenerator, "determinism", "equal seeds and actions differ: environment 0", GLOBAL),
        (NeverSeeds, "determinism", "equal seeds and actions differ", f"{GLOBAL} rendering"),
        (SharedBetweenEnvironments, "masked_reset", "the reset of environment 1 alone changed another", "seeded_reset"),
        (LeaksIntoObservation, "seeded_reset", f"{HISTORY}.* step 1: observation", ""),
        (LeaksIntoReward, "seeded_reset", f"{HISTORY}.*: reward is", ""),
        (DrawsWhileRendering, "rendering", "a rendered environment plays another game", ""),
    ],
)
def test_a_faulty_environment_fails_its_check(kind: type[gym.Env], check: str, message: str, also: str) -> None:
    found = failures(plugin, registered(kind))
    assert found.keys() == {check, *also.split()}
    assert re.search(f"environment 'gymnasium' fails the check '{check}': .*{message}", found[check])


def test_frames_are_copied_before_they_are_stacked() -> None:
    """So an environment that writes all its observations into one array can be stacked."""
    for wrappers in ((), (STACK,)):
        assert failures(plugin, registered(OverwritesItsObservation, wrappers=wrappers)) == {}


class Tampered:
    """Sound environments whose driver breaks the contract in one place."""

    def __init__(self, inner: Environments, spec: Any = None, reset: Any = None, step: Any = None) -> None:
        self.inner = inner
        self.spec: EnvSpec = inner.spec if spec is None else spec(inner.spec)
        self.on_reset = reset or (lambda observation, mask, seeds: observation)
        self.on_step = step or (lambda step, action: step)

    def reset(self, mask: np.ndarray, seeds: np.ndarray) -> Observation:
        observation = self.inner.reset(mask, seeds)
        return self.on_reset(observation, mask, seeds)

    def send(self, action: np.ndarray) -> None:
        self.action = action
        self.inner.send(action)

    def receive(self) -> RawStep:
        return self.on_step(self.inner.receive(), self.action)

    def close(self) -> None:
        self.inner.close()


class TamperedPlugin(GymnasiumPlugin):
    def __init__(self, **tampering: Any) -> None:
        self.tampering = tampering

    def make(self, config: GymnasiumConfig, num_envs: int, purpose: Purpose) -> Environments:
        return Tampered(super().make(config, num_envs, purpose), **self.tampering)


def into_buffers(number: int) -> Callable[..., RawStep]:
    """Gives the observation in one of `number` buffers in turn."""
    buffers: dict[int, list[np.ndarray]] = {}
    calls = [0]

    def step(step: RawStep, action: np.ndarray) -> RawStep:
        obs = step.after.obs
        turn = buffers.setdefault(len(obs), [np.zeros_like(obs) for _ in range(number)])
        calls[0] += 1
        buffer = turn[calls[0] % number]
        buffer[:] = obs
        return dataclasses.replace(step, after=dataclasses.replace(step.after, obs=buffer))

    return step


def spoiling(name: str) -> Callable[..., Observation]:
    def reset(observation: Observation, mask: np.ndarray, seeds: np.ndarray) -> Observation:
        if name == "mask":
            mask[:] = False
        else:
            seeds[:] = 0
        return observation

    return reset


def spoil_action(step: RawStep, action: np.ndarray) -> RawStep:
    action[:] = 0
    return step


def replaced(**changes: Callable[[Any], Any]) -> Callable[..., RawStep]:
    def step(step: RawStep, action: np.ndarray) -> RawStep:
        return dataclasses.replace(step, **{name: change(getattr(step, name)) for name, change in changes.items()})

    return step


def forget_the_rest(observation: Observation, mask: np.ndarray, seeds: np.ndarray) -> Observation:
    obs = observation.obs.copy()
    obs[~mask] = 0
    return dataclasses.replace(observation, obs=obs)


def say_first_everywhere(observation: Observation, mask: np.ndarray, seeds: np.ndarray) -> Observation:
    return dataclasses.replace(observation, first=np.ones_like(mask))


def promise(spec: EnvSpec) -> EnvSpec:
    return dataclasses.replace(spec, signals={**spec.signals, "ram": ArraySpec((128,), np.uint8)})


@pytest.mark.parametrize(
    ("tampering", "check", "message"),
    [
        ({"spec": lambda spec: dataclasses.replace(spec, num_envs=1)}, "description", "num_envs is 1; expected 2"),
        ({"step": into_buffers(1)}, "answers", "shares memory with an earlier|changed the observation"),
        ({"step": into_buffers(3)}, "answers", "shares memory with an earlier|changed the observation"),
        ({"reset": spoiling("mask")}, "answers", "reset changed the mask"),
        ({"reset": spoiling("seeds")}, "answers", "reset changed the seeds"),
        ({"step": spoil_action}, "answers", "changed the action"),
        ({"reset": say_first_everywhere}, "answers", "expected the mask"),
        ({"reset": forget_the_rest}, "answers", "outside the mask changed; expected its latest one"),
        ({"step": replaced(discount=np.ones_like)}, "answers", "discount is .*; expected 0 where terminated"),
        (
            {"step": replaced(discount=lambda d: d * np.float32(0.9))},
            "answers",
            "expected 0 where the value ends, else 1",
        ),
        ({"step": replaced(reward=lambda r: r.astype(np.float64))}, "answers", "dtype float64; expected float32"),
        ({"step": replaced(terminated=lambda t: t[:1])}, "answers", r"terminated has shape \(1,\)"),
        ({"step": replaced(reward=lambda r: r.tolist())}, "answers", "reward is a list; expected an array"),
        (
            {"step": replaced(after=lambda o: dataclasses.replace(o, first=np.ones_like(o.first)))},
            "answers",
            "`first` is set; expected all False",
        ),
        ({"spec": promise}, "answers", r"signals are \[\]; the spec says \['ram'\]"),
    ],
    ids=lambda value: re.sub(r"\W+", " ", value) if isinstance(value, str) else "",
)
def test_a_faulty_driver_fails_its_check(tampering: Mapping[str, Any], check: str, message: str) -> None:
    found = failures(TamperedPlugin(**tampering), registered(Sound))
    assert next(iter(found)) == check
    assert re.search(message, found[check])


def test_a_plugin_without_a_protocol_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GymnasiumPlugin, "protocol", lambda self, config: {})
    ((check, message),) = failures(plugin, registered(Sound)).items()
    assert check == "description"
    assert "protocol is empty" in message


class BlindPlugin(GymnasiumPlugin):
    def make(self, config: GymnasiumConfig, num_envs: int, purpose: Purpose) -> Environments:
        return super().make(config, num_envs, Purpose.TRAIN)


def test_a_plugin_that_renders_nothing_is_caught() -> None:
    ((check, message),) = failures(BlindPlugin(), registered(Sound)).items()
    assert check == "rendering"
    assert "have the signals []; expected 'screen'" in message


class ReadsSeedsOutsideTheMask(Tampered):
    """Begins an episode wherever a seed is given, and hides it in what reset returns."""

    def reset(self, mask: np.ndarray, seeds: np.ndarray) -> Observation:
        observation = self.inner.reset(mask | (seeds >= 0), seeds)
        if not mask.all():
            latest = self.inner_latest.copy()
            latest[mask] = observation.obs[mask]
            observation = dataclasses.replace(observation, obs=latest, first=mask.copy())
        self.inner_latest = observation.obs
        return observation

    def receive(self) -> RawStep:
        step = self.inner.receive()
        self.inner_latest = step.after.obs
        return step


def test_a_driver_that_resets_the_rest_is_caught() -> None:
    class Widening(GymnasiumPlugin):
        def make(self, config: GymnasiumConfig, num_envs: int, purpose: Purpose) -> Environments:
            return ReadsSeedsOutsideTheMask(super().make(config, num_envs, purpose))

    found = failures(Widening(), registered(Sound))
    assert list(found) == ["masked_reset"]
    assert "the reset of environment 1 alone changed another one" in found["masked_reset"]
