"""Observations that maximise a score: gradient ascent on the input (Simonyan et al. 2013, section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.agent import ScoreFunction
from rlkit.look.attack import Bounds, require_gradient
from rlkit.look.compose import composed, composed_picture, is_of_codes
from rlkit.look.explain import Kept, Progress, entry_names, is_picture, names_of
from rlkit.look.pictures import BAR, LINE, new_figure, title
from rlkit.look.playing import play, require_scores
from rlkit.runs.policy import LoadedPolicy

STARTS, STEPS = 4, 150  # per output
RATE = 0.02  # of Adam, in units of the spread of an entry
PENALTY = 0.2  # of the squared distance from the start, per entry, as a share of the scores' spread
NOISE = 0.1  # deviation of a start from the mean observation, in units of the spread


@dataclass(frozen=True, slots=True)
class Maximised:
    """For each output the found observations, and their scores."""

    outputs: tuple[str, ...]  # (K,)
    name: str  # of the scores
    observations: NDArray[np.float32]  # (K, STARTS, *O)
    scores: NDArray[np.float64]  # (K, STARTS)
    usual: NDArray[np.float64]  # (K,) the mean scores over an episode
    mean: NDArray[np.float32]  # (*O) the mean observation of the episode, from which the search starts


def maximising_picture(loaded: LoadedPolicy, progress: Progress) -> Any:
    """The figure of `--maximise`: by gradient ascent, or of codes by exchanging cells.

    Raises SpecError for other observations that are codes, and for several parts.
    """
    policy, kept = require_scores(loaded), Kept()
    play(loaded, 1, kept.add, render=False)
    first = kept.moments[0]
    if is_of_codes(loaded, policy.score_functions(first.observation, first.before)[0], first.observation.obs):
        return composed_picture(loaded, composed(loaded, progress))
    return maximised_picture(loaded, maximised(loaded, progress))


def maximised(loaded: LoadedPolicy, progress: Progress) -> Maximised:
    """Maximises the score of each output before its softmax, less a penalty on the distance from the start.

    It starts near the mean observation of an evaluation episode, from STARTS points, and stays within the bounds of
    observations. The penalty is 0.2 for each squared deviation of an entry, in deviations of the scores; Simonyan et
    al. penalise the squared norm and start from zero. Raises SpecError for observations that are codes.
    """
    policy, bounds, kept = require_scores(loaded), Bounds.of(loaded.spec), Kept()
    play(loaded, 1, kept.add, render=False)
    observations = torch.from_numpy(np.concatenate([moment.observation.obs for moment in kept.moments])).float()
    function = policy.score_functions(kept.moments[0].observation, kept.moments[0].before)[0]
    observations = observations.to(next(function.module.parameters()).device)
    require_gradient(function, observations[:1])
    context = tuple(part[:1] for part in function.context)
    with torch.no_grad():
        usual = _scores(function, observations, context)
    spread, mean = observations.std(0, correction=0).clamp_min(1e-3), observations.mean(0)
    if is_picture(loaded):
        spread = torch.full_like(spread, float(observations.std().clamp_min(1e-3)))
    names, generator = names_of(loaded, function), torch.Generator().manual_seed(0)
    found, scores = [], []
    for number in range(len(names)):
        noise = torch.randn(STARTS, *mean.shape, generator=generator).to(mean.device)
        start = bounds.clamped(mean + NOISE * spread * noise)
        best = _ascent(function, number, start, mean, spread, float(usual.std()), bounds, context)
        found.append(best.cpu().numpy())
        with torch.no_grad():
            scores.append(_scores(function, best, context)[:, number].cpu().double().numpy())
        progress(number + 1, len(names))
    return Maximised(names, function.name, np.array(found), np.array(scores), usual.mean(0).cpu().double().numpy(),
                     mean.cpu().numpy())  # fmt: skip


def _scores(function: ScoreFunction, obs: Tensor, context: tuple[Tensor, ...]) -> Tensor:
    """(M, K)"""
    scores: Tensor = function.function(
        function.encode(obs), *(part.expand(len(obs), *part.shape[1:]) for part in context)
    )
    return scores


def _ascent(
    function: ScoreFunction, output: int, start: Tensor, mean: Tensor, spread: Tensor, deviation: float,
    bounds: Bounds, context: tuple[Tensor, ...],
) -> Tensor:  # fmt: skip
    """(STARTS, *O) where the ascent of one output's score ends."""
    change = ((start - mean) / spread).requires_grad_()
    optimizer = torch.optim.Adam([change], RATE)
    for _ in range(STEPS):
        score = _scores(function, bounds.clamped(mean + spread * change), context)[:, output]
        cost = PENALTY * max(deviation, 1e-6) * change.square().flatten(1).sum(1) - score
        (change.grad,) = torch.autograd.grad(cost.sum(), change)
        optimizer.step()
    return bounds.clamped(mean + spread * change.detach())


def maximised_picture(loaded: LoadedPolicy, found: Maximised) -> Any:
    """A row for each output: pictures of all starts, or for vectors a panel of bars."""
    figure = (_pictures if is_picture(loaded) else _vectors)(loaded, found)
    what = f"Observations that maximise the {found.name.removesuffix('s')} of each action"
    figure.suptitle(title(loaded, what), fontsize=10)
    return figure


def _vectors(loaded: LoadedPolicy, found: Maximised) -> Any:
    names, outputs = entry_names(loaded, found.mean.size), found.outputs
    figure = new_figure(3.0 * len(outputs) + 2.2, 0.3 * len(names) + 1.9)
    axes = figure.subplots(1, len(outputs), squeeze=False, sharey=True, sharex=True)[0]
    for number, axis in enumerate(axes):
        observations = found.observations[number]
        low, high = observations.min(0), observations.max(0)
        middle = observations.mean(0)
        axis.barh(names, middle, color=BAR, xerr=np.stack([middle - low, high - middle]), error_kw={"ecolor": LINE})
        axis.plot(found.mean, names, "k|", markersize=12, label="mean of an episode")
        axis.axvline(0, color=LINE, linewidth=0.6)
        scores = found.scores[number]
        axis.set_title(f"{outputs[number]}: {scores.mean():.3g} (mean {found.usual[number]:.3g})", fontsize=8)
        axis.set_xlabel("value of the entry; line: range over starts", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    axes[0].legend(frameon=False, fontsize=7)
    return figure


def _pictures(loaded: LoadedPolicy, found: Maximised) -> Any:
    """The mean observation and the found ones; of observations with channels the channels of the best one."""
    columns = [_shown(loaded, found, number) for number in range(len(found.outputs))]
    figure = new_figure(1.9 * len(columns[0]) + 0.4, 2.1 * len(found.outputs) + 0.8)
    axes = figure.subplots(len(found.outputs), len(columns[0]), squeeze=False)
    bounds = Bounds.of(loaded.spec)
    low, high = float(bounds.low.min()), float(bounds.high.max())
    for number, row in enumerate(axes):
        for axis, (text, frame) in zip(row, columns[number], strict=True):
            axis.imshow(frame, cmap="inferno", interpolation="nearest", vmin=low, vmax=high)
            axis.set_title(text, fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(
            f"{found.outputs[number]}\n{found.usual[number]:.3g}, now {found.scores[number].max():.3g}", fontsize=8
        )
    return figure


def _shown(loaded: LoadedPolicy, found: Maximised, number: int) -> list[tuple[str, NDArray[np.float32]]]:
    """(title, frame (H, W)) of each column of an output's row."""
    stack, rank = loaded.spec.stack, found.mean.ndim
    if rank == 2 or (stack is not None and rank == 3):

        def frame(obs: NDArray[np.float32]) -> NDArray[np.float32]:
            return obs if rank == 2 or stack is None else np.take(obs, stack.size - 1, stack.axis)

        starts = [(f"start {index + 1}: {score:.3g}", frame(obs)) for index, (score, obs) in
                  enumerate(zip(found.scores[number], found.observations[number], strict=True))]  # fmt: skip
        return [("mean observation", frame(found.mean)), *starts]
    best = found.observations[number, found.scores[number].argmax()]
    shape = best.shape
    axis = 0 if shape[1] == shape[2] and shape[0] != shape[1] else -1
    channels = np.moveaxis(best, axis, 0).reshape(-1, *(shape[1:] if axis == 0 else shape[-3:-1]))[:8]
    return [(f"channel {index}", channel) for index, channel in enumerate(channels)]
