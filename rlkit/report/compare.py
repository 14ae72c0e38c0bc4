"""Comparison tables: scores per environment, and human-normalised scores over several Atari games."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.report import reference
from rlkit.report.groups import Group
from rlkit.report.notes import marks_of, named_protocols, notes, protocol_notes, solved
from rlkit.report.protocols import Protocol, legend
from rlkit.report.results import EVALUATION, Result
from rlkit.report.scores import (
    Estimate,
    aggregate,
    difference,
    optimality_gap,
    probability_of_improvement,
)
from rlkit.runs.directory import RunDirectory


@dataclass
class Table:
    """A table of text with its title and notes."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(words(cell).replace('|', '/') for cell in line)} |" for line in lines)
        return "\n\n".join([table, *map(words, self.notes)])


def words(text: str) -> str:
    """Text of a result file as Markdown: in one line, without HTML, links and code."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("`", "'")
    return plain.replace("](", "]\\(")


def _way_on(result: Result) -> str:
    """How to finish an unfinished run, or to remove one that has nothing to resume."""
    if RunDirectory(result.path).checkpoints.steps():
        return f"'rlkit resume {result.path}' goes on"
    config = result.path / "config.toml"
    return f"it has no checkpoint: 'rlkit train {config} --run {result.path}' begins it anew, or delete it"


def finished(results: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """(finished runs, one line for each unfinished run)."""
    lines = [
        f"{result.path} is unfinished at step {result.env_steps:,}; left out ({_way_on(result)})"
        for result in results
        if result.returns is None
    ]
    return [result for result in results if result.returns is not None], lines


def compare(groups: Sequence[Group], against: str | None = None, *, full: bool = False) -> list[Table]:
    """The tables of finished groups: scores per environment, differences per protocol, normalised scores.

    full: also the mean and the median of scores.
    """
    by_environment: dict[str, list[Group]] = {}
    for group in groups:
        by_environment.setdefault(group.environment, []).append(group)
    tables, marks = [], marks_of(groups)
    for environment, members in by_environment.items():
        tables.append(score_table(environment, members, full=full))
        for protocol in legend(group.protocol for group in members).values():
            mark = marks[environment, protocol.key()]
            alike = [
                (group.label.removesuffix(f" {mark}"), group.scores())
                for group in members
                if group.protocol.key() == protocol.key()
            ]
            if len(alike) > 1:
                tables.append(difference_table(f"{environment} {mark}".rstrip(), alike))
        if against == "dopamine":
            tables.append(reference_table(environment, members))
    tables += normalised_tables(by_environment)
    tables[-1].notes += notes(groups)
    return tables


def score_table(environment: str, groups: Sequence[Group], *, full: bool = False) -> Table:
    """Raw final scores in one environment. The score of a run is the mean return of its final evaluation."""
    marks = marks_of(groups)
    statistics = {"IQM [95%]": "interquartile mean", "mean [95%]": "mean", "median [95%]": "median"}
    shown = statistics if full else {"IQM [95%]": "interquartile mean"}
    ruled = ("solved, ended at step",) if any(solved(group, groups) for group in groups) else ()
    columns = ("group", "seeds", *ruled, *shown, "lowest to highest", "steps", "time")
    rows: list[tuple[str, ...]] = []
    digits = digits_for(np.concatenate([group.scores() for group in groups]))
    for group in groups:
        scores = group.scores()
        found = aggregate(scores)
        mark = marks[environment, group.protocol.key()]
        label = group.label if group.label.endswith(mark) else f"{group.label} {mark}"
        rows.append(
            (
                label,
                str(len(group.runs)),
                *([solved(group, groups)] if ruled else []),
                *(found[name].text(digits) for name in shown.values()),
                span(scores, digits),
                steps(group),
                training_time(group),
            )
        )
    return Table(environment, columns, rows)


def steps(group: Group) -> str:
    """Environment steps of a run; the smallest and the largest number if runs end early."""
    ends = sorted({run.env_steps for run in group.runs})
    return f"{ends[0]:,}" if len(ends) == 1 else f"{ends[0]:,} to {ends[-1]:,}"


def span(scores: NDArray[np.float64], digits: int) -> str:
    """The lowest and the highest score of the runs."""
    low, high = (f"{value:.{digits}f}" for value in (scores.min(), scores.max()))
    return low if low == high else f"{low} to {high}"


def training_time(group: Group) -> str:
    """The median over runs, without evaluation, and that of the processor time; "" if it is unknown."""
    clock = duration([run.hours for run in group.runs])
    processor = duration([run.processor_hours for run in group.runs])
    return f"{clock} (processor: {processor})" if processor else clock


def duration(times: Sequence[float | None]) -> str:
    """The median of hours; "" if none is known."""
    hours = [time for time in times if time is not None]
    if not hours:
        return ""
    minutes = 60 * float(np.median(hours))
    return (
        f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.1f} min" if minutes >= 1 else f"{60 * minutes:.0f} s"
    )


def digits_for(scores: NDArray[np.float64]) -> int:
    """Number of decimals for scores of this size."""
    largest = float(np.abs(scores).max())
    return 0 if largest >= 1000 else 1 if largest >= 100 else 2 if largest >= 0.5 else 3


def difference_table(where: str, named: Sequence[tuple[str, NDArray[np.float64]]]) -> Table:
    """Compares each group (label, (runs, tasks)) with the first: difference of IQMs, probability of improvement."""
    (first, baseline), *others = named
    base = aggregate(baseline)["interquartile mean"].value
    rows: list[tuple[str, ...]] = []
    for label, scores in others:
        gap = difference(scores, baseline)
        percent = _scaled(gap, 100 / abs(base)).text(0) if abs(base) > 1e-9 else ""
        chance = probability_of_improvement(scores, baseline)
        digits = digits_for(np.concatenate((scores.ravel(), baseline.ravel())))
        rows.append((label, gap.text(digits), percent, chance.text()))
    columns = ("group", "difference [95%]", "in percent [95%]", "probability of improvement [95%]")
    return Table(f"{where}: against {first}", columns, rows)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    if estimate.low is None or estimate.high is None:
        return Estimate(estimate.value * factor)
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor)


def reference_table(environment: str, groups: Sequence[Group]) -> Table:
    """Each group and Dopamine's agents at the last number of frames that both reached."""
    table = Table(f"{environment}: beside Dopamine at equal frames", ("who", "frames", "seeds", "mean [95%]"))
    game = reference.game_of(environment)
    if game is None or game not in reference.dopamine_games():
        table.notes.append(f"Dopamine has no curve for {environment}.")
        return table
    curves = reference.dopamine_curves(game)
    published = sorted(next(iter(curves.values())))
    shared = set()
    for group in groups:
        frames = min(run.env_steps * run.frame_skip for run in group.runs)
        reached = [point for point in published if point <= frames]
        if not reached:
            table.notes.append(
                f"{group.label}: {frames / 1e6:g} million frames, and Dopamine's curves begin at "
                f"{published[0] / 1e6:g} million: there is no reference."
            )
            continue
        shared.add(reached[-1])
        value = np.array([[at_frames(run, reached[-1])] for run in group.runs])
        row = (group.label, f"{reached[-1] / 1e6:g} million", str(len(group.runs)))
        table.rows.append((*row, aggregate(value)["mean"].text(1)))
    for point in sorted(shared):
        for name, curve in curves.items():
            there = (f"{point / 1e6:g} million", str(reference.DOPAMINE_SEEDS), f"{curve[point]:.1f}")
            table.rows.append((name, *there))
    ours = named_protocols(groups)
    theirs = reference.dopamine_protocol(environment)
    pairs = [(f"here {mark}".rstrip(), protocol) for mark, protocol in ours] + [("of Dopamine", theirs)]
    table.notes += ["Means over seeds, since Dopamine's are.", *protocol_notes(pairs)]
    return table


def at_frames(run: Result, frames: float) -> float:
    """The mean return of the last evaluation at or before `frames`, or of the final one if the run ends there."""
    if run.env_steps * run.frame_skip <= frames or EVALUATION + "return_mean" not in run.curves:
        return run.score
    curve = run.curves[EVALUATION + "return_mean"]
    before = np.flatnonzero(curve.env_steps * run.frame_skip <= frames)
    return float(curve.values[before[-1]]) if len(before) else float("nan")


def human_normalised(run: Result) -> float | None:
    """(score - random) / (human - random); None if these are unknown for the environment, or of another score."""
    if "return" not in run.protocol.entries.get("score", "return"):
        return None
    known = run.reference_scores or reference.atari_scores().get(reference.game_of(run.environment) or "")
    return None if not known else (run.score - known["random"]) / (known["human"] - known["random"])


def normalised_tables(by_environment: dict[str, list[Group]]) -> list[Table]:
    """Human-normalised scores by group label, over all games of the group; no table if no game is known.

    If there are several games, groups with the same games and rules are also compared with the first of them.
    """
    columns = ("group", "games", "seeds", "IQM [95%]", "mean [95%]", "median [95%]", "optimality gap [95%]")
    alike: dict[Any, list[tuple[str, NDArray[np.float64]]]] = {}
    table = Table("human-normalised (0 random, 1 human)", columns)
    for label in dict.fromkeys(group.label for groups in by_environment.values() for group in groups):
        tasks, playing = [], []
        for group in (group for groups in by_environment.values() for group in groups if group.label == label):
            values = [human_normalised(run) for run in group.runs]
            if all(value is not None for value in values):
                tasks.append(values)
                playing.append(group)
        if not tasks:
            continue
        if len({without_environment(group.protocol).key() for group in playing}) > 1:
            table.notes.append(f"{label}: its games were played under different protocols; they are not averaged.")
            continue
        runs = min(map(len, tasks))
        if any(len(values) != runs for values in tasks):
            table.notes.append(f"{label}: the first {runs} seeds of each game, since not every game has more.")
        scores: NDArray[np.float64] = np.array([values[:runs] for values in tasks], dtype=np.float64).T  # (runs, tasks)
        found = [aggregate(scores)[name].text() for name in ("interquartile mean", "mean", "median")]
        table.rows.append((label, str(len(tasks)), str(runs), *found, optimality_gap(scores).text()))
        what = tuple(group.environment for group in playing), without_environment(playing[0].protocol).key()
        alike.setdefault(what, []).append((label, scores))
    if not table.rows and not table.notes:
        return []
    table.notes.append("Random and human scores: van Hasselt et al. 2016 (arXiv:1602.07714), table 1.")
    against = [named for (games, _), named in alike.items() if len(games) > 1 and len(named) > 1]
    return [table, *(difference_table("human-normalised", named) for named in against)]


def without_environment(protocol: Protocol) -> Protocol:
    """The protocol without the environment: equal if normalised scores of different games may be averaged."""
    return replace(protocol, entries={key: text for key, text in protocol.entries.items() if key != "environment"})
