"""What scores depend on, over episodes of a policy: attributions of some steps as a picture, of all as a video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.agent import ScoreFunction
from rlkit.look.attribution import Method, attribute, reduced
from rlkit.look.overlay import bar_panel, on_screen, overlaid, scale_of
from rlkit.look.playing import Moment, play, require_scores, scored
from rlkit.nn.scores import shown_entries
from rlkit.runs.policy import LoadedPolicy
from rlkit.runs.video import ActionProbabilities, ActionValues, Caption, VideoFile, beside, frames_per_second
from rlkit.types import SCREEN, Observation

KEPT = 400  # steps at most that a picture is made from

Progress = Callable[[int, int], None]
"""Called with what is done, and with the total."""


@dataclass(frozen=True, slots=True)
class Part:
    """One score function at some steps."""

    name: str  # of the scores
    outputs: tuple[str, ...]  # (K,) names of the outputs
    chosen: NDArray[np.int64]  # (T,)
    scores: NDArray[np.float64]  # (T, K)
    maps: NDArray[np.float64]  # (T, H, W) or (T, entries) attributions of the chosen outputs


@dataclass(frozen=True, slots=True)
class Explained:
    """The attributions at some steps of a policy's episodes."""

    method: Method
    moments: list[Moment]  # T of them
    parts: list[Part]
    returns: NDArray[np.float64]  # of all episodes played


class Kept:
    """Keeps fewer than `most` moments, evenly spaced over all."""

    def __init__(self, most: int = KEPT) -> None:
        self.moments: list[Moment] = []
        self._most, self._every, self._seen = most, 1, 0

    def add(self, moment: Moment) -> None:
        if self._seen % self._every == 0:
            self.moments.append(moment)
        self._seen += 1
        if len(self.moments) >= self._most:
            self.moments, self._every = self.moments[::2], 2 * self._every


def is_picture(loaded: LoadedPolicy) -> bool:
    """Whether the observations are pictures, and not vectors."""
    return len(loaded.spec.observation_space.shape or ()) >= 2


def explain(loaded: LoadedPolicy, episodes: int, method: Method, frames: int, progress: Progress) -> Explained:
    """Plays episodes and attributes the scores of `frames` steps; of vectors those of all steps, at most KEPT.

    Of pictures the most decisive step of each of `frames` equal parts of the play is taken, at which the two highest
    scores of actions differ most. Raises ConfigError if pictures are observed and the environment cannot be rendered.
    """
    policy, kept = require_scores(loaded), Kept()
    scores = play(loaded, episodes, kept.add, render=is_picture(loaded))
    functions = [scored(policy, moment) for moment in kept.moments]
    values = [_values(found[0][0], moment) for found, moment in zip(functions, kept.moments, strict=True)]
    chosen = _decisive(np.array(values), frames) if is_picture(loaded) else list(range(len(kept.moments)))
    moments, found = [kept.moments[index] for index in chosen], [functions[index] for index in chosen]
    parts, total = [], len(functions[0]) * len(chosen)
    for number, mean in enumerate(_means(functions, kept.moments)):
        maps = []
        for done, (moment, each) in enumerate(zip(moments, found, strict=True), number * len(chosen) + 1):
            maps.append(_map(*each[number], moment, method, mean))
            progress(done, total)
        parts.append(_part(loaded, [each[number] for each in found], moments, np.array(maps)))
    return Explained(method, moments, parts, scores.returns)


def _map(function: ScoreFunction, output: int, moment: Moment, method: Method, mean: Tensor) -> NDArray[np.float64]:
    """(H, W) or (entries,) the attributions of one output."""
    found = attribute(function, _inputs(function, moment.observation), np.array([output]), method, mean)
    values: NDArray[np.float64] = reduced(found, method, function.entries)[0]
    return values


def _part(
    loaded: LoadedPolicy,
    functions: Sequence[tuple[ScoreFunction, int]],
    moments: Sequence[Moment],
    maps: NDArray[np.float64],
) -> Part:
    scores = [_values(function, moment) for (function, _), moment in zip(functions, moments, strict=True)]
    first, chosen = functions[0][0], np.array([output for _, output in functions])
    return Part(first.name, names_of(loaded, first), chosen, np.array(scores), maps)


def names_of(loaded: LoadedPolicy, function: ScoreFunction) -> tuple[str, ...]:
    """The names of the outputs of a score function."""
    return (
        function.labels
        or loaded.spec.action_names
        or tuple(f"action {number}" for number in range(loaded.spec.num_actions))
    )


def entry_names(loaded: LoadedPolicy, count: int) -> tuple[str, ...]:
    """The names of `count` entries of a vector."""
    known = loaded.spec.observation_names
    if loaded.spec.structure is not None:
        known = tuple(name for part in shown_entries(loaded.spec.structure) for name in part)
    return known if len(known) == count else tuple(f"entry {number}" for number in range(count))


def _inputs(function: ScoreFunction, observation: Observation) -> Tensor:
    """(1, *F) what the layers read."""
    with torch.no_grad():
        return function.encode(torch.from_numpy(np.array(observation.obs)).to(_device(function)))


def _device(function: ScoreFunction) -> torch.device:
    return next((parameter.device for parameter in function.module.parameters()), torch.device("cpu"))


def _values(function: ScoreFunction, moment: Moment) -> NDArray[np.float64]:
    """(K,) the scores at a moment."""
    with torch.no_grad():
        scores = function.function(_inputs(function, moment.observation), *function.context)
    values: NDArray[np.float64] = scores[0].cpu().double().numpy()
    return values


def _means(functions: Sequence[list[tuple[ScoreFunction, int]]], moments: Sequence[Moment]) -> list[Tensor]:
    """The mean input (*F) of each score function."""
    return [
        torch.cat(
            [_inputs(found[number][0], moment.observation) for found, moment in zip(functions, moments, strict=True)]
        ).mean(0)
        for number in range(len(functions[0]))
    ]


def _decisive(values: NDArray[np.float64], count: int) -> list[int]:
    """In each of `count` equal parts of the steps (T, K) the one at which the two highest values differ most."""
    gaps = np.ptp(np.sort(values, 1)[:, -2:], axis=1)
    return [int(part[gaps[part].argmax()]) for part in np.array_split(np.arange(len(gaps)), count) if len(part)]


class Film:
    """Draws the attributions of every step into a video."""

    def __init__(self, loaded: LoadedPolicy, method: Method, video: VideoFile, means: list[Tensor]) -> None:
        self._loaded, self._method, self._video, self._means = loaded, method, video, means
        self._policy = require_scores(loaded)
        self._scale = np.zeros(len(means))  # the largest attribution so far, of each score function

    def add(self, moment: Moment) -> None:
        maps = []
        for number, (function, output) in enumerate(scored(self._policy, moment)):
            maps.append(_map(function, output, moment, self._method, self._means[number]))
            self._scale[number] = max(self._scale[number], scale_of(maps[-1]))
        self._video.write(self._picture(moment, maps))

    def _picture(self, moment: Moment, maps: list[NDArray[np.float64]]) -> NDArray[np.uint8]:
        loaded, screen = self._loaded, moment.observation.signals[SCREEN][0]
        lines, values = lines_of(loaded, moment)
        parts = [function for function, _ in scored(self._policy, moment)]
        names = names_of(loaded, parts[0])
        if maps[0].ndim == 2:
            screens = [
                overlaid(screen, on_screen(values, moment.observation), scale, self._method)
                for values, scale in zip(maps, self._scale, strict=True)
            ]
            if len(parts) > 1:
                lines[-1:-1] = [f"maps: {', '.join(part.name for part in parts)}"]
            return beside(np.concatenate(screens, 1), lines, names, values, moment.action)
        picture = beside(screen, lines, names, values, moment.action)
        bars = [
            bar_panel(f"{part.name} by {self._method}", entry_names(loaded, len(values)), values, scale, len(picture))
            for part, values, scale in zip(parts, maps, self._scale, strict=True)
        ]
        return np.concatenate([picture, *bars], 1)


def lines_of(loaded: LoadedPolicy, moment: Moment) -> tuple[list[str], NDArray[Any] | None]:
    """The text beside a step, and the advantages (A,) of the actions or their probabilities.

    The advantage of an action is its value less the highest value. Of a policy that offers score functions alone, they
    are these scores, less the highest.
    """
    policy, lines = loaded.policy, [f"return  {moment.total:g}", f"step  {moment.step:,}"]
    if isinstance(policy, Caption):
        lines.append(policy.caption(moment.state)[0])
    if isinstance(policy, ActionProbabilities):
        probabilities, value = policy.action_probabilities(moment.observation, moment.before)
        return [*lines, f"value  {float(value[0]):.3f}", "probabilities:"], probabilities[0]
    if isinstance(policy, ActionValues):
        values = policy.action_values(moment.observation, moment.before)[0]
        return [*lines, f"value  {float(values.max()):.3f}", "advantages:"], values - values.max()
    (function, _), *others = scored(require_scores(loaded), moment)
    values = _values(function, moment)
    if function.labels:  # its outputs are no actions
        return lines, None
    if function.name == "action values":
        return [*lines, f"value  {values.max():.3f}", "advantages:"], values - values.max()
    shown = [f"{other.name.removeprefix('state ')}  {_values(other, moment)[0]:.3f}" for other, _ in others]
    return [*lines, *shown[:1], f"{function.name}, less the highest:"], values - values.max()


def film(loaded: LoadedPolicy, episodes: int, method: Method, path: Path, steps: int, progress: Progress) -> int:
    """Writes a video of the first `steps` steps of the evaluation episodes; returns how many it shows.

    Raises ConfigError if the environment cannot be rendered.
    """
    policy, kept = require_scores(loaded), Kept()
    play(loaded, episodes, kept.add, render=False)
    means = _means([scored(policy, moment) for moment in kept.moments], kept.moments)
    shown = 0
    with VideoFile(path, frames_per_second(loaded.spec)) as video:
        drawn = Film(loaded, method, video, means)

        def add(moment: Moment) -> None:
            nonlocal shown
            if shown < steps:
                drawn.add(moment)
                shown += 1
                progress(shown, steps)

        play(loaded, episodes, add, render=True)
    return shown
