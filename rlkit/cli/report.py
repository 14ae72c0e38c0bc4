"""`rlkit report`."""

from __future__ import annotations

from pathlib import Path

import click

from rlkit.cli.console import console, say
from rlkit.cli.options import GROUP_BY, RUNS
from rlkit.errors import ConfigError


@click.command()
@RUNS
@click.option("--html", "file", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The page.")
@GROUP_BY
def report(runs: tuple[Path, ...], file: Path, by: tuple[str, ...]) -> None:
    """Write one HTML page about RUNS that needs no other file: to read in a browser, or to send to somebody.

    It has the scores with their intervals and protocols, interactive curves, the pictures of each run (RUN/images), its
    videos (RUN/*.mp4), the configs, and machine and versions. RUNS are as for compare; unfinished ones have no scores.

    \b
    rlkit report runs --html report.html
    rlkit evaluate runs/cartpole-seed0 --video runs/cartpole-seed0/replay.mp4
    rlkit report runs/cartpole-seed0 --html cartpole.html      # with the video
    """
    from rlkit.files import write_text
    from rlkit.report.page import html
    from rlkit.report.results import find

    if file.suffix not in (".html", ".htm"):
        raise ConfigError(f"{file}: reports are written as .html")
    found = find(runs or (Path("runs"),))
    for line in found.problems:
        say(line)
    page = html(found, by)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, page)
    console.print(f"written to {file} ({len(page) / 2**20:.1f} MiB)", markup=False)
