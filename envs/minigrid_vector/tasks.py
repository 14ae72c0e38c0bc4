"""What MiniGrid's environments reward, for N worlds at once: one task per class of the package that defines `step`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from minigrid.core.actions import Actions
from minigrid.core.world_object import WorldObj
from minigrid.envs.blockedunlockpickup import BlockedUnlockPickupEnv
from minigrid.envs.dynamicobstacles import DynamicObstaclesEnv
from minigrid.envs.fetch import FetchEnv
from minigrid.envs.gotodoor import GoToDoorEnv
from minigrid.envs.gotoobject import GoToObjectEnv
from minigrid.envs.keycorridor import KeyCorridorEnv
from minigrid.envs.memory import MemoryEnv
from minigrid.envs.obstructedmaze import ObstructedMazeEnv
from minigrid.envs.putnear import PutNearEnv
from minigrid.envs.redbluedoors import RedBlueDoorEnv
from minigrid.envs.unlock import UnlockEnv
from minigrid.envs.unlockpickup import UnlockPickupEnv
from minigrid.minigrid_env import MiniGridEnv
from numpy.typing import NDArray

from envs.minigrid_vector.codes import CODES, EMPTY, LOOKS, MARKED, OPEN_DOOR, Thing


@dataclass(slots=True)
class Step:
    """One step of N worlds. A task may change `won` and `over`; both begin with goal squares and lava."""

    column: int  # cells in a column, with the border
    action: NDArray[np.int64]  # (N,)
    cells: NDArray[np.uint8]  # flat, after the step
    agent: NDArray[np.int64]  # (N,) after the step, an index into `cells`
    front: NDArray[np.int64]  # (N,) the cell that was ahead of the agent before the step
    ahead: NDArray[np.uint8]  # (N,) its content before the step
    held: NDArray[np.int64]  # (N,) what was carried before the step
    carried: NDArray[np.int64]  # (N,) and after it
    won: NDArray[np.bool_]  # (N,) whether the step is rewarded
    over: NDArray[np.bool_]  # (N,) whether it ends the episode
    places: NDArray[np.int64]  # (N, K) the cells that the task is about, see Task
    codes: NDArray[np.int64]  # (N, K) the things that it is about


@dataclass(frozen=True, slots=True)
class Task:
    """How `step` of one class differs from MiniGridEnv's.

    judge: changes `won` and `over` of a step.
    places, codes: read from a new layout what `judge` needs: K positions (x, y), and K codes.
    fetched: the object to fetch, which is marked, since others may look like it.
    action: (7,) the action that is carried out in place of each action.
    moving: `places` are balls that move before each step; a collision ends the episode with reward -1.
    """

    judge: Callable[[Step], None] = lambda step: None
    places: Callable[[Any], list[Sequence[int]]] = lambda env: []
    codes: Callable[[Any], list[int]] = lambda env: []
    fetched: Callable[[Any], WorldObj] | None = None
    action: NDArray[np.int64] | None = None
    moving: bool = False


def position(env: Any, thing: WorldObj) -> tuple[int, int]:
    """Of an object of the grid. The package does not record it for every object."""
    index = next(index for index, cell in enumerate(env.grid.grid) if cell is thing)
    return index % env.width, index // env.width


def _look(kind: str, colour: str) -> int:
    return CODES[Thing(kind, colour)]


def _look_alike(code: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    alike: NDArray[np.bool_] = (LOOKS[code] == LOOKS[other]).all(-1)
    return alike


def _distance(step: Step, one: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """|x - x'| and |y - y'| of two places of the same world."""
    (x, y), (u, v) = np.divmod(one, step.column), np.divmod(other, step.column)
    return abs(x - u), abs(y - v)


def _open(step: Step, door: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a door was open before the step, and after it."""
    after = step.cells[door]
    before = np.where(step.front == door, step.ahead, after)  # a step changes no other cell
    return OPEN_DOOR[before], OPEN_DOOR[after]


def _pick_up(step: Step) -> None:
    found = (step.action == Actions.pickup) & MARKED[step.carried]
    step.won |= found
    step.over |= found


def _unlock(step: Step) -> None:
    opened = (step.action == Actions.toggle) & _open(step, step.places[:, 0])[1]
    step.won |= opened
    step.over |= opened


def _fetch(step: Step) -> None:
    holding = step.carried != EMPTY
    step.won = np.where(holding, _look_alike(step.carried, step.codes[:, 0]), step.won)
    step.over |= holding


def _go_to(step: Step) -> None:
    done = step.action == Actions.done
    x, y = _distance(step, step.agent, step.places[:, 0])
    step.won |= done & (x + y == 1)
    step.over |= done | (step.action == Actions.toggle)


def _put_near(step: Step) -> None:
    """The code is the object to move, the place that of the other object."""
    holding = step.carried != EMPTY
    wrong = (step.action == Actions.pickup) & holding & ~_look_alike(step.carried, step.codes[:, 0])
    dropping = (step.action == Actions.drop) & (step.held != EMPTY)
    near = np.maximum(*_distance(step, step.front, step.places[:, 0])) <= 1
    step.won |= dropping & ~holding & near
    step.over |= wrong | dropping


def _remember(step: Step) -> None:
    right, wrong = step.agent == step.places[:, 0], step.agent == step.places[:, 1]
    step.won = (step.won | right) & ~wrong
    step.over |= right | wrong


def _red_then_blue(step: Step) -> None:
    red_before, red_after = _open(step, step.places[:, 0])
    blue_before, blue_after = _open(step, step.places[:, 1])
    closed = ~blue_after & blue_before & red_after
    step.won = np.where(blue_after, red_before, step.won & ~closed)
    step.over |= blue_after | closed


FETCH_ONE = Task(_pick_up, fetched=lambda env: env.obj)
GO_TO = Task(_go_to, lambda env: [env.target_pos])
TOGGLE_FOR_PICKUP = np.array([Actions.toggle if action is Actions.pickup else action for action in Actions], np.int64)

TASKS: dict[type, Task] = {
    MiniGridEnv: Task(),  # the goal square and lava
    BlockedUnlockPickupEnv: FETCH_ONE,
    DynamicObstaclesEnv: Task(places=lambda env: [ball.cur_pos for ball in env.obstacles], moving=True),
    FetchEnv: Task(_fetch, codes=lambda env: [_look(env.targetType, env.targetColor)]),
    GoToDoorEnv: GO_TO,
    GoToObjectEnv: GO_TO,
    KeyCorridorEnv: FETCH_ONE,
    MemoryEnv: Task(_remember, lambda env: [env.success_pos, env.failure_pos], action=TOGGLE_FOR_PICKUP),
    ObstructedMazeEnv: FETCH_ONE,
    PutNearEnv: Task(_put_near, lambda env: [env.target_pos], lambda env: [_look(env.move_type, env.moveColor)]),
    RedBlueDoorEnv: Task(_red_then_blue, lambda env: [position(env, env.red_door), position(env, env.blue_door)]),
    UnlockEnv: Task(_unlock, lambda env: [position(env, env.door)]),
    UnlockPickupEnv: FETCH_ONE,
}
"""By the class whose `step` an environment uses."""
