"""The Atari plug-in: its two backends play the same games, under named protocols, and refuse what cannot be."""

from __future__ import annotations

import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from numpy.typing import NDArray

from envs.atari import AtariConfig, plugin
from envs.atari.config import TWO_PLAYERS, games
from envs.atari.vector import VectorAtari, check_version
from rlkit.config.load import resolve
from rlkit.environments import Environments
from rlkit.errors import ConfigError, WorkerError
from rlkit.testing import check_env
from rlkit.types import Observation, Purpose, RawStep, Stack

GOLDEN = Path(__file__).with_name("atari_frames.npz")  # game → (5, 84, 84); see `played`
KEPT = [0, 30, 60, 90, 120]  # steps whose newest frame is kept
PIXELS, SHADES = 25, 2  # how many pixels, and by how much, resizing may differ from platform to platform (ale-py says)
DETERMINISTIC: dict[str, Any] = {"protocol": "custom", "sticky_actions": 0.0}


def config(game: str = "breakout", **values: Any) -> AtariConfig:
    return AtariConfig(name="atari", game=game, **values)


def made(config: AtariConfig, num_envs: int = 1, purpose: Purpose = Purpose.TRAIN) -> Environments:
    return plugin.make(config, num_envs, purpose)


def begin(environments: Environments, seed: int = 1) -> Observation:
    num_envs = environments.spec.num_envs
    return environments.reset(np.ones(num_envs, np.bool_), np.arange(seed, seed + num_envs))


def actions(environments: Environments, steps: int) -> NDArray[np.int64]:
    """(steps, N), the same for the same game."""
    return np.random.default_rng(0).integers(0, environments.spec.num_actions, (steps, environments.spec.num_envs))


def step(environments: Environments, action: NDArray[np.int64]) -> RawStep:
    environments.send(action)
    return environments.receive()


def played(game: str, backend: str) -> NDArray[np.uint8]:
    """The frames of GOLDEN, which was written by np.savez_compressed(GOLDEN, **{game: played(game, "vector")})."""
    environments = made(config(game, backend=backend, **DETERMINISTIC))
    frames = [begin(environments).obs[0, -1]]
    frames += [step(environments, action).after.obs[0, -1] for action in actions(environments, max(KEPT))]
    environments.close()
    return np.stack([frames[number] for number in KEPT])


def assert_alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> None:
    """Frames (..., 84, 84) are equal but for what two builds of a resizing may differ by."""
    apart = np.abs(one.astype(np.int16) - other)
    assert apart.max() <= SHADES
    assert (apart > 0).sum(axis=(-2, -1)).max() <= PIXELS


@pytest.mark.parametrize("backend", ["vector", "gymnasium"])
@pytest.mark.parametrize("game", ["pong", "breakout", "freeway"])
def test_preprocessed_frames_are_what_they_were(game: str, backend: str) -> None:
    with np.load(GOLDEN) as golden:
        assert_alike(played(game, backend), golden[game])


@pytest.mark.parametrize("game", ["breakout", "pong", "ms_pacman"])
def test_the_backends_play_the_same_game(game: str) -> None:
    values = DETERMINISTIC | {"life_loss": True, "max_frames": 1200}
    one = made(config(game, **values))
    other = made(config(game, backend="gymnasium", **values))
    assert one.spec == replace(other.spec, steps_per_second=None)  # ALE's vector environment states none
    assert_alike(begin(one).obs, begin(other).obs)
    seen = {"reward": 0.0, "lives": 0, "terminated": 0, "truncated": 0}
    for action in actions(one, 450):
        left, right = step(one, action), step(other, action)
        assert_alike(left.after.obs, right.after.obs)
        for name in ("reward", "discount", "terminated", "truncated"):
            assert getattr(left, name) == getattr(right, name), name
        seen["reward"] += abs(float(left.reward[0]))
        seen["lives"] += int(left.discount[0] == 0 and not left.terminated[0])
        seen["terminated"] += int(left.terminated[0])
        seen["truncated"] += int(left.truncated[0])
        if (left.terminated | left.truncated).any():
            anew = np.ones(1, np.bool_), np.full(1, -1)
            assert_alike(one.reset(*anew).obs, other.reset(*anew).obs)
    assert seen["reward"] > 0
    assert seen["terminated"] if game == "breakout" else seen["truncated"]
    assert (seen["lives"] > 0) == (game != "pong")
    if game == "ms_pacman":
        assert seen["reward"] > 100, "rewards are the game's own: a dot is worth 10"


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(
            {"max_frames": 160, "protocol": "custom", "noop_max": 10, "life_loss": True, "fire_reset": True},
            marks=pytest.mark.slow,
        ),
        {"max_frames": 160, "protocol": "custom", "noop_max": 10, "backend": "gymnasium", "signals": ("ram",)},
    ],
)
def test_conformance(values: dict[str, Any]) -> None:
    check_env(plugin, config(**values), steps=50, resets=2)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["vector", "gymnasium"])
@pytest.mark.parametrize("protocol", ["dopamine", "nature"])
@pytest.mark.parametrize("game", ["pong", "breakout", "montezuma_revenge"])
def test_conformance_at_length(game: str, protocol: str, backend: str) -> None:
    check_env(plugin, config(game, protocol=protocol, backend=backend), steps=400, resets=100)


@pytest.mark.parametrize("backend", ["vector", "gymnasium"])
def test_a_lost_life_ends_the_value_and_not_the_episode(backend: str) -> None:
    """Breakout has five lives. Either protocol plays all of them; only one says when the first four are lost."""
    for protocol, ends in (("nature", 5), ("dopamine", 1)):
        environments = made(config(protocol=protocol, backend=backend))
        begin(environments)
        found = 0
        for action in actions(environments, 2000):
            answer = step(environments, action)
            found += int(answer.discount[0] == 0)
            assert not answer.truncated[0]
            if answer.terminated[0]:
                break
        assert answer.terminated[0]
        assert found == ends


def test_the_time_limit_truncates_and_the_next_episode_has_its_own() -> None:
    environments = made(config("pong", max_frames=200, protocol="custom"), 2)
    begin(environments)
    for episode in range(3):
        for number, action in enumerate(actions(environments, 50), start=1):
            answer = step(environments, action)
            assert (answer.truncated == (number == 50)).all(), f"episode {episode}, step {number}"
            assert (answer.discount == 1).all()
        environments.reset(np.ones(2, np.bool_), np.full(2, -1))


def test_threads_change_nothing() -> None:
    answers = []
    for threads in (1, 2):
        environments = made(config("pong", threads=threads), 4)
        begin(environments)
        answers.append([step(environments, action).after.obs for action in actions(environments, 60)])
    assert all((one == other).all() for one, other in zip(*answers, strict=True))


def test_sticky_actions_make_the_seed_matter() -> None:
    def ends_alike(**values: Any) -> bool:
        environments = made(config("breakout", **values), 2)
        begin(environments)
        for action in actions(environments, 60):
            answer = step(environments, np.repeat(action[:1], 2))
        return bool((answer.after.obs[0] == answer.after.obs[1]).all())

    assert ends_alike(**DETERMINISTIC)
    assert not ends_alike(protocol="dopamine")
    assert not ends_alike(**DETERMINISTIC, noop_max=30)


@pytest.mark.slow
def test_the_emulators_run_while_the_caller_does_something_else() -> None:
    environments = made(config("pong"), 16)
    begin(environments)
    together, alone = [], []
    for number, action in enumerate(actions(environments, 12)):
        begun = time.perf_counter()
        environments.send(action)
        if number % 2:
            time.sleep(0.1)
            begun = time.perf_counter()
        environments.receive()
        (alone if number % 2 else together).append(time.perf_counter() - begun)
    assert min(alone) < min(together) / 3


def test_what_would_hang_or_end_the_emulator_is_refused_and_it_goes_on() -> None:
    environments = made(config("pong"), 2)
    everyone, one = np.ones(2, np.bool_), np.array([True, False])
    for mask, seeds in ((one, np.arange(2)), (everyone, np.array([3, -1]))):
        with pytest.raises(ValueError, match="first reset must be of all environments, with seeds"):
            environments.reset(mask, seeds)
    with pytest.raises(ValueError, match=r"seeds .*expected 0\.\.2147483647"):
        environments.reset(everyone, np.array([2**31, 0]))
    begin(environments)
    for wrong in ([0, 6], [-1, 0], [2**40, 0]):
        with pytest.raises(ValueError, match=r"actions .*expected 0\.\.5"):
            environments.send(np.array(wrong))
    with pytest.raises(ValueError, match=r"seeds .*-1 to let a generator go on"):
        environments.reset(one, np.array([-2, 0]))
    environments.send(np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="between send and receive"):
        environments.reset(one, np.array([5, -9]))
    assert environments.receive().after.obs.any()
    environments.reset(one, np.array([5, -9]))  # seeds outside the mask mean nothing
    environments.send(np.zeros(2, np.int64))
    environments.close()
    environments.close()


@pytest.mark.parametrize(("game", "height"), [("pong", 210), ("mr_do", 250)])
def test_rendered_games_show_the_whole_screen_in_colour(game: str, height: int) -> None:
    environments = made(config(game), 1, Purpose.RENDER)
    first = begin(environments).signals["screen"]
    for action in actions(environments, 40):
        screen = step(environments, action).after.signals["screen"]
    assert screen.shape == (1, height, 160, 3)
    assert environments.spec.signals["screen"].shape == screen.shape[1:]
    assert (screen[..., 0] != screen[..., 2]).any(), "colour"
    assert (screen != first).any(), "it moves"


@pytest.mark.slow
def test_a_rendered_game_is_the_same_game_at_the_same_moment() -> None:
    """Over several episodes; the screen, in grey and made small, is the newest frame."""
    shown, plain = made(config(protocol="nature"), 2, Purpose.RENDER), made(config(protocol="nature"), 2)
    begin(shown), begin(plain)
    ends = 0
    for action in actions(plain, 300):
        left, right = step(shown, action), step(plain, action)
        assert (left.after.obs == right.after.obs).all()
        assert (left.reward == right.reward).all()
        grey = left.after.signals["screen"][0].astype(np.float32) @ np.array([0.2989, 0.587, 0.114], np.float32)
        small = cv2.resize(grey, (84, 84), interpolation=cv2.INTER_AREA)
        assert np.abs(small - left.after.obs[0, -1]).mean() < 1
        ended = left.terminated | left.truncated
        if ended.any():
            ends += 1
            shown.reset(ended, np.full(2, -1))
            plain.reset(ended, np.full(2, -1))
    assert ends >= 2


def test_a_failing_emulator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(vector: AtariVectorEnv) -> None:
        raise RuntimeError("the ROM is gone")

    environments = made(config("pong"))
    begin(environments)
    monkeypatch.setattr(AtariVectorEnv, "recv", fail)
    with pytest.raises(WorkerError, match="ALE failed: the ROM is gone"):
        step(environments, np.zeros(1, np.int64))


def test_ram_is_that_of_the_moment() -> None:
    """Pong keeps the two scores in bytes 13 and 14 (Anand et al. 2019, AtariARI)."""
    environments = made(config("pong", backend="gymnasium", signals=("ram",), **DETERMINISTIC))
    assert list(begin(environments).signals) == ["ram"]
    score = 0.0
    for action in actions(environments, 300):
        answer = step(environments, action)
        score += float(answer.reward[0])
        ram = answer.after.signals["ram"][0].astype(int)
        assert ram.shape == (128,)
        assert ram[14] - ram[13] == score
    assert score < 0


def test_modes_and_difficulties_change_the_game_and_its_protocol() -> None:
    """Freeway's mode 1 has other traffic; its human score is that of mode 0."""
    usual, other = (config("freeway", backend="gymnasium", **DETERMINISTIC, **keys) for keys in ({}, {"mode": 1}))
    pictures = []
    for each in (usual, other):
        environments = made(each)
        begin(environments)
        pictures.append(np.stack([step(environments, np.zeros(1, np.int64)).after.obs for _ in range(5)]))
    assert (pictures[0] != pictures[1]).any()
    assert "mode" not in plugin.protocol(usual)
    assert plugin.protocol(other)["mode"] == "1"
    assert plugin.reference_scores(usual) is not None
    assert plugin.reference_scores(other) is None
    with pytest.raises(ConfigError, match=r"env\.difficulty = 9: freeway has 0, 1"):
        made(config("freeway", backend="gymnasium", difficulty=9))


def test_the_spec_says_what_an_agent_needs() -> None:
    spec = made(config("pong"), 3).spec
    assert (spec.num_envs, spec.num_actions, spec.frame_skip) == (3, 6, 4)
    assert spec.stack == Stack(axis=0, size=4, padding="zero")
    assert spec.action_names == ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")
    assert spec.world == made(config("pong", backend="gymnasium")).spec.world == "ALE/pong"
    full = made(config("pong", protocol="custom", full_action_space=True)).spec
    assert full.num_actions == len(full.action_names) == 18


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ('game = "pongg"', "env.game: no game 'pongg' .did you mean pong"),
        ('game = "MsPacman"', "did you mean ms_pacman"),
        ('game = "qqqqqqqqq"', "no game 'qqqqqqqqq': adventure, air_raid"),
        ('game = "warlords"', "warlords is for two players only"),
        ('game = "pong"\nprotocol = "natur"', "env.protocol: .*'dopamine', 'nature' or 'custom'"),
        (
            'game = "pong"\nsticky_actions = 0.0',
            'sticky_actions = 0.0 contradicts protocol = "dopamine", which has 0.25; remove it, or set protocol = '
            '"custom"',
        ),
        ('game = "pong"\nprotocol = "nature"\nlife_loss = false', "life_loss = false contradicts .* which has true"),
        ('game = "pong"\nsignals = ["ram"]', 'is not supported by backend = "vector"; use backend = "gymnasium"'),
        ('game = "pong"\nmode = 1', 'mode is not supported by backend = "vector"; use backend = "gymnasium"'),
        ('game = "pong"\nsignals = ["rom"]', "env.signals.0: .*'ram'"),
        ('game = "pong"\nbackend = "gymnasium"\nthreads = 2', 'threads = 2 is for backend = "vector"'),
        (
            'game = "pong"\nbackend = "gymnasium"\nprotocol = "custom"\nfire_reset = true',
            'fire_reset is not supported by backend = "gymnasium"',
        ),
        ('game = "pong"\nprotocol = "custom"\nsticky_actions = 1.0', "env.sticky_actions: .*less than 1"),
        ('game = "pong"\nprotocol = "custom"\nmax_frames = 3', "env.max_frames: .*greater than or equal to 4"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(env: str, message: str) -> None:
    tables = tomllib.loads(f'agent = {{name = "random"}}\ntrain = {{steps = 1}}\n[env]\nname = "atari"\n{env}')
    with pytest.raises(ConfigError, match=message) as caught:
        resolve("test", tables)
    assert "\n" not in str(caught.value)


def test_an_option_that_agrees_with_its_protocol_is_no_contradiction() -> None:
    assert config(protocol="nature", sticky_actions=0.0, life_loss=True).options == config(protocol="nature").options


def test_every_game_that_is_offered_can_be_made() -> None:
    assert len(games()) > 57
    assert not TWO_PLAYERS & set(games())
    for game in games()[::12]:
        environments = made(config(game))
        assert begin(environments).obs.shape == (1, 4, 84, 84)


def test_an_old_emulator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_version("0.12.1")
    check_version("1.0.dev3")
    for old in ("0.12.0", "0.9.1"):
        with pytest.raises(ConfigError, match=f"ale-py {old} is too old.*install ale-py 0.12.1 or newer"):
            check_version(old)
    monkeypatch.setattr(check_version, "__defaults__", ("0.11.2",))
    with pytest.raises(ConfigError, match="too old"):
        VectorAtari(config(), 1)


def test_without_opencv_the_backend_that_needs_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"needs OpenCV; install opencv-python-headless .* or use backend"):
        made(config(backend="gymnasium"))
    made(config())


def test_the_protocol_is_printed_in_words() -> None:
    dopamine, nature = plugin.protocol(config("pong")), plugin.protocol(config("pong", protocol="nature"))
    assert dopamine["environment"] == "ALE/pong"
    assert dopamine["sticky actions"] == "0.25"
    assert (dopamine["no-ops at reset"], nature["no-ops at reset"]) == ("none", "0 to 29")
    assert plugin.protocol(config(protocol="nature", backend="gymnasium"))["no-ops at reset"] == "1 to 30"
    assert nature["life loss"] == "ends the value, not the episode"
    assert dopamine["fire at reset"] == nature["fire at reset"] == "no"
    assert dopamine["time limit"] == "108,000 frames"


def test_reference_scores_are_those_of_the_game() -> None:
    assert plugin.reference_scores(config("space_invaders")) == {"random": 148.0, "human": 1668.7}
    assert plugin.reference_scores(config("air_raid")) is None


def test_every_field_is_explained() -> None:
    assert all(field.description for field in AtariConfig.model_fields.values())
