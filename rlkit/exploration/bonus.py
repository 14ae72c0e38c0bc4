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
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError

from rlkit import plugins
from rlkit.config.model import SWITCH, Model, NestedError, over_defaults, without_false
from rlkit.errors import ConfigError, SpecError
from rlkit.exploration.checked import CheckedBonus
from rlkit.exploration.paid import PaidBonus, UntilConfig
from rlkit.exploration.protocol import Actor, Bonus, EpisodeInput, NoBonus
from rlkit.replay import Column, Replay, Trajectory
from rlkit.seeding import Streams
from rlkit.types import EnvSpec


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
        raise ConfigError(
            f"agent.bonus ({self.type}): {type(self).__name__} has no method build, which makes the bonus"
        )

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

    Raises ConfigError for a bonus that the agent has to observe (`observe_counts`): only ppo, pqn and dqn can.
    """
    if config is not None and config.observed:
        raise ConfigError("bonus.observe_counts: this agent does not observe counts; ppo, pqn and dqn do")
    return NoBonus() if config is None else paid(config, config.build(spec, streams, replay, warm_up), spec)


def paid(config: BonusConfig, bonus: Bonus, spec: EnvSpec) -> Bonus:
    """The bonus with the keys that every kind has: `deviation` and `until`. Raises SpecError as `validate_for`.

    What a bonus of somebody else's returns is checked.
    """
    require_success(config, spec)
    if not type(config).__module__.startswith("rlkit."):
        bonus = CheckedBonus(bonus, config.type, config.columns())
    if config.deviation is None and config.until is None:
        return bonus
    return PaidBonus(bonus, config.deviation, config.until)


def build_actor(config: BonusConfig | None, spec: EnvSpec) -> Actor | None:
    """What acting reads of the bonus of a config."""
    return None if config is None else config.build_actor(spec)
