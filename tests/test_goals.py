"""Goal spaces: those that come with rlkit, against their worlds, and what is said of unusable ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from envs.gymnasium import plugin as gymnasium
from rlkit.errors import ConfigError, SpecError
from rlkit.goals import GoalsConfig, build_goals, one_hot
from rlkit.types import ArraySpec, EnvSpec, Observation, Purpose

FULL = ("minigrid.wrappers:FullyObsWrapper", "minigrid.wrappers:ImgObsWrapper")
DOORKEY = gymnasium.config(
    name="gymnasium",
    id="MiniGrid-DoorKey-5x5-v0",
    register=("minigrid",),
    signals="envs.minigrid:situation",
    wrappers=FULL,
)
FORWARD, LEFT, RIGHT, PICK, DROP, TOGGLE = 2, 0, 1, 3, 4, 5


def build(name: str, spec: EnvSpec, **kwargs: Any) -> Any:
    return build_goals(GoalsConfig(name=name, kwargs=kwargs), spec)


def see(obs: Any, **signals: Any) -> Observation:
    values = {name: np.array(value, np.int16) for name, value in signals.items()}
    return Observation(np.array(obs), values, np.zeros(len(obs), np.bool_))


def test_states_of_a_chain() -> None:
    spec = EnvSpec(Discrete(6), 2, 3)
    goals = build("envs.goals.chain:States", spec)
    assert goals.names == ["s1", "s2", "s3", "s4", "s5", "s6"]
    assert goals.achieved(see([0, 5, 2])).astype(int).tolist() == np.eye(6, dtype=int)[[0, 5, 2]].tolist()
    some = build("envs.goals.chain:States", spec, states=[1, 3, 6])
    assert some.names == ["s1", "s3", "s6"]
    assert some.achieved(see([0, 1, 5])).tolist() == [[True, False, False], [False] * 3, [False, False, True]]
    assert some.encode(np.array([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]


def play_doorkey(actions: list[int]) -> list[dict[str, bool]]:
    """What is achieved after the reset and after each action, in a layout drawn for the purpose: see below."""
    environments = gymnasium.make(DOORKEY, 1, Purpose.TRAIN)
    goals = build("envs.goals.minigrid:Objects", environments.spec)
    try:
        observation = environments.reset(np.ones(1, np.bool_), np.array([SEED]))
        seen = [goals.achieved(observation)]
        for action in actions:
            environments.send(np.array([action]))
            seen.append(goals.achieved(environments.receive().after))
        return [dict(zip(goals.names, row[0].tolist(), strict=True)) for row in seen]
    finally:
        environments.close()


SEED = 0


def solve() -> list[int]:
    """A shortest way through the layout of SEED to the key, the door and the goal, found by search in the world."""
    import gymnasium as gym
    import minigrid  # noqa: F401

    env = gym.make("MiniGrid-DoorKey-5x5-v0")
    frontier: list[list[int]] = [[]]
    known = set()
    while frontier:
        actions = frontier.pop(0)
        env.reset(seed=SEED)
        reward = 0.0
        for action in actions:
            _, reward, _, _, _ = env.step(action)
        world: Any = env.unwrapped
        if reward > 0:
            return actions
        door = next(cell for cell in world.grid.grid if cell is not None and cell.type == "door")
        key = (tuple(world.agent_pos), world.agent_dir, world.carrying is not None, door.is_open)
        if key not in known:
            known.add(key)
            frontier += [[*actions, action] for action in (FORWARD, LEFT, RIGHT, PICK, TOGGLE)]
    raise AssertionError("the world has no way through")


def test_objects_are_achieved_when_they_are_dealt_with() -> None:
    actions = solve()
    picked, opened = actions.index(PICK) + 1, actions.index(TOGGLE) + 1
    seen = play_doorkey(actions)
    for number, achieved in enumerate(seen):
        assert achieved == {"key": number >= picked, "door": number >= opened, "goal": number == len(actions)}
    dropped = play_doorkey([*actions[:picked], DROP])
    assert not dropped[-1]["key"]


def test_cells_one_hot_and_as_masks() -> None:
    spec = EnvSpec(Box(0, 255, (5, 4, 3), np.uint8), 7, 2, signals={"state": ArraySpec((17,), np.int16)})
    state = np.zeros((2, 17), np.int16)
    state[:, :2] = [[3, 1], [1, 3]]
    for encoding in ("one-hot", "mask"):
        goals = build("envs.goals.minigrid:Cells", spec, cells=[[1, 3], [3, 1]], encoding=encoding)
        assert goals.names == ["1-3", "3-1"]
        assert goals.achieved(see(np.zeros((2, 5, 4, 3)), state=state)).tolist() == [[False, True], [True, False]]
    masks = goals.encode(np.array([1, 0]))
    assert [np.argwhere(mask).tolist() for mask in masks] == [[[3, 1]], [[1, 3]]]
    assert masks.shape == (2, 5, 4)


SPEC = EnvSpec(Discrete(6), 2, 3, signals={"state": ArraySpec((2,), np.int16)})


class Odd:
    """A goal space with one thing wrong."""

    def __init__(self, spec: EnvSpec, **wrong: Any) -> None:
        self.names = wrong.get("names", ["a", "b"])
        self._wrong = wrong

    def achieved(self, observation: Observation) -> Any:
        if "raises" in self._wrong:
            raise KeyError("ram")
        return self._wrong.get("achieved", np.zeros((2, len(self.names)), np.bool_))

    def encode(self, goal: Any) -> Any:
        return self._wrong.get("encode", one_hot(goal, len(self.names)))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"names": []}, "has no goals; at least one is needed"),
        ({"names": [["a"], ["b"]]}, "names must be different strings, not [['a'], ['b']]"),
        ({"names": ["a", "a"]}, "names must be different strings, not ['a', 'a']"),
        ({"raises": True}, "does not fit: KeyError: 'ram'"),
        ({"achieved": np.zeros((2, 3), np.bool_)}, "achieved must return bool of shape (N, 2), got bool (2, 3)"),
        ({"achieved": np.zeros((2, 2))}, "achieved must return bool of shape (N, 2), got float64 (2, 2)"),
        ({"encode": np.zeros((2, 2))}, "encode must return float32 (N, K) or (N, H, W), got float64 (2, 2)"),
        ({"encode": None}, "encode must return float32 (N, K) or (N, H, W), got NoneType"),
    ],
)
def test_an_unusable_goal_space_is_one_clear_line(wrong: dict[str, Any], says: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("rlkit.plugins.import_object", lambda path: lambda spec: Odd(spec, **wrong))
    with pytest.raises(SpecError) as error:
        build("mine:Odd", SPEC)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "kwargs", "spec", "says"),
    [
        (
            "envs.goals.minigrid:Objects",
            {},
            SPEC,
            r'needs the signal "state" of at least 17.* has state \(2,\); give env.s',
        ),
        (
            "envs.goals.minigrid:Cells",
            {"cells": [[1, 1]]},
            EnvSpec(Discrete(2), 2, 1),
            'signal "state".* has none; give',
        ),
        ("envs.goals.minigrid:Cells", {"cells": [[1]]}, SPEC, r"must be pairs \[x, y\]"),
        ("envs.goals.minigrid:Cells", {"cells": [[1, 1]], "encoding": "mask"}, SPEC, r"masks need images.*not \(\)"),
        ("envs.goals.chain:States", {"states": [7]}, SPEC, r"states \[7\] must be integers in 1\.\.6"),
        ("envs.goals.chain:States", {"states": [2.5, 3]}, SPEC, r"states \[2.5, 3\] must be integers"),
        ("envs.goals.minigrid:Cells", {"cells": [[1.7, 1]]}, SPEC, "pairs .* of non-negative integers"),
        ("envs.goals.chain:States", {"states": []}, SPEC, "has no goals"),
        ("envs.goals.chain:States", {"stats": [1]}, SPEC, "unexpected keyword argument 'stats'"),
        ("envs.goals.chain:States", {}, EnvSpec(Box(0, 1, (2,)), 2, 1), "need Discrete observations"),
        ("envs.goals.chain:__doc__", {}, SPEC, "expected a callable"),
    ],
)
def test_what_does_not_match_the_environment(name: str, kwargs: Any, spec: EnvSpec, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        build(name, spec, **kwargs)


def test_objects_that_nobody_knows() -> None:
    signals = {"state": ArraySpec((17,), np.int16), "standing": ArraySpec((1,), np.int16)}
    spec = EnvSpec(Box(0, 255, (5, 5, 3), np.uint8), 7, 1, signals=signals)
    with pytest.raises(SpecError, match=r"\['sword'\] not known; there are key, ball"):
        build("envs.goals.minigrid:Objects", spec, objects=["key", "sword"])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="no plug-in 'chian-states' among the goals"):
        build("chian-states", SPEC)
