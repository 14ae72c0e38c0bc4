"""The tables of a comparison, as `rlkit compare` and many runs print them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich.box
import rich.table
from rich.console import Console
from rich.markup import escape

from rlkit.cli.console import console, say
from rlkit.errors import ConfigError

if TYPE_CHECKING:
    from rlkit.report.compare import Table

PIPED = 160  # columns of a table that goes into a file or another program


def show(table: Table) -> None:
    drawn = rich.table.Table(title=escape(table.title), title_justify="left", box=rich.box.SIMPLE_HEAD)
    for column in table.columns:
        drawn.add_column(escape(column), overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    if table.rows:
        (console if console.is_terminal else Console(width=PIPED)).print(drawn)
    for note in table.notes:
        console.print(note, markup=False)
    console.print()


def show_comparison(
    paths: Sequence[Path],
    by: Sequence[str] = (),
    against: str | None = None,
    out: Sequence[Path] = (),
    y: str | None = None,
    *,
    labels: Sequence[str] = (),
    full: bool = False,
) -> None:
    """Prints the tables of all finished runs, and draws the curves. Raises ConfigError where none is finished."""
    from rlkit.report.compare import compare as tables
    from rlkit.report.compare import finished
    from rlkit.report.groups import grouped
    from rlkit.report.results import find, scored_by

    found = find(paths)
    done, unfinished = finished(found.results)
    for line in [*found.problems, *unfinished]:
        say(line)
    if not done:
        raise ConfigError("none of these runs is finished; 'rlkit plot' draws their curves so far")
    groups = grouped([scored_by(run, y) for run in done] if y else done, by, labels)
    for table in tables(groups, against, full=full):
        show(table)
    if out:
        from rlkit.report.plot import draw

        curve = y or "evaluation/return_mean"
        for line in draw(groups, "frames" if against else "env_steps", curve, against=against).save(out):
            say(line)
