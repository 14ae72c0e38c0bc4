"""Action masks: the actions that an environment allows, where agents act, explore and bootstrap.

An environment that has a mask gives it as the signal "action_mask", (A,) bool, at least one of them true while the
episode goes on. An agent that respects masks says so with `respects_action_masks = True` in its plug-in; others are
refused.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.errors import SpecError
from rlkit.exploration.adjustment import Adjustment, mask
from rlkit.replay import Column
from rlkit.types import ACTION_MASK, EnvSpec, Observation, StepBatch, Window

STORED = "next_action_mask"  # the column of the mask where a step leads to
ACTED = "action_mask"  # the column of the mask where its action was chosen


def allowed_actions(observation: Observation) -> NDArray[np.bool_] | None:
    """(N, A), or None if the environment has no mask."""
    return observation.signals.get(ACTION_MASK)


def require_choice(observation: Observation) -> None:
    """Raises SpecError if there is a mask, and it allows no action in some environment."""
    allowed = allowed_actions(observation)
    if allowed is not None and not (some := allowed.any(1)).all():
        raise SpecError(
            f"environment {int(some.argmin())}: its action mask allows no action although the episode goes on; it must "
            "allow at least one"
        )


def random_allowed(coins: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) uniformly random among the allowed actions (N, A), from one number in [0, 1) each."""
    count = allowed.sum(1)
    nth = np.minimum((coins * count).astype(np.int64), count - 1)
    action: NDArray[np.int64] = (allowed.cumsum(1) > nth[:, None]).argmax(1)
    return action


def restricted(
    adjustment: Adjustment[NDArray[np.float32]] | None, allowed: NDArray[np.bool_]
) -> Adjustment[NDArray[np.float32]]:
    """`adjustment`, and -inf for the values of actions that are not `allowed` (B, A)."""
    barred = mask(allowed)
    return barred if adjustment is None else Adjustment(adjustment.added + barred.added, adjustment.keep)


def mask_columns(spec: EnvSpec, name: str = STORED) -> dict[str, Column]:
    """The column `name` of a store: STORED for bootstrapping, ACTED for policy losses. {} without a mask."""
    return {name: Column((spec.num_actions,), np.bool_)} if ACTION_MASK in spec.signals else {}


def observed_mask(step: StepBatch) -> dict[str, NDArray[np.bool_]]:
    """The values of the column STORED, (N, A).

    Where no action is allowed, as after the end of a game, all are stored as allowed: a maximum over none would be
    -inf, and times a discount of 0 NaN.
    """
    allowed = allowed_actions(step.after)
    return {} if allowed is None else {STORED: allowed | ~allowed.any(1, keepdims=True)}


def acted_mask(step: StepBatch) -> dict[str, NDArray[np.bool_]]:
    """The values of the column ACTED, (N, A)."""
    allowed = allowed_actions(step.before)
    return {} if allowed is None else {ACTED: allowed}


def where_valued(adjustment: Adjustment[Tensor] | None, window: Window) -> Adjustment[Tensor] | None:
    """`adjustment` with the mask of `window.next_obs`, if the window has one."""
    found = window.extras.get(STORED)
    if not isinstance(found, Tensor):
        return adjustment
    rows = torch.arange(len(window.steps), device=found.device)
    allowed = found[rows, window.steps.to(found.device) - 1]  # (B, A)
    barred = torch.zeros(allowed.shape, device=allowed.device).masked_fill_(~allowed, -torch.inf)
    return Adjustment(barred) if adjustment is None else Adjustment(adjustment.added + barred, adjustment.keep)
