"""Groups runs, and labels each group by the values in which the groups of a comparison differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.errors import ConfigError
from rlkit.report.labels import UNSET, in_words, key_in_words
from rlkit.report.protocols import Protocol, numbered
from rlkit.report.results import Result

LIBRARIES = {"stable-baselines3": "Stable-Baselines3"}
ATTRIBUTES = ("experiment", "library", "seed")
OF_MEASURING = ("evaluation.", "train.visits.")  # in a label only if no other key tells the groups apart


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one environment and one protocol, over which scores are averaged."""

    label: str
    runs: tuple[Result, ...]

    @property
    def protocol(self) -> Protocol:
        return self.runs[0].protocol

    @property
    def environment(self) -> str:
        return self.runs[0].environment

    def scores(self) -> NDArray[np.float64]:
        """(runs, 1)"""
        return np.array([[run.score] for run in self.runs])

    def seeds(self) -> str:
        return f"{len(self.runs)} seed{'' if len(self.runs) == 1 else 's'}"


def grouped(results: Sequence[Result], by: Sequence[str] = ()) -> list[Group]:
    """Groups runs that agree in all values but the seed, or only in the keys of `by`; keeps their order.

    Scores of different environments or protocols are never averaged. Raises ConfigError for a key of `by` that no run
    has.
    """
    for key in by:
        if key not in ATTRIBUTES and not any(key in result.config for result in results):
            known = sorted({name for result in results for name in result.config})
            raise ConfigError(
                f"--group-by {key}: no run's config has it; there are: {', '.join((*ATTRIBUTES, *known))}"
            )
    members: dict[Any, list[Result]] = {}
    for result in results:
        wanted = tuple(_text(_value(result, key)) for key in by) if by else _identity(result)
        members.setdefault((result.environment, wanted, result.protocol.key()), []).append(result)
    labels = _labels(list(members.values()), by)
    return [
        Group(label, tuple(sorted(runs, key=lambda run: run.seed)))
        for label, runs in zip(labels, members.values(), strict=True)
    ]


def _identity(result: Result) -> tuple[Any, ...]:
    return result.library, result.experiment, tuple((key, _text(value)) for key, value in sorted(result.config.items()))


def _value(result: Result, key: str) -> Any:
    return getattr(result, key) if key in ATTRIBUTES else result.config.get(key, UNSET)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _labels(groups: Sequence[Sequence[Result]], by: Sequence[str]) -> list[str]:
    """One label per group: the values that differ between the groups of its environment."""
    firsts = [runs[0] for runs in groups]
    if by:
        labels = [_label_by(first, by) for first in firsts]
    else:
        labels = [_label(first, [other for other in firsts if other.environment == first.environment])
                  for first in firsts]  # fmt: skip
    return _told_apart(labels, firsts)


def _label_by(result: Result, by: Sequence[str]) -> str:
    """The values of the keys; keys that its config lacks are omitted, except for the first."""
    values = {key: _value(result, key) for key in by}
    given = {key: value for key, value in values.items() if value != UNSET or key == by[0]}
    return ", ".join(in_words(key, value, by) for key, value in given.items())


def _label(result: Result, others: Sequence[Result]) -> str:
    """Library and experiment if `others` differ in them, then the config values in which its experiment differs."""
    ours = [other for other in others if other.library == result.library]
    configs = [other.config for other in ours if other.experiment == result.experiment]
    tables, keys = _switched(configs), _telling(configs)
    lacking = tuple(f"{table}." for table in tables if not _has(result.config, table))
    parts = [
        f"no {key_in_words(table, tables)}" if f"{table}." in lacking else key_in_words(table, tables)
        for table in tables
        if not table.startswith(lacking)
    ]
    parts += [in_words(key, result.config.get(key, UNSET), keys) for key in keys if not key.startswith(lacking)]
    heads = []
    if len({other.library for other in others}) > 1:
        heads.append(LIBRARIES.get(result.library, result.library))
    if len({other.experiment for other in ours}) > 1:
        heads.append(result.experiment)
    elif not parts:
        heads.append(str(result.config.get("agent.name", "") if result.library == "rlkit" else ""))
    return ", ".join([" ".join(filter(None, heads)), *parts] if any(heads) else parts) or result.experiment


def _has(config: Mapping[str, Any], table: str) -> bool:
    return any(key.startswith(f"{table}.") for key in config)


def _switched(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tables like agent.bonus that only some configs have, among those that have the tables around them."""
    parts = {tuple(key.split(".")) for config in configs for key in config}
    found: list[str] = []
    for table in sorted({".".join(path[:size]) for path in parts for size in range(1, len(path))}):
        if len({_has(config, table) for config in _owners(configs, table, found)}) > 1:
            found.append(table)
    return found


def _owners(configs: Sequence[Mapping[str, Any]], inner: str, tables: Sequence[str]) -> list[Mapping[str, Any]]:
    """The configs that have all of the tables in which `inner`, a key or a table, lies."""
    around = [table for table in tables if inner.startswith(f"{table}.")]
    return [config for config in configs if all(_has(config, table) for table in around)]


def _telling(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values differ between the configs, or between those that have the table around them.

    Includes keys of OF_MEASURING only if they are needed.
    """
    tables = _switched(configs)

    def kinds(keys: Sequence[str], among: Sequence[Mapping[str, Any]]) -> int:
        return len({tuple(_text(config.get(key, UNSET)) for key in keys) for config in among})

    keys = [
        key
        for key in dict.fromkeys(key for config in configs for key in config)
        if kinds([key], _owners(configs, key, tables)) > 1
    ]
    without = [key for key in keys if not key.startswith(OF_MEASURING)]
    return without if kinds(without, configs) == kinds(keys, configs) else keys


def _told_apart(labels: Sequence[str], firsts: Sequence[Result]) -> list[str]:
    """Adds the mark of its protocol to each label that is used twice in one environment."""
    marks = numbered((first.environment, first.protocol) for first in firsts)
    keys = [(label, first.environment) for label, first in zip(labels, firsts, strict=True)]
    return [
        f"{label} {marks[first.environment, first.protocol.key()]}"
        if keys.count((label, first.environment)) > 1
        else label
        for label, first in zip(labels, firsts, strict=True)
    ]
