"""A short random play before training: what the environment does, and what is wrong with it.

It plays the same actions from the same seed twice, in two instances that exist at the same time. `rlkit check` prints
all that it saw; `train` plays fewer steps and stops or warns with the same words.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import BaseModel

from rlkit import plugins
from rlkit.config.tables import Config
from rlkit.devices import crowded
from rlkit.environments import Environments, reset
from rlkit.errors import RlkitError, SpecError, WorkerError
from rlkit.exploration.action_mask import allowed_actions, random_allowed
from rlkit.nn.config import NetworkConfig
from rlkit.nn.inputs import holds_no_codes, may_be_unnamed_codes
from rlkit.runs.durations import DAY, duration
from rlkit.structure import space_text
from rlkit.testing.playing import EnvCase
from rlkit.training.finite import require_finite
from rlkit.types import EnvSpec, Observation, RawStep

T = TypeVar("T", bound=BaseModel)

SEED = 20_260_101  # of both plays
ONCE = np.ones(1, dtype=np.bool_)


@dataclass
class Play:
    """What one instance did in a play."""

    checks: list[int] = field(default_factory=list)  # a checksum of each step, for comparison with another play
    rewards: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)  # of finished episodes
    terminated: int = 0  # episodes
    truncated: int = 0
    shortest_truncated: int | None = None  # length of the shortest truncated episode
    low: NDArray[Any] | None = None  # the smallest observed values, (*O)
    high: NDArray[Any] | None = None
    seconds: float = 0.0  # of stepping, resets included

    @property
    def steps(self) -> int:
        return len(self.rewards)

    def see(self, observation: Observation) -> None:
        obs = observation.obs[0]
        self.low = obs.copy() if self.low is None else np.minimum(self.low, obs)
        self.high = obs.copy() if self.high is None else np.maximum(self.high, obs)

    def add(self, step: RawStep, length: int) -> bool:
        """Whether the episode ended."""
        self.see(step.after)
        self.rewards.append(float(step.reward[0]))
        ends = bool(step.terminated[0]), bool(step.truncated[0])
        parts = [step.after.obs, step.reward, *(step.after.signals[name] for name in sorted(step.after.signals))]
        check = hash(ends)
        for part in parts:
            check = zlib.crc32(np.ascontiguousarray(part).tobytes(), check & 0xFFFFFFFF)
        self.checks.append(check)
        if not any(ends):
            return False
        self.lengths.append(length)
        self.terminated += ends[0]
        if ends[1] and not ends[0]:
            self.truncated += 1
            self.shortest_truncated = min(length, self.shortest_truncated or length)
        return True


@dataclass(frozen=True)
class Trial:
    """What two plays of equal seeds and actions showed."""

    spec: EnvSpec
    first: Play
    second: Play
    one_instance: str  # why a second instance could not be made while the first one was open, or ""
    complete: bool  # whether all steps were played within the time

    @property
    def differs_at(self) -> int | None:
        """The first step, from 1, at which the plays differ; None if they are equal."""
        pairs = zip(self.first.checks, self.second.checks, strict=False)
        return next((number for number, (a, b) in enumerate(pairs, start=1) if a != b), None)

    @property
    def speed(self) -> float:
        """Environment steps a second without learning; 0 if no step was made."""
        return self.first.steps / max(self.first.seconds, 1e-9)

    def rows(self) -> dict[str, str]:
        """For the table of `rlkit check`."""
        play, rewards = self.first, np.array(self.first.rewards)
        cut = "" if self.complete else ", then gave up because steps are slow"
        rows = {
            "played": f"{play.steps} random steps, twice from one seed{cut}",
            "values seen": _seen(play) + ("" if not self.outside() else f"; outside the space: {self.outside()}"),
        }
        if play.steps:
            nonzero = np.count_nonzero(rewards) / len(rewards)
            rows["rewards"] = f"{rewards.min():g} to {rewards.max():g}; {nonzero:.0%} of the steps are not zero"
            ended = f"{len(play.lengths)}: {play.terminated} terminated, {play.truncated} truncated"
            lengths = f", {min(play.lengths)} to {max(play.lengths)} steps" if play.lengths else ""
            rows["episode ends"] = ended + lengths
            rows["speed"] = f"{self.speed:,.0f} environment steps a second, without learning"
        same = "equal seeds gave equal episodes: resuming is exact"
        rows["seeds"] = same if self.differs_at is None else f"equal seeds differ at step {self.differs_at}"
        return rows

    def outside(self) -> str:
        """The observed range and the space's bounds, if values of a Box lie outside them; else ""."""
        space, play = self.spec.observation_space, self.first
        if not isinstance(space, spaces.Box) or play.low is None or play.high is None or space.dtype == np.bool_:
            return ""
        below, above = play.low < space.low, play.high > space.high
        if not (below | above).any():
            return ""
        return f"{play.low[below | above].min():g} to {play.high[below | above].max():g}"

    def notes(self, config: Config) -> list[str]:
        """What may be wrong."""
        found = [
            *late_starts(config.agent, config.train.steps),
            *endless_sums(config.agent, self.first),
            *crowded(config.train.threads, 1),
        ]
        if self.differs_at is not None:
            found.append(
                f"equal seeds gave different episodes (at step {self.differs_at}): the environment does not follow the "
                "seed of reset, so the run cannot be resumed exactly, and its scores are not from fixed seeds"
            )
        found += self._unnamed_codes(config.agent)
        if outside := self.outside():
            found.append(
                f"observations from {outside} lie outside their space {space_text(self.spec.observation_space)}"
            )
        if self.one_instance and not config.evaluation.every:
            found.append("only one instance of the environment can exist: it is closed before the final evaluation")
        play = self.first
        alone = config.train.steps * play.seconds / max(play.steps, 1)
        if alone > DAY:
            found.append(
                f"{config.train.steps:,} steps take about {duration(alone)} without any learning: a step of the "
                f"environment takes {play.seconds / play.steps:.2g} seconds"
            )
        if play.low is not None and play.steps >= 10 and np.array_equal(play.low, play.high):  # type: ignore[arg-type]
            found.append(f"all observations of {play.steps} random steps are equal: the agent sees nothing")
        return found

    def check(self, config: Config) -> None:
        """Raises SpecError for what cannot be trained."""
        if self.one_instance and (config.evaluation.every or config.train.num_envs > 1):
            key = "train.num_envs" if config.train.num_envs > 1 else "evaluation.every"
            value = "1" if config.train.num_envs > 1 else "0, for a final evaluation only"
            raise SpecError(
                f"env: a second instance cannot be made while one is open ({self.one_instance}); set {key} = {value}"
            )
        for network in tables_of(config.agent, NetworkConfig):
            for space, high in self._highest():
                if holds_no_codes(space, network.input, high):
                    raise SpecError(
                        f"network.input: observations of shape {space.shape} have values up to {high.max()}, so they "
                        "are pictures and not MiniGrid's codes, for which they would be taken; set "
                        'network.input = "pixels"'
                    )

    def _unnamed_codes(self, agent: BaseModel) -> list[str]:
        """A note for each grid that may hold codes and enters as amounts."""
        kinds = {network.input for network in tables_of(agent, NetworkConfig)}
        return [
            f"observations of shape {space.shape} are whole numbers up to {high.max()}, and enter as amounts; if they "
            'are codes, such as 0 wall, 1 door, give them as MultiDiscrete ("Grids of codes", docs/your-environment.md)'
            for space, high in self._highest()
            if any(may_be_unnamed_codes(space, kind, high) for kind in kinds)
        ]

    def _highest(self) -> list[tuple[gym.Space[Any], NDArray[Any]]]:
        """The space of each array of an observation, and the highest values seen in it."""
        structure, high = self.spec.structure, self.first.high
        if high is None or structure is None:
            return [] if high is None else [(self.spec.observation_space, high)]
        return [(part.space, seen) for part, seen in zip(structure.parts, structure.split(high).values(), strict=True)]


def trial(config: Config, steps: int, seconds: float) -> Trial:
    """Plays `steps` random steps twice, or as many as `seconds` allow.

    Global random generators are left as they were. Raises SpecError for environments whose answers cannot be trained
    on, WorkerError with the traceback of an environment that fails.
    """
    plugin = plugins.load(plugins.ENVS, config.env.name)
    case = EnvCase(plugin, config.env, steps, 0)
    torch_state = torch.get_rng_state()
    try:
        with ExitStack() as opened:
            environments = opened.enter_context(case.made(1, 1))
            actions = np.random.default_rng(SEED).integers(0, environments.spec.num_actions, (steps, 1))
            first = _play(environments, actions, seconds / 2)
            with ExitStack() as others:
                another, why = _opened(case, others)
                if another is None:
                    opened.close()
                    another = opened.enter_context(case.made(1, 2))
                second = _play(another, actions[: first.steps], seconds / 2)
    except WorkerError as error:
        if "\n" in str(error):
            raise
        raise SpecError(f"env: {error}") from error
    finally:
        torch.set_rng_state(torch_state)
    return Trial(environments.spec, first, second, why, first.steps == steps)


def _opened(case: EnvCase, opened: ExitStack) -> tuple[Environments | None, str]:
    """(a second instance, ""), or (None, why there is none while the first one is open)."""
    try:
        environments = opened.enter_context(case.made(1, 2))
        environments.reset(ONCE, np.array([SEED]))  # some plug-ins make their instances at the first reset
    except RlkitError as error:
        return None, str(error).strip().splitlines()[-1]
    return environments, ""


def _play(environments: Environments, actions: NDArray[np.int64], seconds: float) -> Play:
    play, length = Play(), 0
    began = time.perf_counter()
    observation = environments.reset(ONCE, np.array([SEED]))
    require_finite(observation)
    play.see(observation)
    for action in actions:
        if play.steps and time.perf_counter() > began + seconds:
            break
        allowed = allowed_actions(observation)
        if allowed is not None:
            action = random_allowed(action / allowed.shape[1], allowed)
        environments.send(action)
        length += 1
        step = environments.receive()
        require_finite(step.after, step.reward)
        observation = step.after
        if play.add(step, length):
            # an environment that was made anew after a crash has no generator that goes on
            seed = np.array([-1 if step.crashed is None else SEED])
            observation = reset(environments, ONCE, seed, lambda _: np.array([SEED]))
            play.see(observation)
            length = 0
    play.seconds = time.perf_counter() - began
    return play


def tables_of(table: BaseModel, kind: type[T]) -> Iterator[T]:
    """The tables of a kind inside an agent's table."""
    for name in type(table).model_fields:
        value = getattr(table, name)
        if isinstance(value, kind):
            yield value
        elif isinstance(value, BaseModel):
            yield from tables_of(value, kind)


def late_starts(agent: BaseModel, steps: int) -> Iterator[str]:
    """A note for each key learning_starts that a run of `steps` never reaches."""
    for key, value in _named("learning_starts", agent):
        if isinstance(value, int) and value >= steps:
            yield (
                f"{key} is {value:,}, and train.steps only {steps:,}: the agent plays at random to the end and makes "
                "no update"
            )


def endless_sums(agent: BaseModel, play: Play) -> Iterator[str]:
    """A note for each discount of 1 if no episode of the play terminated: a time limit cut it, or nothing did."""
    for key, value in _named("discount", agent):
        if value == 1.0 and not play.terminated:
            yield (
                f"{key} is 1, and in {play.steps} random steps no episode terminated: where none ever does, "
                "undiscounted sums of rewards and the values have no bound; use a discount below 1"
            )


def _named(key: str, table: BaseModel, at: str = "agent") -> Iterator[tuple[str, Any]]:
    """The dotted name and the value of each key of this name in a table and those inside it."""
    for name in type(table).model_fields:
        value = getattr(table, name)
        if name == key:
            yield f"{at}.{name}", value
        elif isinstance(value, BaseModel):
            yield from _named(key, value, f"{at}.{name}")


def _seen(play: Play) -> str:
    assert play.low is not None
    assert play.high is not None
    same = "; they never change" if np.array_equal(play.low, play.high) else ""
    return f"{play.low.dtype}, {play.low.min():g} to {play.high.max():g}{same}"
