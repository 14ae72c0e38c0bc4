"""`rlkit sweep`, and `rlkit train --seeds`: many runs, one progress display, one table."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from rlkit.cli import main
from rlkit.cli.report import say, show_comparison
from rlkit.cli.shared import DATA, JOBS, console
from rlkit.errors import ConfigError, RlkitError

if TYPE_CHECKING:
    from rlkit.runs.launcher import Job, Plan

TAIL = 8192  # bytes at a metrics file's end that are sure to hold a whole row


class Interrupted(RlkitError):
    """A signal ended the runs after each wrote a checkpoint."""

    def __init__(self, number: int, finished: int, wanted: int) -> None:
        super().__init__(f"stopped with {finished} of {wanted} runs finished; the same command goes on where they are")
        self.exit_code = 128 + number


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@main.command()
@click.argument("sweep_file", metavar="SWEEP.toml", type=click.Path(path_type=Path))
@JOBS
@DATA
def sweep(sweep_file: Path, jobs: int | None, data: Path | None) -> None:
    """Run all settings and seeds that SWEEP.toml names; what is finished is skipped.

    \b
    config = "minatar/breakout"            # or a list of configs
    name = "rates"                         # of its runs and results; left out: the config's and all that is set
    seeds = "0-4"
    [set]                                  # for all runs
    train.steps = 200_000
    [grid]                                 # every combination
    agent.learning_rate = [1e-4, 3e-4]
    agent.double = [true, false]

    \b
    [random]                               # instead of [grid]: draws from a stated seed
    draws = 10
    seed = 0
    [random.keys]
    agent.learning_rate = { low = 1e-5, high = 1e-2, log = true }
    agent.batch_size = [32, 64]

    \b
    rlkit sweep sweep.toml
    rlkit sweep sweep.toml --jobs 2 --data results
    """
    from rlkit.runs.launcher import make_jobs, parse_seeds
    from rlkit.runs.sweep import load_sweep

    found = load_sweep(sweep_file)
    seeds = parse_seeds(str(found.seeds))
    several = len(found.configs()) > 1  # then they must be told apart by their own names
    everything = [
        job
        for config in found.configs()
        for point in found.points()
        for job in make_jobs(
            config,
            {**found.set, **point},
            seeds,
            Path("runs"),
            data,
            name=None if several else found.name,
            varied=point if found.name else None,
        )
    ]
    run_all(list({job.run: job for job in everything}.values()), jobs)  # two draws may be the same point


def run_all(jobs: Sequence[Job], limit: int | None) -> None:
    """Works the jobs off and shows their comparison.

    Raises ConfigError before anything starts, Interrupted after a signal, RlkitError where runs failed.
    """
    from rlkit.runs.launcher import Runner, plan

    found = plan(jobs)
    counts = {"finished": found.finished, "to resume": found.to_resume, "to train": found.to_train}
    console.print(f"{len(jobs)} runs: " + ", ".join(f"{len(some)} {what}" for what, some in counts.items() if some))
    for note in found.notes:
        say(note)
    limit = limit or max(1, cores() // max(job.config.train.threads for job in jobs))
    with Display(found) as display:
        outcome = Runner(limit, display.show).run(found)
    for name, why in outcome.failed.items():
        console.print(f"[red]failed:[/] {name}: ", end="")
        console.print(why, markup=False)
    done = [job.data if job.data is not None else job.run for job in jobs if job in outcome.finished]
    if done:
        try:
            show_comparison(done)
        except ConfigError as error:  # the extra `report` is not installed: the runs are finished all the same
            say(f"no table: {error}")
    if outcome.stopped_by is not None:
        raise Interrupted(outcome.stopped_by, len(outcome.finished), len(jobs))
    if outcome.failed:
        raise RlkitError(f"{len(outcome.failed)} of {len(jobs)} runs failed; the same command tries them again")


class Display:
    """One bar for all runs and one for each that is under way."""

    def __init__(self, found: Plan) -> None:
        self._total = len(found.finished) + len(found.to_resume) + len(found.to_train)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TextColumn("{task.fields[news]}"), TimeRemainingColumn())  # fmt: skip
        self._progress = Progress(*columns, console=console, refresh_per_second=2)
        self._runs: dict[str, TaskID] = {}
        self._ended = len(found.finished)

    def __enter__(self) -> Display:
        self._progress.start()
        self._whole = self._progress.add_task("runs", total=self._total, completed=self._ended, news="")
        return self

    def __exit__(self, *details: Any) -> None:
        self._progress.stop()

    def show(self, running: Mapping[str, Job]) -> None:
        for name in [name for name in self._runs if name not in running]:
            self._progress.remove_task(self._runs.pop(name))
            self._ended += 1
            if not console.is_terminal:
                console.print(f"{self._ended} of {self._total} ended: {name}", markup=False)
        self._progress.update(self._whole, completed=self._ended)
        for name, job in running.items():
            if name not in self._runs:
                self._runs[name] = self._progress.add_task(name, total=job.config.train.steps, news="")
            row = last_row(job.run / "metrics.jsonl")
            news = f"return {row['episode/return']:.1f}" if "episode/return" in row else ""
            self._progress.update(self._runs[name], completed=row.get("env_steps", 0), news=news)


def last_row(path: Path) -> dict[str, Any]:
    """The newest whole row of a metrics file; {} where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            row: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        return row
    return {}
