"""Observations of codes that maximise a score: codes have no small changes, so cells are exchanged for other cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.agent import ScoreFunction
from rlkit.look.attack import has_gradient
from rlkit.look.explain import Kept, Progress, names_of
from rlkit.look.pictures import new_figure, title
from rlkit.look.playing import Moment, play, require_scores
from rlkit.runs.policy import LoadedPolicy
from rlkit.types import SCREEN, SCREEN_CELLS

EPISODES = 5  # whose cells are used
STARTS = 4  # observations of them from which the search starts
EXCHANGES = 8  # of cells, at most
LEAST = 0.1  # gain of an exchange, as a share of the deviation of the scores
FRAME = "#00FFFF"
UNSEEN = 60  # the grey of a cell whose codes are all 0

Tiles = dict[bytes, NDArray[np.uint8]]
"""Codes of a cell → how the screen showed it, (s, s, 3)."""


@dataclass(frozen=True, slots=True)
class Composed:
    """For each output the found observations, and their scores."""

    outputs: tuple[str, ...]  # (K,)
    name: str  # of the scores
    starts: NDArray[np.uint8]  # (STARTS, W, H, C)
    observations: NDArray[np.uint8]  # (K, STARTS, W, H, C)
    scores: NDArray[np.float64]  # (K, STARTS)
    usual: NDArray[np.float64]  # (K,) the mean scores over the episodes
    tiles: Tiles


def is_of_codes(loaded: LoadedPolicy, function: ScoreFunction, obs: NDArray[Any]) -> bool:
    """Whether an observation (1, *O) is a grid of codes, of which the scores have no gradient."""
    shape = loaded.spec.observation_space.shape or ()
    if obs.dtype != np.uint8 or len(shape) != 3 or shape[-1] % 3:
        return False
    device = next(function.module.parameters()).device
    return not has_gradient(function, torch.from_numpy(obs.astype(np.float32)).to(device))


def composed(loaded: LoadedPolicy, progress: Progress) -> Composed:
    """Maximises the score of each output before its softmax over observations made of cells that occur in episodes.

    From STARTS steps of the evaluation episodes: the exchange of one cell that raises the score most, again and again,
    at most EXCHANGES times and while it gains enough. Raises ConfigError if the environment cannot be rendered.
    """
    policy, kept = require_scores(loaded), Kept()
    play(loaded, EPISODES, kept.add, render=True)
    moments = kept.moments
    observations = np.concatenate([moment.observation.obs for moment in moments])
    places = np.linspace(0, len(moments) - 1, STARTS).astype(np.int64)
    choices = np.unique(observations.reshape(-1, observations.shape[-1]), axis=0)  # (U, C)
    functions = [policy.score_functions(moments[place].observation, moments[place].before)[0] for place in places]
    names = names_of(loaded, functions[0])
    everywhere = [_scores(policy.score_functions(each.observation, each.before)[0], each.observation.obs)[0]
                  for each in moments]  # fmt: skip
    least = LEAST * float(np.std(everywhere))
    found, scores = [], []
    for output in range(len(names)):
        for place, function in zip(places, functions, strict=True):
            best, score = _ascent(function, output, observations[place], choices, least)
            found.append(best)
            scores.append(score)
        progress(output + 1, len(names))
    shape, usual = (len(names), STARTS), np.mean(everywhere, 0)
    return Composed(names, functions[0].name, observations[places], np.array(found).reshape(*shape, *best.shape),
                    np.array(scores).reshape(shape), usual, tiles_of(moments))  # fmt: skip


def _scores(function: ScoreFunction, obs: NDArray[Any]) -> NDArray[np.float64]:
    """(M, K) the scores of observations (M, *O) in the state of one step."""
    device = next(function.module.parameters()).device
    with torch.no_grad():
        inputs = function.encode(torch.from_numpy(obs).to(device))
        context = (part[:1].expand(len(obs), *part.shape[1:]) for part in function.context)
        scores: NDArray[np.float64] = function.function(inputs, *context).cpu().double().numpy()
    return scores


def _ascent(
    function: ScoreFunction, output: int, start: NDArray[np.uint8], choices: NDArray[np.uint8], least: float
) -> tuple[NDArray[np.uint8], float]:
    """(observation (W, H, C), its score); least: what an exchange must gain."""
    best, score = start, float(_scores(function, start[None])[0, output])
    cells = best.shape[0] * best.shape[1]
    for _ in range(EXCHANGES):
        changed = np.repeat(best.reshape(1, cells, -1), cells * len(choices), 0)  # (cells * U, cells, C)
        rows = np.arange(len(changed))
        changed[rows, rows // len(choices)] = np.tile(choices, (cells, 1))
        scores = _scores(function, changed.reshape(-1, *best.shape))[:, output]
        if scores.max() < score + least:
            break
        best, score = changed[scores.argmax()].reshape(best.shape), float(scores.max())
    return best, score


def tiles_of(moments: Sequence[Moment]) -> Tiles:
    """How the screen showed each cell, most often; if possible so as it shows no other: the agent is on some cells."""
    seen: dict[bytes, Counter[bytes]] = {}
    shapes: dict[bytes, tuple[int, ...]] = {}
    for moment in moments:
        obs, screen = moment.observation.obs[0], moment.observation.signals[SCREEN][0]
        boxes = moment.observation.signals.get(SCREEN_CELLS)
        for place in np.ndindex(obs.shape[:2]):
            top, left, bottom, right = _box(place, obs.shape, screen.shape) if boxes is None else boxes[0][place]
            tile = np.ascontiguousarray(screen[top:bottom, left:right])
            if tile.size and obs[place].any():
                seen.setdefault(obs[place].tobytes(), Counter())[tile.tobytes()] += 1
                shapes[tile.tobytes()] = tile.shape
    used = Counter(tile for counts in seen.values() for tile in counts)
    found = {codes: max(counts, key=lambda tile: (used[tile] == 1, counts[tile])) for codes, counts in seen.items()}
    return {codes: np.frombuffer(tile, np.uint8).reshape(shapes[tile]) for codes, tile in found.items()}


def _box(place: tuple[int, ...], shape: tuple[int, ...], screen: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Where a cell is on a screen that shows all of them; the first axis of the codes is horizontal."""
    height, width = screen[0] // shape[1], screen[1] // shape[0]
    return place[1] * height, place[0] * width, (place[1] + 1) * height, (place[0] + 1) * width


def mosaic(obs: NDArray[np.uint8], tiles: Tiles) -> NDArray[np.uint8]:
    """The picture of an observation (W, H, C), of tiles; the first axis is horizontal."""
    side = max(tile.shape[0] for tile in tiles.values())
    picture = np.full((obs.shape[1] * side, obs.shape[0] * side, 3), UNSEEN, np.uint8)
    for column, row in np.ndindex(obs.shape[:2]):
        tile = tiles.get(obs[column, row].tobytes())
        if tile is not None:
            picture[row * side : (row + 1) * side, column * side : (column + 1) * side][: len(tile)] = tile
    return picture


def composed_picture(loaded: LoadedPolicy, found: Composed) -> Any:
    """Above the starts; below, a row for each output, what was found from each. Exchanged cells have a frame."""
    rows = len(found.outputs) + 1
    figure = new_figure(1.9 * STARTS + 0.5, 2.05 * rows + 0.8)
    axes = figure.subplots(rows, STARTS, squeeze=False)
    for start, axis in enumerate(axes[0]):
        axis.imshow(mosaic(found.starts[start], found.tiles), interpolation="nearest")
        axis.set_title(f"start {start + 1}", fontsize=8)
    axes[0, 0].set_ylabel("observation", fontsize=8)
    for number, row in enumerate(axes[1:]):
        for start, axis in enumerate(row):
            obs = found.observations[number, start]
            picture = mosaic(obs, found.tiles)
            axis.imshow(picture, interpolation="nearest")
            _framed(axis, (obs != found.starts[start]).any(-1), picture.shape[1] / obs.shape[0])
            axis.set_title(f"{found.scores[number, start]:.3g}", fontsize=8)
        row[0].set_ylabel(f"{found.outputs[number]}\nmean {found.usual[number]:.3g}", fontsize=8)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    what = f"Exchanges of cells that raise the {found.name.removesuffix('s')} of each action most"
    figure.suptitle(title(loaded, what), fontsize=10)
    return figure


def _framed(axis: Any, changed: NDArray[np.bool_], side: float) -> None:
    from matplotlib.patches import Rectangle

    for column, row in np.argwhere(changed):
        axis.add_patch(Rectangle((column * side - 0.5, row * side - 0.5), side, side, fill=False, edgecolor=FRAME))
