"""Groups runs, and labels each group by the values in which the groups of a comparison differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.errors import ConfigError
from rlkit.report.labels import UNSET, in_words, key_in_words
from rlkit.report.protocols import Protocol, numbered
from rlkit.report.results import Result

LIBRARIES = {"stable-baselines3": "Stable-Baselines3"}
ATTRIBUTES = ("experiment", "library", "seed")
LAST = ("evaluation.", "train.visits.", "train.steps")  # in a label only if no other key tells the groups apart


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one environment and one protocol, over which scores are averaged."""

    label: str
    runs: tuple[Result, ...]
    kind: str = ""  # the part of the label that names tables: "bonus, no optimism"
    unlabelled: str = ""  # what all groups of its kind share and others lack: "epsilon steps 5,000"

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


def grouped(results: Sequence[Result], by: Sequence[str] = (), labels: Sequence[str] = ()) -> list[Group]:
    """Groups runs that agree in all values but the seed, or only in the keys of `by`; keeps their order.

    Scores of different environments or protocols are never averaged. labels: other labels, one for each, in order.
    Raises ConfigError for a key of `by` that no run has, and for a wrong number of labels.
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
    groups = [
        replace(each, runs=tuple(sorted(runs, key=lambda run: run.seed)))
        for each, runs in zip(_labelled(list(members.values()), by), members.values(), strict=True)
    ]
    return _renamed(groups, labels) if labels else groups


def _renamed(groups: Sequence[Group], labels: Sequence[str]) -> list[Group]:
    """The groups under other labels. Raises ConfigError if there are not as many labels as there are different ones."""
    found = list(dict.fromkeys(group.label for group in groups))
    if len(found) != len(labels):
        there = ", ".join(f"{name!r}" for name in found)
        raise ConfigError(f"--label: {len(labels)} given, and there are {len(found)} groups: {there}")
    names = dict(zip(found, labels, strict=True))
    return [Group(names[group.label], group.runs) for group in groups]


def _identity(result: Result) -> tuple[Any, ...]:
    return result.library, result.experiment, tuple((key, _text(value)) for key, value in sorted(result.config.items()))


def _value(result: Result, key: str) -> Any:
    return getattr(result, key) if key in ATTRIBUTES else result.config.get(key, UNSET)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _labelled(groups: Sequence[Sequence[Result]], by: Sequence[str]) -> list[Group]:
    """The groups with their labels: the values that differ between the groups of an environment."""
    firsts = [runs[0] for runs in groups]
    if by:
        found = [Group(_label_by(first, by), (first,)) for first in firsts]
    else:
        found = [_label(first, [other for other in firsts if other.environment == first.environment])
                 for first in firsts]  # fmt: skip
    return _told_apart(found)


def _label_by(result: Result, by: Sequence[str]) -> str:
    """The values of the keys; keys that its config lacks are omitted, except for the first."""
    values = {key: _value(result, key) for key in by}
    given = {key: value for key, value in values.items() if value != UNSET or key == by[0]}
    return ", ".join(in_words(key, value, by) for key, value in given.items())


def _label(result: Result, others: Sequence[Result]) -> Group:
    """Library and experiment if `others` differ in them, then the tables and values in which its experiment differs.

    A value that all groups with the same tables share is left out of the label.
    """
    ours = [other for other in others if other.library == result.library]
    configs = [other.config for other in ours if other.experiment == result.experiment]
    tables, keys = _switched(configs), _telling(configs)
    had = [table for table in tables if _has(result.config, table)]
    alike = [config for config in configs if [table for table in tables if _has(config, table)] == had]
    lacking = tuple(f"{table}." for table in tables if table not in had)
    switches = [key_in_words(table, tables) if table in had else f"no {key_in_words(table, tables)}"
                for table in tables if not table.startswith(lacking)]  # fmt: skip
    telling = _telling(alike)
    values = {key: in_words(key, result.config.get(key, UNSET), keys) for key in dict.fromkeys([*keys, *telling])
              if not key.startswith(lacking)}  # fmt: skip
    parts = [*switches, *(text for key, text in values.items() if key in telling)]
    heads = []
    if len({other.library for other in others}) > 1:
        heads.append(LIBRARIES.get(result.library, result.library))
    if len({other.experiment for other in ours}) > 1:
        heads.append(result.experiment)
    elif not parts:
        heads.append(str(result.config.get("agent.name", "") if result.library == "rlkit" else ""))
    start = [" ".join(filter(None, heads))] if any(heads) else []
    rest = [text for key, text in values.items() if key not in telling and not key.startswith(LAST)]
    label = ", ".join([*start, *parts]) or result.experiment
    return Group(label, (result,), ", ".join([*start, *switches]), ", ".join(rest))


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

    Includes keys of LAST only if they are needed.
    """
    tables = _switched(configs)

    def kinds(keys: Sequence[str], among: Sequence[Mapping[str, Any]]) -> int:
        return len({tuple(_text(config.get(key, UNSET)) for key in keys) for config in among})

    keys = [
        key
        for key in dict.fromkeys(key for config in configs for key in config)
        if kinds([key], _owners(configs, key, tables)) > 1
    ]
    without = [key for key in keys if not key.startswith(LAST)]
    return without if kinds(without, configs) == kinds(keys, configs) else keys


def _told_apart(groups: Sequence[Group]) -> list[Group]:
    """Adds the mark of its protocol to each label that is used twice in one environment."""
    marks = numbered((group.environment, group.protocol) for group in groups)
    keys = [(group.label, group.environment) for group in groups]
    return [
        replace(group, label=f"{group.label} {marks[group.environment, group.protocol.key()]}")
        if keys.count((group.label, group.environment)) > 1
        else group
        for group in groups
    ]
