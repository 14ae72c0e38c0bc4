"""`rlkit plot`."""

from __future__ import annotations

from pathlib import Path

import click

from rlkit.cli.console import console, say
from rlkit.cli.options import GROUP_BY, LABEL, RUNS, pictures
from rlkit.errors import ConfigError


@click.command()
@RUNS
@click.option(
    "--x",
    default="env_steps",
    show_default=True,
    metavar="[env_steps|frames|hours|processor_hours|KEY]",
    help="A config key draws final scores over its values.",
)
@click.option(
    "--y",
    metavar="KEY",
    help="The metric to draw; default: evaluation/return_mean, episode/return if there were no evaluations during "
    "training, and over a config key the final evaluation.",
)
@GROUP_BY
@LABEL
@click.option(
    "--against", type=click.Choice(["dopamine"]), help="Add published curves to the picture; needs --x frames."
)
@pictures("The picture:", required=True)
def plot(
    runs: tuple[Path, ...],
    x: str,
    y: str | None,
    by: tuple[str, ...],
    labels: tuple[str, ...],
    against: str | None,
    out: tuple[Path, ...],
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
        raise ConfigError("--against dopamine needs --x frames and a return: the published curves have no other axes")
    found = find(runs or (Path("runs"),))
    for line in found.problems:
        say(line)
    for line in drawn(found.results, x, y, by, against, labels).save(out):
        say(line)
    for line in sentences(legend(run.protocol for run in found.results)):
        console.print(line, markup=False)
    console.print(f"drawn: {', '.join(map(str, out))}", markup=False)
