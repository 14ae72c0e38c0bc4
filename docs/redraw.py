"""Regenerates the tables and pictures of Markdown documents from result files. `make results` runs this script.

    python docs/redraw.py README.md docs agents

Two comments mark a table in a document; the first is the command that generates it. One comment marks a picture. Paths
are relative to the root of the repository and can contain wildcards. "brief:" leaves the scores only, in one table; of
several environments, each must have one group.

    <!-- rlkit compare docs/results/data/cartpole -->
    <!-- end -->
    <!-- brief: rlkit compare docs/results/data/cartpole -->
    <!-- end -->
    <!-- rlkit plot docs/results/data/cartpole --out docs/images/cartpole.png -->
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from rlkit.cli.compare import compare as compare_command
from rlkit.cli.plot import plot as plot_command
from rlkit.report.compare import Table, compare, finished, words
from rlkit.report.groups import grouped
from rlkit.report.pictures import drawn
from rlkit.report.plot import Picture
from rlkit.report.results import find, scored_by

ROOT = Path(__file__).parents[1]
TABLE = re.compile(r"(<!-- (?:brief: )?rlkit compare (.*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
BRIEF = ("group", "seeds", "solved, ended at step", "IQM [95%]", "lowest to highest")  # the columns of a brief table
PLOT = re.compile(r"<!-- rlkit plot (.*?) -->")
CODE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def expanded(paths: Iterable[Path]) -> list[Path]:
    """Expands wildcards relative to the root. Raises SystemExit if a path matches no file."""
    out: list[Path] = []
    for path in paths:
        matches = sorted(ROOT.glob(str(path)))
        if not matches:
            raise SystemExit(f"{path}: no such file")
        out += matches
    return out


def parameters(command: click.Command, text: str) -> dict[str, object]:
    """Parses the arguments of the command."""
    return command.make_context(command.name, shlex.split(text)).params


def table(text: str, *, brief: bool = False) -> str:
    """The Markdown output of `rlkit compare TEXT`; brief: only the scores, without notes."""
    options = parameters(compare_command, text)
    done, unfinished = finished(find(expanded(options["runs"])).results)  # type: ignore[arg-type]
    if unfinished:
        raise SystemExit("; ".join(unfinished))
    y: str | None = options["y"]  # type: ignore[assignment]
    runs = [scored_by(run, y) for run in done] if y else done
    groups = grouped(runs, options["by"], options["labels"])  # type: ignore[arg-type]
    tables = compare(groups, options["against"], full=bool(options["full"]))  # type: ignore[arg-type]
    if brief:
        tables = [_brief(each) for each in tables if BRIEF[1] in each.columns and "normalised" not in each.title]
        tables = [_joined(tables)] if len(tables) > 1 else tables
    return "\n\n".join(map(_printed, tables)) + "\n"


def _printed(table: Table) -> str:
    """A table with its title; its notes, the protocol among them, are folded."""
    plain = Table(table.title, table.columns, table.rows).markdown()
    notes = "\n\n".join(("<details><summary>Protocol and notes</summary>", *map(words, table.notes), "</details>"))
    return "\n\n".join(([f"**{table.title}**"] if table.title else []) + [plain] + ([notes] if table.notes else []))


def _brief(table: Table) -> Table:
    kept = [number for number, column in enumerate(table.columns) if column in BRIEF]
    rows = [tuple(row[number] for number in kept) for row in table.rows]
    return Table(table.title, tuple(table.columns[number] for number in kept), rows)


def _joined(tables: list[Table]) -> Table:
    """One table, a row for each environment; a cell is empty where an environment's table lacks the column."""
    columns = [name for name in BRIEF[1:] if any(name in each.columns for each in tables)]
    rows = [
        (each.title, *(dict(zip(each.columns, row, strict=True)).get(name, "") for name in columns))
        for each in tables
        for row in each.rows
    ]
    if len(rows) > len(tables):
        raise SystemExit(f"brief: {', '.join(each.title for each in tables)}: more than one group each")
    return Table("", ("environment", *columns), rows)


def picture(text: str) -> tuple[Picture, list[Path]]:
    """The picture of `rlkit plot TEXT`, and its output files."""
    options = parameters(plot_command, text)
    results = find(expanded(options["runs"])).results  # type: ignore[arg-type]
    names = ("x", "y", "by", "against", "labels")
    drawing = drawn(results, *(options[name] for name in names))  # type: ignore[arg-type]
    return drawing, [ROOT / str(file) for file in options["out"]]  # type: ignore[attr-defined]


def redrawn(document: str) -> str:
    """The document with regenerated tables. Code blocks are not changed."""
    return "".join(part if part.startswith("```") else TABLE.sub(_filled, part) for part in CODE.split(document))


def _filled(match: re.Match[str]) -> str:
    return f"{match[1]}\n{table(match[2], brief=match[1].startswith('<!-- brief'))}\n{match[4]}"


def plots(document: str) -> list[str]:
    """The options of each picture that the document marks outside code blocks."""
    return [options for part in CODE.split(document) if not part.startswith("```") for options in PLOT.findall(part)]


def documents(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.md")) if path.is_dir() else [path]


def main() -> None:
    for path in documents(map(Path, sys.argv[1:])):
        text = path.read_text(encoding="utf-8")
        path.write_text(redrawn(text), encoding="utf-8")
        for options in plots(text):
            drawn, files = picture(options)
            for note in drawn.save(files):
                print(f"{path}: {note}")
            print(f"{path}: {', '.join(str(file.relative_to(ROOT)) for file in files)}")


if __name__ == "__main__":
    main()
