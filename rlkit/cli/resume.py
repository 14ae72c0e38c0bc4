"""`rlkit resume`."""

from __future__ import annotations

from pathlib import Path

import click

from rlkit.cli.options import RUN
from rlkit.cli.progress import progress_bar
from rlkit.cli.scores import show_finished
from rlkit.cli.trust import TRUST, ask


@click.command()
@RUN
@click.option("--steps", type=int, help="A new total of environment steps; default: the total in the run's config.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps; default: that of the run.")
@TRUST
def resume(run: Path, steps: int | None, device: str | None, trust: bool) -> None:
    """Resume RUN from its newest checkpoint, exactly as if it had not stopped.

    \b
    rlkit resume runs/cartpole-seed0
    rlkit resume runs/cartpole-seed0 --steps 100000    extends a finished run
    rlkit resume runs/pong-seed0 --device cpu          a run that was made on a GPU
    """
    from rlkit.runs import api
    from rlkit.runs.directory import RunDirectory

    ask(run, trust)
    total = steps or RunDirectory.open(run).config().train.steps
    with progress_bar(total) as show:
        finished = api.resume(run, steps, device=device, on_progress=show)
    show_finished(finished)
