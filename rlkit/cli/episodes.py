"""`rlkit episodes`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from rlkit.cli.console import console, say
from rlkit.cli.options import RUN, require_writable
from rlkit.cli.progress import counting
from rlkit.cli.trust import TRUST, ask
from rlkit.errors import ConfigError

if TYPE_CHECKING:
    from rlkit.look.episodes import Episode


@click.command()
@RUN
@click.option("--last", type=click.IntRange(0), default=20, show_default=True, help="Episodes to list, the newest.")
@click.option("--json", "data", type=click.Path(path_type=Path), help="File for all episodes.")
@click.option("--play", metavar="[best|last|N]", help="The episode to play again; needs --video.")
@click.option("--video", type=click.Path(path_type=Path), help="An .mp4 file of it, at full resolution.")
@TRUST
def episodes(run: Path, last: int, data: Path | None, play: str | None, video: Path | None, trust: bool) -> None:
    """List the training episodes of RUN, played again from its action log, and show one of them.

    \b
    rlkit episodes runs/cartpole-seed0
    rlkit episodes runs/cartpole-seed0 --play best --video best.mp4
    """
    from rlkit.files import write_text
    from rlkit.look.episodes import film_episode, list_episodes
    from rlkit.runs.directory import RunDirectory

    if (play is None) != (video is None):
        raise ConfigError("--play and --video belong together: --play best --video best.mp4")
    ask(run, trust)
    require_writable(data, video)
    opened = RunDirectory.open(run)
    config = opened.config()
    with counting("steps played again") as progress:
        found = list_episodes(opened, config, progress)
    show(found.episodes, last)
    console.print(found.summary())
    if not found.complete:
        say("parts of the action log were removed (train.action_log_size); the episodes in them are not listed")
    elif found.differing:
        rows = found.agreeing + found.differing
        say(f"{found.differing} of {rows} mean returns in metrics.jsonl differ from those of the episodes played again")
    else:
        console.print(f"the mean returns of all {found.agreeing} rows of metrics.jsonl are those of these episodes")
    if data is not None:
        write_text(data, json.dumps(found.to_dict()) + "\n")
        console.print(f"written to {data}", markup=False)
    if play is not None and video is not None:
        number, chosen = found.chosen(play)
        with counting("video") as progress:
            film_episode(opened, config, chosen, video, progress)
        console.print(f"episode {number:,}, return {chosen.total:g}, {chosen.length:,} steps: {video}", markup=False)


def show(episodes: Sequence[Episode], last: int) -> None:
    """A table of the newest episodes."""
    first = max(0, len(episodes) - last)
    table = Table(title=f"the last {len(episodes) - first} of {len(episodes):,} training episodes", pad_edge=False)
    for name in ("number", "ended at", "return", "length", "intrinsic", "codes", "env", "seed"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, each in enumerate(episodes[first:], first):
        intrinsic = "-" if each.intrinsic is None else f"{each.intrinsic:.3g}"
        codes = "-" if each.codes is None else f"{each.codes:,}"
        cells = (f"{number:,}", f"{each.env_steps:,}", f"{each.total:g}", f"{each.length:,}", intrinsic, codes)
        table.add_row(*cells, str(each.env), str(each.seed))
    console.print(table)
