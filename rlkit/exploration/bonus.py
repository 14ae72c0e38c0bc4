"""What an exploration bonus is, to an agent: a protocol, its config, and no bonus at all.

An agent makes a bonus beside its replay or trajectory by `build_bonus` and calls

    q = adjusted(bonus.acting(observation), q)     in `act` when it explores
    columns = bonus.observe(step)                  in `observe`, to be stored: replay.add(step, columns)
    metrics = bonus.learn()                        in `learn`, before it samples
    reward = bonus.add(reward, window)             after rewards are clipped, before they are summed over n steps
    q = adjusted(bonus.bootstrapping(window), q)   where the value of `next_obs` is estimated

An on-policy agent stores the columns in its trajectory, and gives `add` all steps as windows of one step:

    reward = bonus.add(reward.view(-1, 1), batch.windows()).view_as(reward)     of a TrajectoryBatch

Evaluation never calls a bonus, and the rewards in steps stay as the environment gave them. A bonus plugs in by the
entry-point group ``rlkit.bonuses``, or by "module:attr", as a subclass of `BonusConfig`: `type` in the table names it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError
from torch import Tensor

from rlkit import plugins
from rlkit.config.model import SWITCH, Model, NestedError, over_defaults, without_false
from rlkit.errors import ConfigError, SpecError
from rlkit.exploration.adjustment import Adjustment
from rlkit.exploration.moments import RunningMoments
from rlkit.replay import Column, Replay, Trajectory
from rlkit.seeding import Streams
from rlkit.types import ActorState, EnvSpec, Metrics, Observation, State, StepBatch, Window


class Actor(Protocol):
    """The part of a bonus that acting reads. It needs no replay and learns nothing, so it goes with a policy alone."""

    def __call__(self, observation: Observation) -> Adjustment[NDArray[np.float32]] | None:
        """The adjustment of action values (N, A) in these observations; None for none."""

    def state_dict(self) -> State:
        """What the adjustments depend on. May share memory."""

    def load_state_dict(self, state: State) -> None: ...


class EpisodeInput(Protocol):
    """A number that a policy sees beside each observation, from what happened in the episode so far."""

    def initial_state(self, num_envs: int) -> ActorState:
        """What is kept from one observation to the next, (num_envs, ...) each."""

    def __call__(self, observation: Observation, state: ActorState) -> tuple[NDArray[np.uint8], ActorState]:
        """The bytes (N,), and what is kept; called once for each observation, in order. Nothing is written to."""


class Bonus(Protocol):
    """Pays for exploration. A subclass must define `observe` and `add`; the other methods default to doing nothing."""

    @property
    def actor(self) -> Actor | None:
        """What acting reads, shared with this bonus; None if the bonus does not change how the agent acts."""
        return None

    def acting(self, observation: Observation) -> Adjustment[NDArray[np.float32]] | None:
        """The adjustment of action values (N, A) in the observations that follow the newest step."""
        return None if self.actor is None else self.actor(observation)

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        """Takes in a training step; returns the columns to store with it, (N, ...) each, as `BonusConfig.columns`."""
        ...

    def learn(self) -> Metrics:
        """Makes the updates that are due before the next update of the agent; returns metrics."""
        return {}

    def add(self, reward: Tensor, window: Window) -> Tensor:
        """The rewards (B, n) with the bonus of each step added."""
        ...

    def bootstrapping(self, window: Window) -> Adjustment[Tensor] | None:
        """The adjustment of the action values (B, A) of `window.next_obs`."""
        return None

    def gauges(self) -> Metrics:
        """Readings of the moment, for the log."""
        return {}

    def state_dict(self) -> State:
        """Everything that future bonuses depend on. May share memory."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Takes over a state_dict of a bonus of the same config."""
        return


class NoBonus(Bonus):
    """Stands for no bonus: counts nothing and changes nothing."""

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        return {}

    def add(self, reward: Tensor, window: Window) -> Tensor:
        return reward


class UntilConfig(Model):
    """The table `until`: the bonus ends when the task is solved in training."""

    success: float = Field(
        0.95,
        gt=0.0,
        le=1.0,
        description='Share of the newest episodes that end with the signal "success", at which paying ends for good.',
    )
    episodes: int = Field(100, ge=1, description="Number of the newest episodes, over all environments.")


class PaidBonus(Bonus):
    """A bonus that is scaled to a standard deviation, or is paid until enough of the newest episodes succeed.

    The deviation is over the bonuses of all steps that were learned from so far, those of this call included.
    """

    def __init__(self, bonus: Bonus, deviation: float | None, until: UntilConfig | None) -> None:
        self.bonus = bonus
        self._deviation = deviation
        self._moments = RunningMoments()
        self._until = until
        self._outcomes: NDArray[np.bool_] = np.zeros(0, np.bool_)  # of the newest episodes, at most until.episodes
        self.solved = False  # from then on nothing is paid

    @property
    def actor(self) -> Actor | None:
        return self.bonus.actor

    def acting(self, observation: Observation) -> Adjustment[NDArray[np.float32]] | None:
        return self.bonus.acting(observation)

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        if self._until is not None and not self.solved and step.ended.any():
            outcomes = step.after.signals["success"][step.ended].astype(np.bool_)
            self._outcomes = np.concatenate((self._outcomes, outcomes))[-self._until.episodes :]
            enough = len(self._outcomes) == self._until.episodes
            self.solved = enough and float(self._outcomes.mean()) >= self._until.success
        return self.bonus.observe(step)

    def learn(self) -> Metrics:
        return self.bonus.learn()

    def add(self, reward: Tensor, window: Window) -> Tensor:
        if self.solved:
            return reward
        paid = self.bonus.add(torch.zeros_like(reward), window)  # (B, n)
        if self._deviation is None:
            return reward + paid
        counted = torch.arange(paid.shape[1], device=paid.device) < window.steps[:, None].to(paid.device)
        self._moments.update(paid[counted].cpu().numpy())
        return reward + paid * self._scale

    @property
    def _scale(self) -> float:
        return 1.0 if self._deviation is None else self._deviation / float(self._moments.deviation)

    def bootstrapping(self, window: Window) -> Adjustment[Tensor] | None:
        return self.bonus.bootstrapping(window)

    def gauges(self) -> Metrics:
        readings: dict[str, Any] = dict(self.bonus.gauges())
        if self._deviation is not None:
            readings["explore/bonus_scale"] = self._scale
        if self._until is not None:
            readings["explore/paying"] = float(not self.solved)
        return readings

    def state_dict(self) -> State:
        return {
            "bonus": self.bonus.state_dict(),
            "moments": self._moments.state_dict(),
            "outcomes": self._outcomes,
            "solved": self.solved,
        }

    def load_state_dict(self, state: State) -> None:
        self.bonus.load_state_dict(state["bonus"])
        self._moments.load_state_dict(state["moments"])
        self._outcomes, self.solved = state["outcomes"].copy(), bool(state["solved"])


class BonusConfig(Model):
    """The base of every table `bonus`; a subclass describes its bonus and builds it."""

    type: str = Field("count", description='Kind of the bonus, or "package.module:attr".')
    deviation: float | None = Field(
        None,
        gt=0.0,
        description="Bonuses are scaled so that their standard deviation over the run so far is this, in units of "
        "(clipped) reward (Henaff et al. 2023 divide by it). Their own size, by beta too, then makes no difference. "
        "Left out: bonuses are paid as they are.",
    )
    until: Annotated[UntilConfig | None, SWITCH] = Field(
        None, description="Pays until the task is solved in training; false or left out: always, true: its defaults."
    )

    @property
    def needs_actions(self) -> bool:
        """Whether the bonus depends on the actions of steps; then no meta-controller can have it."""
        return False

    @property
    def observed(self) -> bool:
        """Whether the agent observes `build_input` too; an agent that cannot is refused (`build_bonus`)."""
        return False

    def build_input(self, spec: EnvSpec) -> EpisodeInput | None:
        """What the agent's policy sees beside the observations of `spec`; None if nothing. See `observed`."""
        return None

    def columns(self) -> dict[str, Column]:
        """The columns that `Bonus.observe` returns, for the replay to store."""
        return {}

    def validate_for(self, spec: EnvSpec, warm_up: int) -> None:
        """Raises SpecError, ConfigError or CapacityError if the bonus cannot work on such observations.

        warm_up: environment steps of random play before the agent's first update.
        """
        require_success(self, spec)

    def summary(self) -> str:
        """One line for `rlkit check`."""
        return self.type

    def build(self, spec: EnvSpec, streams: Streams, replay: Replay | Trajectory | None, warm_up: int) -> Bonus:
        """The bonus.

        replay: stores `columns()`; None if the agent itself keeps what `observe` returns. warm_up: as of
        `validate_for`; the first rollout of an agent with a trajectory. Raises as `validate_for`.
        """
        raise NotImplementedError

    def build_actor(self, spec: EnvSpec) -> Actor | None:
        """What acting reads, without the bonus; its state comes by `load_state_dict`."""
        return None


def require_success(config: BonusConfig, spec: EnvSpec) -> None:
    """Raises SpecError if the bonus ends with success, and environments do not tell it."""
    if config.until is not None and "success" not in spec.signals:
        raise SpecError(
            'bonus.until needs the signal "success" of a solved task; name it in env.signals, or leave it out'
        )


def _parsed(value: Any) -> Any:
    """A table as the config of its `type`; true is the count bonus with its defaults, false none."""
    if isinstance(value, bool):
        value = {} if value else None
    if not isinstance(value, Mapping):
        return value
    name = value.get("type", "count")
    try:
        config = plugins.load(plugins.BONUSES, str(name))
    except ConfigError as error:
        raise ValueError(f"type: {error}") from error
    if not (isinstance(config, type) and issubclass(config, BonusConfig)):
        raise ValueError(f"type: {name!r} is not a subclass of rlkit.BonusConfig")
    complete = over_defaults(without_false(value, [config]), [config])
    try:
        return config.model_validate_json(json.dumps({**complete, "type": name}, default=str))
    except ValidationError as error:
        raise NestedError(config, error) from error


BonusTable = Annotated[SerializeAsAny[BonusConfig] | None, BeforeValidator(_parsed)]
"""The type of an agent's field `bonus`: the table of any kind of bonus, true, or false for none."""


def bonus_columns(config: BonusConfig | None) -> dict[str, Column]:
    """The columns that a replay must store for a bonus."""
    return {} if config is None else config.columns()


def build_bonus(
    config: BonusConfig | None, spec: EnvSpec, streams: Streams, replay: Replay | Trajectory | None, warm_up: int
) -> Bonus:
    """The bonus of a config; arguments and errors as of `BonusConfig.build`.

    Raises ConfigError for a bonus that the agent has to observe: agents that can call `observed.build_seen_bonus`.
    """
    if config is not None and config.observed:
        raise ConfigError("bonus.observe_counts: this agent does not observe counts; ppo, pqn and dqn do")
    return NoBonus() if config is None else paid(config, config.build(spec, streams, replay, warm_up), spec)


def paid(config: BonusConfig, bonus: Bonus, spec: EnvSpec) -> Bonus:
    """The bonus with the keys that every kind has: `deviation` and `until`. Raises SpecError as `validate_for`."""
    require_success(config, spec)
    if config.deviation is None and config.until is None:
        return bonus
    return PaidBonus(bonus, config.deviation, config.until)


def build_actor(config: BonusConfig | None, spec: EnvSpec) -> Actor | None:
    """What acting reads of the bonus of a config."""
    return None if config is None else config.build_actor(spec)
