"""Progress bars: of one run in this process, and of many runs in processes of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from rlkit.cli.console import console

if TYPE_CHECKING:
    from rlkit.runs.launcher import Job
    from rlkit.training.trainer import Trainer

TAIL = 8192  # bytes at a metrics file's end that are sure to hold a whole row


def _bars(per_second: int, *, timed: bool = True) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TextColumn("{task.fields[news]}"), *([TimeRemainingColumn()] if timed else []))  # fmt: skip
    return Progress(*columns, console=console, refresh_per_second=per_second)


@contextmanager
def progress_bar(steps: int) -> Iterator[Any]:
    """A callback for the trainer that moves a progress bar."""
    from rlkit.runs.cost import Remaining

    with _bars(per_second=4, timed=False) as progress:
        remaining = Remaining(steps)
        task = progress.add_task("training", total=steps, news="")

        def show(trainer: Trainer) -> None:
            recent = trainer.episodes.recent
            mean = f"return {sum(recent) / len(recent):.1f} over {len(recent)} episodes" if recent else ""
            left = remaining.text(trainer.env_steps, trainer.agent.updates)
            news = "  ".join(text for text in (mean, left) if text)
            progress.update(task, completed=min(trainer.env_steps, steps), news=news)

        yield show


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function (done, total) that moves a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[news]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        task = progress.add_task(what, total=None, news="")
        try:
            yield lambda done, total: progress.update(task, completed=done, total=total, news=f"{done:,}/{total:,}")
        except BaseException:
            progress.remove_task(task)  # a message of one line follows
            raise


class Display:
    """One bar for all runs or trials and one for each running run."""

    def __init__(self, what: str, total: int, ended: int) -> None:
        """what: of which there are `total`, and `ended` so far."""
        self._what, self._total, self._ended = what, total, ended
        self._progress = _bars(per_second=2)
        self._runs: dict[str, TaskID] = {}

    def __enter__(self) -> Display:
        self._progress.start()
        self._whole = self._progress.add_task(self._what, total=self._total, completed=self._ended, news="")
        return self

    def __exit__(self, *details: Any) -> None:
        self._progress.stop()

    def advance(self) -> None:
        """One more has ended."""
        self._ended += 1

    def show(self, running: Mapping[str, Job]) -> None:
        from rlkit.runs.directory import RunDirectory

        for name in [name for name in self._runs if name not in running]:
            self._progress.remove_task(self._runs.pop(name))
            if self._what == "runs":
                self.advance()
                if not console.is_terminal:
                    console.print(f"{self._ended} of {self._total} ended: {name}", markup=False)
        self._progress.update(self._whole, completed=self._ended)
        for name, job in running.items():
            if name not in self._runs:
                self._runs[name] = self._progress.add_task(name, total=job.config.train.steps, news="")
            row = last_row(RunDirectory(job.run).metrics)
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
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            return row
    return {}
