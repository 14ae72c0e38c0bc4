"""What stands under the tables of a comparison: the protocols, each once, and what limits the scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rlkit.report.groups import Group
from rlkit.report.protocols import NAME, Protocol, numbered
from rlkit.report.results import Result
from rlkit.report.scores import FEWEST_RUNS

UNSTATED = "unstated"


def marks_of(groups: Iterable[Group]) -> dict[tuple[str, tuple[tuple[str, str], ...]], str]:
    """(environment, key of a protocol) → the mark of the groups under it; see `numbered`."""
    return numbered((group.environment, group.protocol) for group in groups)


def protocol_notes(protocols: Sequence[tuple[str, Protocol]]) -> list[str]:
    """Protocols under their names: what they share, once, then what each has of its own.

    An entry that a protocol lacks is told if another one of the same environment has it.
    """
    if len(protocols) == 1:
        return [f"{_title(protocols[0][1])}: {protocols[0][1].text()}."]
    every = [protocol.entries for _, protocol in protocols]
    keys = [key for key in dict.fromkeys(key for entries in every for key in entries) if key != NAME]
    shared = [key for key in keys if len({entries.get(key, UNSTATED) for entries in every}) == 1]
    own = [key for key in keys if key not in shared]
    lines = ["Protocol of all: " + "; ".join(f"{key}: {every[0][key]}" for key in shared) + "."] if shared else []
    for name, protocol in protocols:
        known = {key for _, other in protocols if other.environment == protocol.environment for key in other.entries}
        told = [
            f"{key}: {protocol.entries.get(key, UNSTATED)}"
            for key in own
            if key in known and (key != "environment" or key == name)
        ]
        if told:
            lines.append(f"{_title(protocol)} {name}: {'; '.join(told)}.")
    return lines


def _title(protocol: Protocol) -> str:
    """ "Protocol", with the name of a published one."""
    return "Protocol" if protocol.name == protocol.environment else f"Protocol {protocol.name}"


def notes(groups: Sequence[Group]) -> list[str]:
    """All that is said under the tables of these groups."""
    environments = list(dict.fromkeys(group.environment for group in groups))
    lines = protocol_notes(named_protocols(groups))
    if len(environments) > 1:
        lines.append(f"{len(environments)} environments: raw scores of different ones are not averaged.")
    if any(marks_of(groups).values()):
        lines.append("Scores under different protocols are neither averaged nor compared.")
    return [*lines, *only_in_training(groups), *rules(groups), *unlabelled(groups), *few_seeds(groups)]


def named_protocols(groups: Sequence[Group]) -> list[tuple[str, Protocol]]:
    """Each protocol once, with the environment if there are several, and its mark."""
    marks = marks_of(groups)
    several = len({group.environment for group in groups}) > 1
    found = {(group.environment, group.protocol.key()): group.protocol for group in groups}
    return [(" ".join(filter(None, [place[0] if several else "", marks[place]])), found[place]) for place in marks]


def few_seeds(groups: Sequence[Group]) -> list[str]:
    few = any(len(group.runs) < FEWEST_RUNS for group in groups)
    return [f"No interval from fewer than {FEWEST_RUNS} seeds."] if few else []


def only_in_training(groups: Sequence[Group]) -> list[str]:
    """Says of groups whose scores are all 0 what their training episodes reached, if that is more than 0."""
    several, reached = len({group.environment for group in groups}) > 1, []
    for group in groups:
        curves = [run.curves["episode/return"].values for run in group.runs if "episode/return" in run.curves]
        values = np.concatenate(curves) if curves else np.zeros(1)
        if any(run.returns is None or run.returns.any() for run in group.runs) or not (values > 0).any():
            continue
        where = f"{group.label} in {group.environment}" if several else group.label
        reached.append(f"{where} (mean return up to {np.nanmax(values):.3g} in a part of training)")
    if not reached:
        return []
    return [f"All scores are 0, although training episodes reached a reward: {'; '.join(reached)}."]


def solved(group: Group, others: Sequence[Group]) -> str:
    """How many runs `evaluation.stop` ended, and their median step: "5 of 5, 458,752".

    "" if no run of `others` ended by its rule, since runs may have a rule only to record it.
    """
    met = {_rule(run) for each in others for run in each.runs if run.stopped}
    if not any(_rule(run) in met for run in group.runs):
        return ""
    ends = [run.env_steps for run in group.runs if run.stopped]
    return f"{len(ends)} of {len(group.runs)}" + (f", {np.median(ends):,.0f}" if ends else "")


def rules(groups: Sequence[Group]) -> list[str]:
    """When a run counts as solved; if runs ended by several rules, each with its groups."""
    found: dict[str, list[str]] = {}
    for group in groups:
        for rule in dict.fromkeys(_rule(run) for run in group.runs if run.stopped):
            found.setdefault(rule, []).append(group.label)
    alone = len(found) == 1
    lines = [rule if alone else f"{rule} ({'; '.join(dict.fromkeys(labels))})" for rule, labels in found.items()]
    end = "; the run then ended. The step is the median over these runs."
    return [f"Solved: {', or '.join(lines)}{end}"] if lines else []


def _rule(run: Result) -> str:
    """ "success_rate reached 0.95 in 2 consecutive evaluations"; "" without the table `evaluation.stop`."""
    key, at_least, times = (run.config.get(f"evaluation.stop.{name}") for name in ("key", "at_least", "times"))
    if key is None or not isinstance(at_least, int | float) or not isinstance(times, int):
        return ""
    often = f"in {times} consecutive evaluations" if times > 1 else "in an evaluation"
    return f"{key} reached {at_least:g} {often}"


def unlabelled(groups: Sequence[Group]) -> list[str]:
    """The values that labels leave out, because all groups of a kind share them."""
    found: dict[str, list[str]] = {}
    for group in groups:
        if group.unlabelled:
            found.setdefault(group.unlabelled, []).append(group.kind)
    return [f"Not in the labels: {text} (all of: {'; '.join(dict.fromkeys(kinds))})." for text, kinds in found.items()]
