"""`rlkit probe`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from string import ascii_uppercase

import click
from rich.table import Table

from rlkit.cli.console import console
from rlkit.cli.options import RUN, SET, pictures, require_writable
from rlkit.cli.progress import counting
from rlkit.cli.trust import TRUST, ask
from rlkit.config.load import parse_override
from rlkit.errors import ConfigError


@click.command()
@RUN
@click.option("--label", "names", multiple=True, metavar="NAME", help="A label to read; default: the first six.")
@click.option("--episodes", type=click.IntRange(3), default=24, show_default=True, help="A third of them is held out.")
@click.option("--samples", type=click.IntRange(50), default=900, show_default=True, help="Steps of them that are used.")
@click.option(
    "--epsilon", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of random actions in them."
)
@click.option(
    "--checkpoints", type=click.IntRange(1), default=4, show_default=True, help="Policies of the run at most."
)
@click.option("--json", "data", type=click.Path(path_type=Path), help="File for the numbers; default RUN/probe.json.")
@pictures("The picture; default RUN/probe.png:")
@SET
@TRUST
def probe(
    run: Path,
    names: tuple[str, ...],
    episodes: int,
    samples: int,
    epsilon: float,
    checkpoints: int,
    data: Path | None,
    out: tuple[Path, ...],
    settings: tuple[str, ...],
    trust: bool,
) -> None:
    """Measure what a linear classifier reads from each layer of RUN's network: positions, doors, bytes of the memory.

    \b
    rlkit probe runs/doorkey-seed0
    rlkit probe runs/pong-seed0 --label ball_x --label ball_y
    """
    from rlkit.files import write_text
    from rlkit.look import probe as probing
    from rlkit.look.extra import needed
    from rlkit.look.pictures import save
    from rlkit.look.playing import load_for_looking
    from rlkit.look.probe_picture import probe_picture
    from rlkit.look.samples import collect

    ask(run, trust)
    needed("sklearn.linear_model", "rlkit probe")
    files, data = out or (run / "probe.png",), data or run / "probe.json"
    require_writable(*files, data)
    overrides = dict(map(parse_override, settings))
    trained = [load_for_looking(run, which, overrides) for which in probing.kept_policies(run, checkpoints)]
    policies = [probing.untrained(trained[-1]), *trained]
    collected = collect(trained[-1], episodes, epsilon, samples, [each.policy for each in policies[:-1]])
    unknown = [name for name in names if name not in collected.labels]
    if unknown:
        raise ConfigError(f"--label {unknown[0]}: not known; there are: {', '.join(collected.labels)}")
    with counting("probes") as progress:
        found = probing.probe(policies, collected, names or probing.varying(collected)[:6], progress)
    if not found:
        raise ConfigError("no label varies in these episodes; more --episodes or a larger --epsilon may help")
    where = f"{len(collected.episode):,} steps of {episodes} episodes, a third of them held out"
    show(*probing.table_of(found, trained[-1].env_steps), where)
    save(probe_picture(trained[-1], found), files)
    write_text(
        data, json.dumps({"run": str(run), "episodes": episodes, "probes": [asdict(each) for each in found]}) + "\n"
    )
    console.print(f"written to {data} and {', '.join(map(str, files))}", markup=False)


def show(headings: Sequence[str], rows: Sequence[Sequence[str]], where: str) -> None:
    """The table of probes; layers have letters as headings, which are explained below."""
    label, chance, *layers = headings
    table = Table(title=f"accuracy of linear probes by layer, trained (untrained): {where}", pad_edge=False)
    table.add_column(label, no_wrap=True)
    for heading in (chance, *ascii_uppercase[: len(layers)]):
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for letter, layer in zip(ascii_uppercase, layers, strict=False):
        console.print(f"{letter}: {layer}", markup=False)
