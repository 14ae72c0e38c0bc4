"""One step of a differential equation, in Python floats. NumPy arrays of four numbers would take ten times as long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

State: TypeAlias = tuple[float, ...]


def runge_kutta(derivative: Callable[[State], State], state: State, dt: float) -> State:
    """Advances `state` by `dt` under d state/dt = derivative(state), with the classical fourth-order method."""

    def moved(slope: State, share: float) -> State:
        return tuple([value + share * dt * change for value, change in zip(state, slope, strict=True)])

    k1 = derivative(state)
    k2 = derivative(moved(k1, 0.5))
    k3 = derivative(moved(k2, 0.5))
    k4 = derivative(moved(k3, 1.0))
    return moved(tuple([(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]), 1.0)
