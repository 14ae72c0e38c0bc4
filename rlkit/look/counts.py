"""Where a run has been: the visits that its count bonus counted, and what the bonus pays there now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit import plugins
from rlkit.config.tables import Config
from rlkit.errors import ConfigError, RunError
from rlkit.exploration.count.bonus import CountBonus
from rlkit.look.episodes import count_bonus
from rlkit.look.explain import Progress
from rlkit.look.pictures import new_figure
from rlkit.look.played_again import LoggedPart, logged_parts, play_back
from rlkit.metrics.visits import Visits
from rlkit.runs.directory import RunDirectory
from rlkit.types import SCREEN, EnvSpec, Observation, Purpose, StepBatch

EXAMPLES = 6  # of the commonest codes, and of the rarest


@dataclass(frozen=True, slots=True)
class Code:
    """A code of states, and where it was met soonest after a seed."""

    digest: int
    count: int  # visits in the run
    pays: float  # the bonus of a visit now, without an episodic factor
    part: LoggedPart
    steps: int  # of the part up to that state


@dataclass(frozen=True, slots=True)
class Been:
    """The codes that were met, and a grid of positions if `train.visits` defines one."""

    codes: list[Code]  # by their count, the commonest first
    visits: NDArray[np.int64] | None  # (vertical, horizontal)
    pays: NDArray[np.float64] | None  # likewise: the mean over the codes met there; NaN where nothing was met
    env_steps: int


class _Met:
    """Collects codes and positions from steps."""

    def __init__(self, bonus: CountBonus, visits: Visits | None) -> None:
        self._bonus, self.visits = bonus, visits
        self.soonest: dict[int, tuple[int, LoggedPart]] = {}
        self.cells: dict[tuple[int, int], set[int]] = {}

    def add(self, row: int, step: StepBatch, active: list[LoggedPart | None]) -> None:
        counter = self._bonus.visits
        digests = counter.hash(counter.features(step.after)).tolist()
        cells = None if self.visits is None else self.visits.cells(step.after)
        if self.visits is not None:
            self.visits.observe(step)
        for env, (digest, part) in enumerate(zip(digests, active, strict=True)):
            if part is None:
                continue
            steps = row + 1 - part.first
            if digest not in self.soonest or steps < self.soonest[digest][0]:
                self.soonest[digest] = steps, part
            if cells is not None:
                self.cells.setdefault((int(cells[env, 0]), int(cells[env, 1])), set()).add(digest)


def been(run: RunDirectory, config: Config, progress: Progress) -> Been:
    """Plays the action log again and looks up what the newest checkpoint counted.

    Raises ConfigError if the agent has no count bonus whose codes can be computed again, RunError without a checkpoint.
    """
    steps = run.checkpoints.steps()
    if not steps:
        raise RunError(f"{run.path} has no checkpoint, which holds the counts of the bonus")
    environments = plugins.load(plugins.ENVS, config.env.name).make(config.env, config.train.num_envs, Purpose.TRAIN)
    try:
        bonus = _loaded(run, steps[-1], config, environments.spec)
        visits = Visits(config.train.visits, environments.spec) if config.train.visits else None
        met, found = _Met(bonus, visits), logged_parts(run, config)
        last = max(part.end for part in found)

        def on_step(row: int, step: StepBatch, active: list[LoggedPart | None]) -> None:
            met.add(row, step, active)
            progress(row + 1, last)

        play_back(environments, found, on_step)
    finally:
        environments.close()
    codes = _codes(bonus, met)
    pays = None
    if visits is not None:
        pays = np.full(visits.counts.shape, np.nan)
        by_digest = {code.digest: code.pays for code in codes}
        for (row, column), digests in met.cells.items():
            pays[row, column] = np.mean([by_digest[digest] for digest in digests])
    return Been(codes, None if visits is None else visits.counts, pays, steps[-1])


def _loaded(run: RunDirectory, step: int, config: Config, spec: EnvSpec) -> CountBonus:
    bonus = count_bonus(config, spec)
    if bonus is None:
        raise ConfigError(
            f'{run.path}: --counts needs a count bonus (agent.bonus, type = "count") whose codes are not learned'
        )
    level = "agent/bonus" if hasattr(config.agent, "bonus") else "agent/controller/bonus"
    with run.naming_versions("the state of the bonus"):
        bonus.load_state_dict(run.checkpoints.load(step, level))
    if not bonus.visits.hash.ready:
        raise RunError(f"{run.path}: nothing was counted up to step {step}")
    return bonus


def _codes(bonus: CountBonus, met: _Met) -> list[Code]:
    digests = np.array(list(met.soonest), np.int64)
    counts = bonus.visits.states.look_up(digests)[:, 0]
    pays = bonus.lifelong(counts)
    codes = [
        Code(int(digest), int(count), float(each), part, steps)
        for digest, count, each, (steps, part) in zip(digests, counts, pays, met.soonest.values(), strict=True)
    ]
    return sorted(codes, key=lambda code: -code.count)


def counts_picture(run: RunDirectory, config: Config, found: Been) -> Any:
    """The grid of positions, or example frames of the commonest and the rarest codes."""
    heading = f"{config.label}, {config.agent.name}, after {found.env_steps:,} steps of training"
    if found.visits is None or found.pays is None:
        return _frames(run, config, found, heading)
    figure = new_figure(8.6, 4.1)
    left, right = figure.subplots(1, 2)
    visits = np.where(found.visits > 0, found.visits, np.nan)
    from matplotlib.colors import LogNorm

    _grid(figure, left, visits, "visits in training", LogNorm(1, max(2.0, float(np.nanmax(visits)))))
    _grid(figure, right, found.pays, "bonus for a visit now, mean over the states there", None)
    figure.suptitle(f"Where it has been\n{heading}", fontsize=10)
    return figure


def _grid(figure: Any, axis: Any, values: NDArray[np.float64], label: str, norm: Any) -> None:
    axis.set_facecolor("black")  # never visited
    image = axis.imshow(values, norm=norm, cmap="viridis", interpolation="nearest")
    axis.tick_params(labelsize=7)
    for side in (axis.xaxis, axis.yaxis):
        side.get_major_locator().set_params(integer=True)
    axis.set_title(f"{label} (black: none)", fontsize=8)
    figure.colorbar(image, ax=axis, fraction=0.046, pad=0.02).ax.tick_params(labelsize=7)


def _frames(run: RunDirectory, config: Config, found: Been, heading: str) -> Any:
    """The commonest codes in the upper row, the rarest below; of equally rare ones those that are found soonest."""
    commonest = found.codes[:EXAMPLES]
    rarest = sorted(found.codes[EXAMPLES:], key=lambda code: (code.count, code.steps))[:EXAMPLES]
    figure = new_figure(1.9 * EXAMPLES, 5.4)
    axes = figure.subplots(2, EXAMPLES, squeeze=False)
    for name, codes, row in (("commonest", commonest, axes[0]), ("rarest", rarest, axes[1])):
        for index, axis in enumerate(row):
            axis.set_axis_off()
            if index < len(codes):
                code = codes[index]
                axis.imshow(screen_of(config, code))
                axis.set_title(
                    f"{code.count:,} visit{'s' if code.count != 1 else ''}\nbonus now {code.pays:.2g}", fontsize=8
                )
        row[0].text(-0.06, 0.5, name, rotation=90, va="center", ha="right", fontsize=9, transform=row[0].transAxes)
    figure.suptitle(
        f"The commonest and the rarest of {len(found.codes):,} codes: an example of each\n{heading}", fontsize=10
    )
    return figure


def screen_of(config: Config, code: Code) -> NDArray[np.uint8]:
    """(H, W, 3) the screen of a state with the code. Raises ConfigError if there are no pictures."""
    try:
        environments = plugins.load(plugins.ENVS, config.env.name).make(config.env, 1, Purpose.RENDER)
    except ConfigError as error:
        raise ConfigError(f"this environment has no pictures to draw on: {error}") from error
    try:
        everyone = np.ones(1, np.bool_)
        observation: Observation = environments.reset(everyone, np.array([code.part.seed]))
        for number, action in enumerate(code.part.actions[: code.steps], 1):
            environments.send(np.array([action], np.int64))
            raw = environments.receive()
            observation = raw.after
            if (raw.terminated | raw.truncated)[0] and number < code.steps:
                observation = environments.reset(everyone, np.array([-1]))
        screen: NDArray[np.uint8] = observation.signals[SCREEN][0]
        return screen
    finally:
        environments.close()
