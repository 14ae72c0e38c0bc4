"""`rlkit compare` and `rlkit plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import rich.box
import rich.table
from rich.console import Console
from rich.markup import escape

from rlkit.cli import main
from rlkit.cli.shared import console
from rlkit.errors import ConfigError

if TYPE_CHECKING:
    from rlkit.report.compare import Table

RUNS = click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
GROUP_BY = click.option(
    "--group-by", "by", multiple=True, metavar="KEY",
    help="Put runs with the same value of this config key together; default: all that differ in nothing but the seed.",
)  # fmt: skip
PICTURES = (".png", ".svg")
PIPED = 160  # columns of a table that goes into a file or another program


def only_pictures(context: click.Context, option: click.Parameter, files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Raises ConfigError before anything is read or drawn."""
    for file in files:
        if file.suffix not in PICTURES:
            raise ConfigError(f"{file}: pictures are written as {' or '.join(PICTURES)}")
    return files


def say(line: str) -> None:
    """A line about something that does not end the command."""
    console.print("[yellow]Note:[/] ", end="")
    console.print(line, markup=False)


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
) -> None:
    """Prints the tables of all that is finished, and draws the curves. Raises ConfigError where nothing is."""
    from rlkit.report.compare import compare as tables
    from rlkit.report.compare import finished
    from rlkit.report.groups import grouped
    from rlkit.report.results import find, scored_by

    found = find(paths)
    done, unfinished = finished(found.results)
    for line in [*found.problems, *unfinished]:
        say(line)
    if not done:
        raise ConfigError("none of these runs is finished; 'rlkit plot' draws how far they are")
    groups = grouped([scored_by(run, y) for run in done] if y else done, by)
    for table in tables(groups, against):
        show(table)
    if out:
        from rlkit.report.plot import draw

        curve = y or "evaluation/return_mean"
        for line in draw(groups, "frames" if against else "env_steps", curve, against=against).save(out):
            say(line)


@main.command()
@RUNS
@click.option("--against", type=click.Choice(["dopamine"]), help="Published curves beside them, at equal frames.")
@GROUP_BY
@click.option(
    "--y", metavar="KEY", help="Score runs by the mean of this curve over the last sixth of training instead."
)
@click.option(
    "--out",
    help="Also draw the learning curves, as FILE.png or FILE.svg; may be given twice.",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    callback=only_pictures,
)
def compare(
    runs: tuple[Path, ...], against: str | None, by: tuple[str, ...], y: str | None, out: tuple[Path, ...]
) -> None:
    """Scores of groups of seeds side by side, with intervals and protocols.

    RUNS are run directories, result files, or folders of them; the first group is the one to compare with.

    \b
    rlkit compare runs
    rlkit compare docs/results/data/minatar-breakout --out curves.png
    rlkit compare runs --group-by agent.double
    rlkit compare runs/atari --against dopamine
    rlkit compare runs --y episode/return      # what was reached while training
    """
    if against and y:
        raise ConfigError("--against compares returns; leave out --y")
    show_comparison(runs or (Path("runs"),), by, against, out, y)


@main.command()
@RUNS
@click.option(
    "--x",
    default="env_steps",
    show_default=True,
    metavar="[env_steps|frames|hours|KEY]",
    help="A config key draws final scores over its values.",
)
@click.option(
    "--y",
    metavar="KEY",
    help="What was logged; default: evaluation/return_mean, and over a config key the final evaluation.",
)
@GROUP_BY
@click.option(
    "--against", type=click.Choice(["dopamine"]), help="Published curves in the same picture, with --x frames."
)
@click.option(
    "--out",
    required=True,
    help="FILE.png or FILE.svg; may be given twice.",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    callback=only_pictures,
)
def plot(
    runs: tuple[Path, ...], x: str, y: str | None, by: tuple[str, ...], against: str | None, out: tuple[Path, ...]
) -> None:
    """Draw curves of groups of seeds: the interquartile mean, its 95% interval shaded.

    \b
    rlkit plot runs --out curves.png
    rlkit plot runs --y episode/return --x hours --out curves.svg
    rlkit plot runs --y loss/td --group-by agent.learning_rate --out loss.png
    rlkit plot runs --y 'goal_share/*' --out goals.png
    rlkit plot runs --x agent.learning_rate --out sensitivity.png
    """
    from rlkit.report.pictures import drawn
    from rlkit.report.protocols import legend, sentences
    from rlkit.report.results import find

    if against and (x != "frames" or (y and "return" not in y)):
        raise ConfigError("--against dopamine goes with --x frames and a return: so its curves are published")
    found = find(runs or (Path("runs"),))
    for line in found.problems:
        say(line)
    for line in drawn(found.results, x, y, by, against).save(out):
        say(line)
    for line in sentences(legend(run.protocol for run in found.results)):
        console.print(line, markup=False)
    console.print(f"drawn: {', '.join(map(str, out))}", markup=False)
