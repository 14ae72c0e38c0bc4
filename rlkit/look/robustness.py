"""Return against the size of a change of observations, for attacks and for noise of the same size."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit import plugins
from rlkit.look.attack import (
    ATTACKS,
    TITLES,
    Attack,
    Attacked,
    Bounds,
    Perturbation,
    acting,
    float_observations,
    smallest_change,
)
from rlkit.look.attribution import LARGE
from rlkit.look.explain import Kept, Progress, is_picture
from rlkit.look.pictures import new_figure, title
from rlkit.look.playing import play, require_scores
from rlkit.runs.evaluator import evaluation_mode
from rlkit.runs.policy import LoadedPolicy
from rlkit.seeding import Streams
from rlkit.training.evaluation import EvaluationStopped, evaluate
from rlkit.types import Purpose, StepBatch

COLOURS = {"sign": "#D55E00", "pgd": "#0072B2", "noise": "#777777"}
MOMENTS = 100  # of which the smallest change is searched
GREY_SIZES, SIZES = (0.0, 0.25, 0.5, 1.0, 2.0), (0.0, 0.01, 0.02, 0.05, 0.1)  # by default


@dataclass(frozen=True, slots=True)
class Robustness:
    """Returns (attacks, sizes, episodes) under attack, and the smallest changes that change an action."""

    sizes: tuple[float, ...]
    unit: str
    returns: NDArray[np.float64]  # in the order of ATTACKS
    smallest: list[float | None]  # of the sign attack, of steps of the unchanged episodes; None: above `largest`
    largest: float
    steps: int | None  # of an episode that count; None: all

    def to_dict(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "epsilon": list(self.sizes),
            "steps_per_episode": self.steps,
            "returns": {TITLES[name]: rows.tolist() for name, rows in zip(ATTACKS, self.returns, strict=True)},
            "smallest_change_of_an_action": {"epsilon": self.smallest, "searched_up_to": self.largest},
        }


def default_sizes(loaded: LoadedPolicy) -> tuple[float, ...]:
    return GREY_SIZES if Bounds.of(loaded.spec).unit == "1/255" else SIZES


def default_steps(loaded: LoadedPolicy) -> int:
    """Steps of an episode for which the command takes less than two minutes."""
    return 150 if is_picture(loaded) and max(loaded.spec.observation_space.shape or ()) > LARGE else 500


def robustness(
    loaded: LoadedPolicy, sizes: Sequence[float], episodes: int, steps: int | None, progress: Progress
) -> Robustness:
    """Plays the evaluation's episodes under each attack of each size. Size 0 is played once.

    steps: of an episode at most; the return is then of these. Raises SpecError if observations have no small changes.
    """
    require_scores(loaded)
    bounds = Bounds.of(loaded.spec)
    returns = np.zeros((len(ATTACKS), len(sizes), episodes))
    total, done = len(ATTACKS) * len(sizes) + MOMENTS, 0
    plain: NDArray[np.float64] | None = None
    for row, kind in enumerate(ATTACKS):
        for column, size in enumerate(sizes):
            if size == 0 and plain is not None:
                returns[row, column] = plain
            else:
                returns[row, column] = _played(loaded, kind, size, bounds, episodes, steps)
                plain = returns[row, column] if size == 0 else plain
            done += 1
            progress(done, total)
    largest = max(max(sizes), 1e-6)
    smallest = _smallest(loaded, bounds, largest, lambda count: progress(done + count, total))
    return Robustness(tuple(sizes), bounds.unit, returns, smallest, largest, steps)


class _Returns:
    """The returns of the first `steps` steps of each environment's first episode."""

    def __init__(self, num_envs: int, steps: int | None) -> None:
        self.returns = np.zeros(num_envs)
        self._running, self._length, self._limit = np.ones(num_envs, np.bool_), 0, steps

    def on_step(self, step: StepBatch) -> None:
        self.returns[self._running] += step.reward[self._running]
        self._running &= ~step.ended
        self._length += 1

    def over(self) -> bool:
        return not self._running.any() or (self._limit is not None and self._length >= self._limit)


def _played(
    loaded: LoadedPolicy, kind: Attack, size: float, bounds: Bounds, episodes: int, steps: int | None
) -> NDArray[np.float64]:
    """(episodes,) returns, of one episode in each of as many environments, from the evaluation's seeds."""
    config, streams = loaded.config, Streams(loaded.config.train.seed)
    attacked = Attacked(loaded.policy, Perturbation(kind, size, bounds, streams.generator("attack")))
    plugin = plugins.load(plugins.ENVS, config.env.name)
    environments = plugin.make(config.evaluation_env, episodes, Purpose.EVALUATE)
    counted, epsilon, mode = _Returns(episodes, steps), config.evaluation.epsilon, evaluation_mode(config)
    try:
        with contextlib.suppress(EvaluationStopped):
            evaluate(
                attacked, environments, streams.child("evaluation"), episodes, epsilon, counted.on_step,
                mode=mode, stopped=counted.over,
            )  # fmt: skip
    finally:
        environments.close()
    return counted.returns


def _smallest(
    loaded: LoadedPolicy, bounds: Bounds, largest: float, progress: Callable[[int], None]
) -> list[float | None]:
    """Of at most MOMENTS steps of an unchanged episode, evenly spaced."""
    policy, kept = require_scores(loaded), Kept(2 * MOMENTS)
    play(loaded, 1, kept.add, render=False)
    found, moments = [], kept.moments[:: -(-len(kept.moments) // MOMENTS)]
    for number, moment in enumerate(moments, 1):
        function = acting(policy, moment.observation, moment.before)
        obs = float_observations(function, moment.observation.obs)
        found.append(smallest_change(function, obs, bounds, largest))
        progress(MOMENTS * number // len(moments))
    return found


def table_of(found: Robustness) -> list[list[str]]:
    """A row for each attack: the mean return at each size."""
    return [
        [TITLES[name], *(f"{mean:.4g}" for mean in rows.mean(1))]
        for name, rows in zip(ATTACKS, found.returns, strict=True)
    ]


def sentence(found: Robustness) -> str:
    """The smallest changes in words."""
    known = [value for value in found.smallest if value is not None]
    changed = f"{len(known)} of {len(found.smallest)} steps have another action within {found.largest:g}"
    return f"{changed}; median of these {np.median(known):.3g}" if known else changed


def robustness_picture(loaded: LoadedPolicy, found: Robustness) -> Any:
    """Left the mean return by size, a point for each episode; right the smallest changes of an action."""
    figure = new_figure(9.2, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    episodes = found.returns.shape[2]
    for row, name in enumerate(ATTACKS):
        colour, values = COLOURS[name], found.returns[row]
        left.plot(found.sizes, values.mean(1), "o-", color=colour, label=TITLES[name], markersize=4, clip_on=False)
        left.plot(np.repeat(found.sizes, episodes), values.ravel(), ".", color=colour, alpha=0.35, markersize=4)
    unit = "in 1/255 of the range" if found.unit == "1/255" else f"in {found.unit}"
    left.set_xlabel(f"largest change of an entry, {unit}", fontsize=9)
    limit = "" if found.steps is None else f" of the first {found.steps:,} steps"
    left.set_ylabel(f"return{limit}", fontsize=9)
    left.set_title(f"line: mean of {episodes} episodes, points: episodes", fontsize=8)
    left.legend(frameon=False, fontsize=8)
    _draw_smallest(right, found)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    figure.suptitle(title(loaded, "How changes of the observation change the return"), fontsize=10)
    return figure


def _draw_smallest(axis: Any, found: Robustness) -> None:
    """The share of steps whose action a change of at most so much changes."""
    known = np.sort([value for value in found.smallest if value is not None])
    shares = np.arange(1, len(known) + 1) / max(1, len(found.smallest))
    axis.step([0.0, *known, found.largest], [0.0, *shares, *(shares[-1:] if len(known) else [0.0])], where="post",
              color=COLOURS["sign"])  # fmt: skip
    axis.set_ylim(0, 1)
    axis.set_xlim(0, found.largest)
    axis.set_xlabel("size of the gradient-sign change", fontsize=9)
    axis.set_ylabel("share of steps with another action", fontsize=9)
    axis.set_title(f"{len(found.smallest)} steps of an unchanged episode", fontsize=8)
