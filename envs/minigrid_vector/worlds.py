"""N worlds of MiniGrid, stepped at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from gymnasium.utils import seeding
from minigrid.core.actions import Actions
from minigrid.core.constants import COLOR_TO_IDX, DIR_TO_VEC, OBJECT_TO_IDX
from numpy.typing import NDArray

from envs.minigrid_vector.codes import AT_GOAL, EMPTY, GOAL, LOOKS, NOTHING, NUM_CODES, OUTCOMES
from envs.minigrid_vector.draws import draws
from envs.minigrid_vector.layouts import Layout, Layouts
from envs.minigrid_vector.moving import move_obstacles
from envs.minigrid_vector.sight import Sight
from envs.minigrid_vector.tasks import Step
from rlkit.errors import SpecError

AGENT = OBJECT_TO_IDX["agent"], COLOR_TO_IDX["red"]
TURNS = np.array([[(before + turn) % 4 for before in range(4)] for turn in (-1, 1, 0, 0, 0, 0, 0)]).ravel()
"""Direction after an action, indexed by action * 4 + direction."""


class Worlds:
    """The state of N worlds: that of N environments of the package with the same seeds and actions.

    layout_seed: every episode has the layout of this seed, whatever the seeds of `reset`; None: layouts differ.
    limit: steps after which an episode is truncated, at most `layouts.limit`; None: `layouts.limit`.

    Reset all worlds before the first step, and those that ended before the next one.
    """

    def __init__(
        self, layouts: Layouts, num_envs: int, layout_seed: int | None = None, limit: int | None = None
    ) -> None:
        env = layouts.env
        self.layouts = layouts
        self.num_envs = num_envs
        self.num_actions = int(env.action_space.n)  # type: ignore[attr-defined]
        self._layout_seed = layout_seed
        self._max_steps = env.max_steps
        self.limit = layouts.limit if limit is None else limit
        self._task = layouts.task
        self._sight = Sight(env.agent_view_size, layouts.column, env.see_through_walls)
        self._ahead = np.array([x * layouts.column + y for x, y in DIR_TO_VEC], np.int64)  # by direction
        self._rngs = [draws(seeding.np_random()[0]) for _ in range(num_envs)]  # until a reset has a seed
        self._grid = np.zeros((num_envs, *layouts.shape), np.uint8)
        self._cells = self._grid.reshape(-1)  # the same memory
        self._base = np.arange(num_envs) * self._grid[0].size  # where a world's cells begin
        self.agent = np.zeros(num_envs, np.int64)  # an index into the flat cells
        self.direction = np.zeros(num_envs, np.int64)  # 0 right, 1 down, 2 left, 3 up
        self.carried = np.zeros(num_envs, np.int64)  # a code; EMPTY for nothing
        self.won = np.zeros(num_envs, np.bool_)  # whether the latest step completed the task
        self._age = np.zeros(num_envs, np.int64)  # steps of the episode
        self._places = np.zeros((num_envs, layouts.num_places), np.int64)  # of the task, indices into the flat cells
        self._codes = np.zeros((num_envs, layouts.num_codes), np.int64)  # of the task

    def reset(self, which: Iterable[int], seeds: Iterable[int | None]) -> None:
        """Begins an episode in the worlds `which`. The generator of a world without a seed continues."""
        for index, seed in zip(which, seeds, strict=True):
            if self._layout_seed is not None:
                seed = self._layout_seed
            if seed is not None:
                self._rngs[index] = draws(seeding.np_random(seed)[0])
            self._begin(index, self.layouts.generate(self._rngs[index]))

    def _begin(self, index: int, layout: Layout) -> None:
        base = index * layout.cells.size
        self._grid[index] = layout.cells
        self.agent[index] = base + layout.agent
        self.direction[index] = layout.direction
        self.carried[index] = EMPTY
        self.won[index] = False
        self._age[index] = 0
        if len(layout.places) != self.layouts.num_places:
            raise SpecError(f"env.id: {self.layouts.env_id} is not supported: its number of obstacles varies")
        self._places[index] = np.array(layout.places, np.int64) + base
        self._codes[index] = layout.codes

    def step(
        self, action: NDArray[np.int64], resting: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """(reward, terminated, truncated), (N,) each. Actions (N,) must be in 0..num_actions - 1.

        resting: (N,) worlds that will be reset next, so that their generators must not be used; their results are
            meaningless.
        """
        if self._task.action is not None:
            action = self._task.action.take(action)
        bumped = self._move_obstacles(action, resting) if self._task.moving else None
        step = self._act(action)
        self._task.judge(step)
        self.won = step.won
        self._age += 1
        reward = np.zeros(self.num_envs)
        if step.won.any():
            reward[step.won] = 1 - 0.9 * (self._age[step.won] / self._max_steps)
        if bumped is not None:
            reward[bumped] = -1
            step.over |= bumped
        return reward, step.over, self._age >= self.limit

    def _act(self, action: NDArray[np.int64]) -> Step:
        """As MiniGridEnv.step."""
        front = self.agent + self._ahead.take(self.direction)
        ahead = self._cells.take(front)
        held = self.carried
        outcome = OUTCOMES.take((action * NUM_CODES + held) * NUM_CODES + ahead).view(np.uint8).reshape(-1, 4)
        self._cells[front] = outcome[:, 0]
        self.carried = outcome[:, 1].astype(np.int64)
        self.agent = np.where(outcome[:, 2], front, self.agent)
        self.direction = TURNS.take(action * 4 + self.direction)
        event = outcome[:, 3]
        return Step(
            column=self.layouts.column,
            action=action,
            cells=self._cells,
            agent=self.agent,
            front=front,
            ahead=ahead,
            held=held,
            carried=self.carried,
            won=event == AT_GOAL,
            over=event != NOTHING,
            places=self._places,
            codes=self._codes,
        )

    def _move_obstacles(self, action: NDArray[np.int64], resting: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """(N,) Whether the agent moves into what was ahead of it before the obstacles moved."""
        ahead = self._cells.take(self.agent + self._ahead.take(self.direction))
        cells = self._grid.reshape(self.num_envs, -1)
        places = self._places - self._base[:, None]
        agent = (self.agent - self._base).tolist()
        for index in range(self.num_envs) if resting is None else np.flatnonzero(~resting).tolist():
            move_obstacles(cells[index], self.layouts.column, agent[index], places[index], self._rngs[index])
        self._places = places + self._base[:, None]
        bumped: NDArray[np.bool_] = (action == Actions.forward) & (ahead != EMPTY) & ~GOAL[ahead]
        return bumped

    def image(self) -> NDArray[np.uint8]:
        """(N, size, size, 3): what the agents see, as `minigrid.wrappers.ImgObsWrapper` shows it."""
        return self._sight.image(self._cells, self.agent, self.direction, self.carried)

    def full_image(self) -> NDArray[np.uint8]:
        """(N, width, height, 3): the whole grids with the agents, as `minigrid.wrappers.FullyObsWrapper`."""
        image = LOOKS.take(self.layouts.inside(self._grid), axis=0)
        x, y = self.position.T
        image[np.arange(self.num_envs), x, y, :2] = AGENT
        image[np.arange(self.num_envs), x, y, 2] = self.direction
        return image

    @property
    def position(self) -> NDArray[np.int64]:
        """(N, 2) x (to the right) and y (downwards) of the agents."""
        place = self.agent - self._base
        return np.stack(np.divmod(place, self.layouts.column), axis=1) - self.layouts.margin

    @property
    def underfoot(self) -> NDArray[np.uint8]:
        """(N,) The codes of the cells in which the agents are."""
        return self._cells.take(self.agent)

    @property
    def cells(self) -> NDArray[np.uint8]:
        """(N, width, height) codes; a view."""
        return self.layouts.inside(self._grid)

    def picture(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) The package's picture of one world."""
        agent = int(self.agent[index] - self._base[index])
        return self.layouts.picture(self._grid[index], agent, int(self.direction[index]), int(self.carried[index]))
