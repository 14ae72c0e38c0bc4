"""`rlkit pack`."""

from __future__ import annotations

from pathlib import Path

import click

from rlkit.cli.console import console
from rlkit.cli.options import RUN
from rlkit.cli.trust import TRUST, ask


@click.command()
@RUN
@click.option("--out", type=click.Path(path_type=Path), help="The archive; default: the run's name with .zip.")
@click.option("--checkpoint", default="last", show_default=True, help="last, best, or the step of a checkpoint.")
@TRUST
def pack(run: Path, out: Path | None, checkpoint: str, trust: bool) -> None:
    """Pack RUN's policy into one small archive, to hand it over.

    It holds the config, the policy and the result, but neither replay nor optimizer: it can be evaluated, not resumed.

    \b
    rlkit pack runs/cartpole-seed0                     # writes cartpole-seed0.zip
    unzip cartpole-seed0.zip; rlkit evaluate cartpole-seed0
    """
    from rlkit.runs.pack import pack as packed

    ask(run, trust)
    done = packed(run, out or Path(f"{run.resolve().name}.zip"), checkpoint)
    console.print(f"written to {done.path} ({done.size / 2**20:.2f} MiB): the policy of step {done.env_steps:,}")
    if done.modules:
        console.print(f"whoever evaluates it needs these modules too: {', '.join(done.modules)}", markup=False)
