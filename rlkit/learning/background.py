"""Learning from a rollout in a thread of its own, while the agent collects the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

from torch import Tensor, nn

from rlkit.nn.parameters import load_parameters, parameter_state
from rlkit.types import State

Readings: TypeAlias = Mapping[str, Tensor | float]  # single numbers


class Background:
    """One round of updates at a time. The agent acts with a copy of the network, whose parameters are those before it.

    Each rollout is collected with the parameters that were learned from the last but one, however long an update takes,
    so a run is the same on every machine.
    """

    def __init__(self, acting: nn.Module, learning: nn.Module) -> None:
        """Two networks of equal layers."""
        self._acting = acting
        self._learning = learning
        self._thread = ThreadPoolExecutor(1, "learner")
        self._running: Future[Readings] | None = None
        self._readings: dict[str, float] = {}  # of the last round, until `finish` returns them
        self.updates = 0  # that were made or are being made

    def start(self, updates: Callable[[], Readings], count: int) -> None:
        """Begins a round of `count` updates. Acting goes on with the parameters of the learning network before it.

        `finish` has to be called between two rounds.
        """
        self.publish()
        self.updates += count
        self._running = self._thread.submit(updates)

    def publish(self) -> None:
        """Acting goes on with the parameters of the learning network. No round may be running."""
        load_parameters(self._acting, parameter_state(self._learning), "the learner's network")

    def finish(self) -> dict[str, float]:
        """Waits for the round that was started; returns its measurements, {} if there was none."""
        self._wait()
        readings, self._readings = self._readings, {}
        return readings

    def adopt(self) -> None:
        """Learning goes on with the parameters of the acting network."""
        self._wait()
        load_parameters(self._learning, parameter_state(self._acting), "the policy's network")

    def _wait(self) -> None:
        """Raises what the updates raised."""
        if self._running is not None:
            running, self._running = self._running, None
            self._readings = {name: float(value) for name, value in running.result().items()}

    def state_dict(self) -> dict[str, Any]:
        """Waits for the round that was started, so call it before the optimizer's."""
        self._wait()
        return {"network": parameter_state(self._learning), "readings": self._readings, "updates": self.updates}

    def load_state_dict(self, state: State) -> None:
        self._wait()
        load_parameters(self._learning, state["network"], "the learner's state")
        self._readings = {str(name): float(value) for name, value in state["readings"].items()}
        self.updates = int(state["updates"])
