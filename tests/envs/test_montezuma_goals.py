"""Goals in Montezuma's Revenge, on the emulator's own states: it is played to the entities, and to deaths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rlkit
from envs.atari import AtariConfig, plugin
from envs.goals.montezuma import BOXES, MAN, NEAR, PLACES, Entities, X, Y
from rlkit.config.load import load
from rlkit.environments import Environments
from rlkit.errors import RlkitError
from rlkit.goals import GoalsConfig, build_goals
from rlkit.types import Observation, Purpose, RawStep

GAME = {
    "name": "atari",
    "game": "montezuma_revenge",
    "protocol": "custom",
    "sticky_actions": 0.0,
    "noop_max": 0,
    "life_loss": True,
    "backend": "gymnasium",
    "signals": ("ram",),
}
SKIN = (200, 72, 72)  # the man's colour, and that of the bottom line of his hats above the room
SITUATION, ROOM, LIVES = 2, 3, 58

# actions and how often: from the start over the rope and the right ladder, past the skull, up the left one, to the key
TO_KEY = (
    "RIGHTFIRE 3 UP 9 RIGHT 2 RIGHTFIRE 1 RIGHT 5 DOWN 9 NOOP 10 LEFT 13 LEFTFIRE 3 LEFT 8 LEFTFIRE 3 LEFT 2 UP 9 "
    "LEFTFIRE 2"
)
TO_LEFT_DOOR = "LEFT 2 LEFTFIRE 1 LEFT 12"
TO_RIGHT_DOOR = "RIGHT 2 RIGHTFIRE 1 RIGHT 12"
INTO_THE_PIT = "LEFT 14 NOOP 12"


@pytest.fixture(scope="module")
def game() -> Iterator[Environments]:
    environments = plugin.make(AtariConfig(**GAME), 1, Purpose.RENDER)
    yield environments
    environments.close()


def play(game: Environments, moves: str) -> Iterator[RawStep]:
    game.reset(np.ones(1, np.bool_), np.zeros(1, np.int64))
    for name, times in re.findall(r"(\w+) (\d+)", moves):
        for _ in range(int(times)):
            game.send(np.array([game.spec.action_names.index(name)]))
            yield game.receive()


def reached(game: Environments, moves: str) -> tuple[list[str], list[RawStep]]:
    """The goals in the order in which they are achieved first, and all steps."""
    goals, found, steps = Entities(game.spec), [], []
    for step in play(game, moves):
        now = goals.achieved(step.after)[0]
        found += [name for name, there in zip(goals.names, now, strict=True) if there and name not in found]
        steps.append(step)
    return found, steps


def ram(step: RawStep) -> NDArray[np.int64]:
    return step.after.signals["ram"][0].astype(np.int64)


def now(game: Environments, observation: Observation) -> set[str]:
    goals = Entities(game.spec)
    return {name for name, there in zip(goals.names, goals.achieved(observation)[0], strict=True) if there}


def test_the_man_is_where_the_memory_says(game: Environments) -> None:
    """Walking, jumping, climbing and on the rope, within a step of the picture."""
    for number, step in enumerate(play(game, TO_KEY)):
        picture = step.after.signals["screen"][0][48:]  # below the score
        rows, columns = np.nonzero((picture == SKIN).all(2))
        place = MAN[0] + ram(step)[X], MAN[1] - ram(step)[Y]
        assert abs(columns.mean() - place[0]) <= 3, number
        assert abs(rows.mean() + 48 - place[1]) <= 4, number


def test_the_way_to_the_key(game: Environments) -> None:
    """Each entity in its turn, none at the start, and the key in the very step that pays for it."""
    start = game.reset(np.ones(1, np.bool_), np.zeros(1, np.int64))
    assert now(game, start) == set()
    found, steps = reached(game, TO_KEY)
    assert found == ["bottom-right-ladder", "bottom-left-ladder", "key"]
    assert now(game, steps[-2].after) == set()
    assert [step.reward[0] for step in steps if step.reward[0]] == [steps[-1].reward[0]] == [100]
    _, steps = reached(game, TO_KEY + " NOOP 12")
    assert now(game, steps[-1].after) == {"key"}  # for good


def test_the_middle_ladder_is_reached_halfway_down(game: Environments) -> None:
    found, steps = reached(game, "DOWN 3")
    assert found == []
    found, steps = reached(game, "DOWN 6")
    assert found == ["middle-ladder"]
    assert ram(steps[-1])[X] == 77


@pytest.mark.parametrize(("moves", "door"), [(TO_LEFT_DOOR, "top-left-door"), (TO_RIGHT_DOOR, "top-right-door")])
def test_doors_are_reached_while_they_are_shut(game: Environments, moves: str, door: str) -> None:
    found, steps = reached(game, moves + " NOOP 3")
    assert found == [door]
    assert now(game, steps[-1].after) == {door}
    blocked = [ram(step)[X] for step in reached(game, f"{moves} {moves.split()[0]} 3")[1]]
    assert blocked[-1] == blocked[-2]  # it is shut


def test_nothing_is_reached_by_dying_there(game: Environments) -> None:
    """A death lasts 13 steps, in which the man lies where he died."""
    steps = reached(game, INTO_THE_PIT)[1]
    died = next(number for number, step in enumerate(steps) if step.discount[0] == 0)
    for step in steps[died : died + 13]:
        memory = step.after.signals["ram"].copy()
        assert (memory[0, SITUATION], memory[0, LIVES]) == (6, 4)
        memory[0, [X, Y]] = 77, 202  # as if it were on the middle ladder
        assert now(game, Observation(step.after.obs, {"ram": memory}, step.after.first)) == set()
    alive = steps[0].after.signals["ram"].copy()
    alive[0, [X, Y]] = 77, 202
    assert now(game, Observation(steps[0].after.obs, {"ram": alive}, steps[0].after.first)) == {"middle-ladder"}
    alive[0, ROOM] = 2
    assert now(game, Observation(steps[0].after.obs, {"ram": alive}, steps[0].after.first)) == set()


def test_masks_lie_over_the_entities(game: Environments) -> None:
    """Exactly over doors and key, which have a colour of their own; every place but the doors' is within its mask."""
    start = game.reset(np.ones(1, np.bool_), np.zeros(1, np.int64))
    screen, goals = start.signals["screen"][0], Entities(game.spec)
    masks = goals.encode(np.arange(6))
    assert (masks.shape, masks.dtype) == ((6, 84, 84), np.float32)
    golden = (screen == (232, 204, 99)).all(2)
    golden[:, 100:130] = False  # the rope
    golden[:48] = False  # hats
    inside = np.zeros_like(golden)
    for name in ("top-left-door", "top-right-door", "key"):
        left, top, right, bottom = BOXES[name]
        box = golden[top:bottom, left:right]
        assert box.any(0).all()
        assert box[[0, -1]].any(1).all(), name  # no box is larger than what it is of
        inside[top:bottom, left:right] = True
    assert not (golden & ~inside).any()
    for mask, (left, top, right, bottom) in zip(masks, BOXES.values(), strict=True):
        rows, columns = np.nonzero(mask)
        assert (rows.min(), rows.max()) == (int(top * 0.4), int(np.ceil(bottom * 0.4)) - 1)
        assert (columns.min(), columns.max()) == (int(left * 0.525), int(np.ceil(right * 0.525)) - 1)
        assert mask.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    for name, (x, y) in PLACES.items():
        left, top, right, bottom = BOXES[name]
        assert left <= x < right
        assert top <= y < bottom
    assert NEAR < 16  # ladders end 20 pixels from their middle


SHORT = {"train.steps": 8, "evaluation.every": 0, "evaluation.final_episodes": 1, "env.max_frames": 80}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"game": "pitfall"}, "support ALE/montezuma_revenge only, and this environment is ALE/pitfall; give env.name"),
        ({"signals": ()}, r'needs the signal "ram" of at least 128 .* none; give env.backend = "gymnasium" and env.s'),
        ({"signals": (), "backend": "vector"}, r'needs the signal "ram"'),
    ],
    ids=["another game", "no memory", "the backend without it"],
)
def test_what_does_not_suit_is_refused_before_training(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    overrides = {f"env.{key}": list(value) if isinstance(value, tuple) else value for key, value in changes.items()}
    overrides |= {"agent.goals.name": "envs.goals.montezuma:Entities", **SHORT}
    with pytest.raises(RlkitError, match=says) as error:
        rlkit.train("hdqn/montezuma", overrides, run=tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_it_suits_its_game_whatever_plays_it(game: Environments) -> None:
    goals = build_goals(GoalsConfig(name="envs.goals.montezuma:Entities"), game.spec)
    assert list(goals.names) == list(BOXES)
    with pytest.raises(RlkitError, match="this environment is unknown"):
        Entities(replace(game.spec, world=""))


def test_the_packaged_experiment() -> None:
    """Goals are masks over the frame; pre-training is part of it; both replays fit a laptop."""
    config = load("hdqn/montezuma")
    agent: Any = config.agent
    assert agent.goals.name == "montezuma-entities"
    assert agent.controller.network.goal == "input"
    assert 0 < agent.pretraining_steps < config.train.steps
    assert (agent.controller.replay_capacity + 4 * agent.meta.capacity) * 7100 < 1.5 * 2**30
