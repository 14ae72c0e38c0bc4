"""Attributions: how much each input of a network changes a score. The methods are captum's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rlkit.agent import ScoreFunction
from rlkit.look.extra import needed

Method: TypeAlias = Literal["gradient", "integrated", "occlusion"]
METHODS: tuple[Method, ...] = ("gradient", "integrated", "occlusion")

MEANING: Mapping[Method, str] = {
    "gradient": "|d score / d input|",
    "integrated": "contribution to the score",
    "occlusion": "fall of the score if hidden",
}
INTEGRATION_STEPS = 32
LARGE = 25  # pixels; the cells of a smaller picture are hidden one by one
PATCHES = 20  # along the longer side of a large picture
BATCH = 64  # occluded inputs at once


def attribute(score: ScoreFunction, inputs: Tensor, target: NDArray[np.int64], method: Method, mean: Tensor) -> Tensor:
    """The attributions (N, *F) of the outputs `target` (N,) to inputs (N, *F), a vector or a picture (C, H, W).

    gradient: the magnitude of the derivative (Simonyan et al. 2013). integrated: integrated gradients on the way from
    `mean` (*F), the mean input of the episodes (Sundararajan et al. 2017, whose baseline for images is black).
    occlusion: the fall of the score when an entry, a cell or a patch is hidden; entries and cells of small pictures are
    replaced by their mean, patches of larger pictures are blurred (Greydanus et al. 2018, who take half the squared
    change of all scores).
    """
    attr = needed("captum.attr", f"--method {method}")
    inputs = inputs.detach().requires_grad_(method == "gradient")
    outputs = torch.as_tensor(target, device=inputs.device)
    options = {"target": outputs, "additional_forward_args": score.context or None}
    if method == "gradient":
        found = attr.Saliency(score.function).attribute(inputs, **options)
    elif method == "integrated":
        steps, baseline = INTEGRATION_STEPS, mean.expand_as(inputs)
        integrated = attr.IntegratedGradients(score.function)
        found = integrated.attribute(inputs, baselines=baseline, n_steps=steps, internal_batch_size=BATCH, **options)
    elif score.entries is not None:
        groups, options["baselines"] = (
            torch.as_tensor(score.entries, device=inputs.device)[None],
            mean.expand_as(inputs),
        )
        found = attr.FeatureAblation(score.function).attribute(inputs, feature_mask=groups, **options)
    else:
        window, stride = _patch(inputs.shape[1:])
        baseline = blurred(inputs, max(window[1:])) if max(window[1:], default=1) > 1 else mean.expand_as(inputs)
        with torch.no_grad():
            found = attr.Occlusion(score.function).attribute(
                inputs,
                window,
                stride,
                baselines=baseline,
                perturbations_per_eval=max(1, BATCH // len(inputs)),
                **options,
            )
    attributions: Tensor = found.detach()
    return attributions


def _patch(shape: torch.Size) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(size, stride) of what is hidden at once: an entry of a vector, or a square in all channels."""
    if len(shape) == 1:
        return (1,), (1,)
    if max(shape[1:]) <= LARGE:
        return (shape[0], 1, 1), (shape[0], 1, 1)
    stride = math.ceil(max(shape[1:]) / PATCHES)
    return (shape[0], 2 * stride, 2 * stride), (shape[0], stride, stride)


def blurred(pictures: Tensor, size: int) -> Tensor:
    """Pictures (N, C, H, W), each pixel the mean of two passes of a window of about `size` pixels."""
    size += 1 - size % 2
    for _ in range(2):
        pictures = F.avg_pool2d(pictures, size, 1, size // 2, count_include_pad=False)
    return pictures


def reduced(attributions: Tensor, method: Method, entries: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Per pixel (N, H, W), or per entry of the observation (N, entries).

    Gradients by their maximum over channels, contributions by their sum; occlusion has the same value in all of them.
    """
    values = attributions.cpu().double()
    combine = _COMBINED[method]
    if values.dim() == 4:
        picture: NDArray[np.float64] = combine(values).numpy()
        return picture
    if entries is None:
        vector: NDArray[np.float64] = values.numpy()
        return vector
    rows = [combine(values[:, torch.from_numpy(entries == entry)]) for entry in range(int(entries.max()) + 1)]
    return torch.stack(rows, 1).numpy()


def _sum(values: Tensor) -> Tensor:
    return values.sum(1)


_COMBINED: Mapping[Method, Callable[[Tensor], Tensor]] = {
    "gradient": lambda values: values.amax(1),
    "integrated": _sum,
    "occlusion": lambda values: values.mean(1),
}
