"""What makes two runs the same experiment, and what binds a checkpoint to a config: the one definition of both."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from rlkit.config.keys import flat, upgraded
from rlkit.config.load import refuse_deep, resolve
from rlkit.config.tables import Config
from rlkit.errors import ConfigError
from rlkit.runs.trust import safe_to_read

SEED = "train.seed"
SAME_EXPERIMENT = frozenset(
    {SEED, "train.device", "train.threads", "train.sinks"}
    | {"train.warm_start.run"}  # the run is told by its experiment, digest and step
    | {f"train.{key}" for key in ("log_every", "checkpoint_every", "keep_checkpoints", "action_log_size")}
)
"""The keys in which runs of one experiment may differ; any other key tells two experiments apart."""


def digest(config: Config) -> str:
    """12 hexadecimal digits that differ where two experiments differ."""
    return digest_of(config.tables())


def digest_of(tables: Mapping[str, Any]) -> str:
    """The digest of a config that has these tables."""
    tables = copy.deepcopy(dict(tables))
    for key in SAME_EXPERIMENT:
        *parents, last = key.split(".")
        table: Any = tables
        for parent in parents:
            table = table.get(parent, {})
        table.pop(last, None)
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()[:12]


def of_experiment(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys that tell one experiment from another."""
    return {key: value for key, value in flat(tables).items() if key not in SAME_EXPERIMENT}


def of_run(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys that tell one run from another: those of its experiment, and the seed."""
    return {key: value for key, value in flat(tables).items() if key not in SAME_EXPERIMENT or key == SEED}


def of_checkpoint(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables that a checkpoint belongs to; all other values may change when a run is resumed."""
    train = {key: tables["train"][key] for key in ("seed", "num_envs")}
    return {"env": tables["env"], "agent": tables["agent"], "train": train}


def understood(tables: Mapping[str, Any], allowed: Collection[str] = ()) -> dict[str, Any]:
    """The tables of a saved config as this version reads them: keys renamed, missing keys at their defaults.

    Tables that cannot be resolved, such as those of a plug-in that is not installed, keep their values; so do those
    that name modules of their own, apart from `allowed` ones, since reading a result must not run code.
    """
    refuse_deep(tables, "saved config")
    today, _ = upgraded(tables)
    if not safe_to_read(today, allowed):
        return today
    try:
        return resolve("saved", today).tables()
    except ConfigError:
        return today


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One phrase for each key whose value differs: "agent.n_step was 1, is 2"."""
    return [
        f"{key} was {then.get(key, 'unset')!r}, is {now.get(key, 'unset')!r}"
        for key in sorted({*then, *now})
        if then.get(key) != now.get(key)
    ]
