"""Names of the entries of observations, for display: of Gymnasium's small environments, whose interface has none."""

from __future__ import annotations

from typing import Any

from rlkit.vector.environment import Env

CAR = ("position", "velocity")
ENTRIES = {
    "CartPole": ("cart position", "cart velocity", "pole angle", "pole angular velocity"),
    "MountainCar": CAR,
    "Acrobot": ("cos angle 1", "sin angle 1", "cos angle 2", "sin angle 2", "angular velocity 1", "angular velocity 2"),
    "LunarLander": ("x", "y", "x velocity", "y velocity", "angle", "angular velocity", "left leg", "right leg"),
    "rlkit/MountainCarGoal": CAR,
    "rlkit/SparseMountainCar": CAR,
}


def with_entry_names(env: Env) -> dict[str, Any]:
    """The environment's metadata, with "observation_names" where they are known; its own names are kept."""
    world = env.spec.id.rpartition("-v")[0] if env.spec is not None else ""
    return {**({"observation_names": ENTRIES[world]} if world in ENTRIES else {}), **(env.metadata or {})}
