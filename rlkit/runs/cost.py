"""How long training takes on this machine: some seconds of it, with learning from the first steps on."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel

from rlkit import plugins
from rlkit.config.tables import Config
from rlkit.devices import choose_device
from rlkit.runs.assemble import make_agent
from rlkit.runs.durations import duration
from rlkit.seeding import Streams
from rlkit.training.evaluation import EpisodeSeeds
from rlkit.training.rollout import Rollout
from rlkit.types import Mode, Purpose

T = TypeVar("T", bound=BaseModel)

RANDOM_STEPS = 200  # before the first update of a measurement


def learning_speed(config: Config, seconds: float) -> float | None:
    """Environment steps a second while the agent learns, measured for about `seconds`; None if it made no update.

    Waits up to three times as long for the updates between which it measures.

    Builds the agent with its whole replay, on the device of the config. Raises ConfigError as training would.
    """
    sooner = replace(config, agent=_learns_soon(config.agent))
    environments = plugins.load(plugins.ENVS, config.env.name).make(config.env, config.train.num_envs, Purpose.TRAIN)
    try:
        agent = make_agent(sooner, environments, choose_device(config.train.device))
        streams = Streams(config.train.seed).child("cost")
        seeds = EpisodeSeeds(streams, config.train.num_envs)
        rollout = Rollout(environments, seeds, streams.generator("act"), Mode.EXPLORE)
        rollout.start(agent)
        began, steps, updates = time.perf_counter(), 0, 0
        marks: list[tuple[float, int]] = []  # (seconds, steps) whenever there were updates
        while (spent := time.perf_counter() - began) < seconds or (len(marks) < 2 and spent < 3 * seconds):
            rollout.act(agent)
            rollout.send()
            agent.learn()
            if agent.updates > updates:
                updates = agent.updates
                marks.append((time.perf_counter(), steps))
            agent.observe(rollout.receive())
            rollout.reset_ended()
            steps += config.train.num_envs
    finally:
        environments.close()
    if len(marks) < 2:
        return None
    (start, first), (end, last) = marks[0], marks[-1]
    return (last - first) / (end - start)


def _learns_soon(table: T) -> T:
    """A copy of an agent's table whose updates begin after RANDOM_STEPS."""
    changed: dict[str, Any] = {}
    for name in type(table).model_fields:
        value = getattr(table, name)
        if name == "learning_starts" and isinstance(value, int):
            changed[name] = min(value, RANDOM_STEPS)
        elif isinstance(value, BaseModel):
            changed[name] = _learns_soon(value)
    return table.model_copy(update=changed)


class Remaining:
    """Estimates the remaining time from the speed since the first update: steps before it are much faster."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._since: tuple[float, int] | None = None  # (clock, env_steps) at the first look, then at that with updates
        self._learning = False

    def text(self, env_steps: int, updates: int) -> str:
        now = time.monotonic()
        if self._since is None or (updates and not self._learning):
            self._since, self._learning = (now, env_steps), updates > 0
        clock, steps = self._since
        if env_steps == steps:
            return ""
        left = duration(max(0, self._steps - env_steps) * (now - clock) / (env_steps - steps))
        return f"{left} left" if self._learning else f"{left} left at the speed of random play, learning is slower"
