"""Warm start: a run begins with the policy of another run, and by option with its replay and its bonus.

Only arrays, and the text of its config, are read from the other run: no module that it names is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlkit.agent import Agent, HasWarmStart
from rlkit.config.keys import flat
from rlkit.config.tables import Config, WarmStartConfig
from rlkit.errors import ConfigError, RlkitError, RunError
from rlkit.runs.directory import RunDirectory
from rlkit.runs.earlier import upgraded
from rlkit.runs.identity import differences, digest_of, understood
from rlkit.training.finite import nan_entries

FREE = ("beta",)  # keys of the bonus that may differ where it is taken over


def pinned(config: Config) -> Config:
    """The config with what its warm start takes: experiment, digest and step of the other run.

    Raises RunError if there is no such run or policy, ConfigError if it is not the one that the config names.
    """
    wanted = config.train.warm_start
    if wanted is None:
        return config
    run = _open(wanted)
    env_steps = run.load_policy(wanted.checkpoint)[1]
    tables = run.tables()
    saved = run.info() if (run.path / "run.json").is_file() else {}
    found = {
        "experiment": str(saved.get("experiment", tables.get("agent", {}).get("name", "unknown"))),
        "digest": str(saved.get("digest") or digest_of(understood(tables))),
        "env_steps": env_steps,
    }
    for key, value in found.items():
        if (named := getattr(wanted, key)) not in (None, value):
            raise ConfigError(f"train.warm_start.{key} is {named!r}, but {run.path} has {value!r}")
    return replace(config, train=config.train.model_copy(update={"warm_start": wanted.model_copy(update=found)}))


def _open(wanted: WarmStartConfig) -> RunDirectory:
    try:
        return RunDirectory.open(Path(wanted.run))
    except RunError as error:
        raise RunError(f"train.warm_start.run: {error}") from error


def warm_start(config: Config, agent: Agent) -> None:
    """Gives the agent what `train.warm_start` takes from the other run.

    Raises ConfigError if it does not fit, RunError if the other run lacks it or is damaged.
    """
    wanted = config.train.warm_start
    if wanted is None:
        return
    run, name = _open(wanted), config.agent.name
    if not isinstance(agent, HasWarmStart):
        raise ConfigError(f'train.warm_start: agent "{name}" cannot begin with the policy of another run')
    tables = run.tables()
    made_by = tables.get("agent", {}).get("name")
    if made_by != name:
        raise ConfigError(f'train.warm_start: {run.path} was made by agent "{made_by}"; agent.name is "{name}"')
    parts = {part for part in ("replay", "bonus") if getattr(wanted, part)}
    _refuse_other_bonus(run, tables, config, parts)
    state = _state(run, wanted, parts)
    if broken := next(nan_entries(state), None):
        raise RunError(f"train.warm_start: {run.path} contains NaN in {broken}")
    try:
        agent.warm_start(state, parts)
    except RlkitError as error:
        raise ConfigError(f"train.warm_start: {run.path} does not fit this config: {error}") from error
    except Exception as error:  # whatever an agent does with a state that it does not expect
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"train.warm_start: {run.path} does not fit this config: {reason}") from error


def _state(run: RunDirectory, wanted: WarmStartConfig, parts: set[str]) -> dict[str, Any]:
    """The agent's state, or only its part "policy" where that is enough."""
    policy, env_steps = run.load_policy(wanted.checkpoint)
    if not parts:
        return {"policy": policy}
    if env_steps not in run.checkpoints.steps():
        what = " and ".join(sorted(parts))
        raise RunError(
            f"train.warm_start: {run.path} has no checkpoint of step {env_steps}, of its policy "
            f"{wanted.checkpoint!r}, to take {what} from; there are: {run.checkpoints.steps() or 'none'}"
        )
    state: dict[str, Any] = upgraded({"agent": run.checkpoints.load(env_steps, "agent")})["agent"]
    return {**state, "policy": policy}


def _refuse_other_bonus(run: RunDirectory, tables: Mapping[str, Any], config: Config, parts: set[str]) -> None:
    """Raises ConfigError unless counts, and the codes in the replay, mean the same in both runs."""
    then, now = (
        {
            key: value
            for key, value in flat({"agent": table}).items()
            if "bonus" in key.split(".") and key.split(".")[-1] not in FREE
        }
        for table in (understood(tables)["agent"], config.tables()["agent"])
    )
    if "bonus" in parts and not now:
        raise ConfigError("train.warm_start.bonus: this config has no bonus")
    if parts and (changed := differences(then, now)):
        raise ConfigError(f"train.warm_start: the bonus of {run.path} is another one: {'; '.join(changed)}")
    if parts == {"replay"} and now:
        raise ConfigError(
            "train.warm_start.replay: the steps are stored with codes of their bonus; set train.warm_start.bonus = true"
        )
