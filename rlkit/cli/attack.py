"""`rlkit attack`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click
from rich.table import Table

from rlkit.cli.console import console
from rlkit.cli.options import RUN, SET, pictures, require_writable
from rlkit.cli.progress import counting
from rlkit.cli.trust import TRUST, ask
from rlkit.config.load import parse_override


def _sizes(context: click.Context, option: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """ "0,0.5,1" as numbers."""
    if text is None:
        return None
    try:
        sizes = tuple(float(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or not all(math.isfinite(size) and size >= 0 for size in sizes):
        raise click.BadParameter(f"{text!r} is no list of numbers >= 0, such as 0,0.5,1")
    return tuple(sorted(set(sizes)))


@click.command()
@RUN
@click.option(
    "--epsilon",
    callback=_sizes,
    metavar="E,E,...",
    help="Largest changes of an entry: of pixels in 1/255, default 0,0.25,0.5,1,2; of other observations in their own "
    "units, default 0,0.01,0.02,0.05,0.1.",
)
@click.option("--episodes", type=click.IntRange(1, 64), default=5, show_default=True, help="Episodes, each of a seed.")
@click.option(
    "--steps",
    type=click.IntRange(0),
    help="Steps of an episode that count; 0: all. Default: 500, of pictures larger than 25 pixels 150.",
)
@click.option("--checkpoint", default="last", show_default=True, help="last, best, or the step of a checkpoint.")
@click.option("--json", "data", type=click.Path(path_type=Path), help="File for the numbers; default RUN/attack.json.")
@pictures("The picture; default RUN/attack.png:")
@SET
@TRUST
def attack(
    run: Path,
    epsilon: tuple[float, ...] | None,
    episodes: int,
    steps: int | None,
    checkpoint: str,
    data: Path | None,
    out: tuple[Path, ...],
    settings: tuple[str, ...],
    trust: bool,
) -> None:
    """Measure the return of RUN's policy while its observations are changed a little, against its choice or at random.

    \b
    rlkit attack runs/cartpole-seed0 --epsilon 0,0.01,0.1
    rlkit attack runs/pong-seed0 --epsilon 0,0.5,1 --steps 0
    """
    from rlkit.files import write_text
    from rlkit.look.extra import needed
    from rlkit.look.pictures import save
    from rlkit.look.playing import load_for_looking
    from rlkit.look.robustness import (
        default_sizes,
        default_steps,
        robustness,
        robustness_picture,
        sentence,
        table_of,
    )

    ask(run, trust)
    needed("captum.robust", "rlkit attack")
    files, data = out or (run / "attack.png",), data or run / "attack.json"
    require_writable(*files, data)
    loaded = load_for_looking(run, checkpoint, dict(map(parse_override, settings)))
    sizes = default_sizes(loaded) if epsilon is None else epsilon
    steps = default_steps(loaded) if steps is None else steps
    with counting("attacks") as progress:
        found = robustness(loaded, sizes, episodes, steps or None, progress)
    save(robustness_picture(loaded, found), files)
    limit = f", first {steps:,} steps" if steps else ""
    table = Table(title=f"mean return of {episodes} episodes{limit}, by the largest change in {found.unit}")
    for name in ("", *(f"{size:g}" for size in found.sizes)):
        table.add_column(name, justify="right" if name else "left")
    for row in table_of(found):
        table.add_row(*row)
    console.print(table)
    console.print(sentence(found))
    write_text(data, json.dumps({"run": str(run), "env_steps": loaded.env_steps, **found.to_dict()}) + "\n")
    console.print(f"written to {data} and {', '.join(map(str, files))}", markup=False)
