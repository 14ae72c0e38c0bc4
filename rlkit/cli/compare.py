"""`rlkit compare`."""

from __future__ import annotations

from pathlib import Path

import click

from rlkit.cli.comparison import show_comparison
from rlkit.cli.options import GROUP_BY, LABEL, RUNS, pictures
from rlkit.errors import ConfigError


@click.command()
@RUNS
@click.option("--against", type=click.Choice(["dopamine"]), help="Compare with published curves, at equal frames.")
@GROUP_BY
@LABEL
@click.option("--y", metavar="KEY", help="Score runs by the mean of this curve over the last sixth of training.")
@click.option("--full", is_flag=True, help="Also the mean and the median of scores.")
@pictures("Also draw the learning curves:")
def compare(
    runs: tuple[Path, ...],
    against: str | None,
    by: tuple[str, ...],
    labels: tuple[str, ...],
    y: str | None,
    full: bool,
    out: tuple[Path, ...],
) -> None:
    """Compare the scores of groups of seeds, with intervals and protocols.

    RUNS are run directories, result files, folders of them, or quoted patterns; the others are compared with the first
    group.

    \b
    rlkit compare runs
    rlkit compare docs/results/data/minatar-breakout --out curves.png
    rlkit compare runs --group-by agent.double
    rlkit compare runs/a runs/b --label "count bonus" --label epsilon-greedy
    rlkit compare 'machine*/runs/cartpole-*'   # copied from several machines
    rlkit compare runs/atari --against dopamine
    rlkit compare runs --y episode/return      # scores reached during training
    """
    if against and y:
        raise ConfigError("--against compares returns; leave out --y")
    show_comparison(runs or (Path("runs"),), by, against, out, y, labels=labels, full=full)
