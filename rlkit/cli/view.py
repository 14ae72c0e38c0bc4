"""`rlkit view`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from rlkit.cli.options import RUNS
from rlkit.errors import RunError


@click.command()
@RUNS
@click.option("--port", default=6006, show_default=True, help="0: any free port.")
def view(runs: tuple[Path, ...], port: int) -> None:
    """Start TensorBoard on RUNS (run directories or folders of them; default: runs).

    \b
    rlkit view
    rlkit view runs/cartpole-seed0 runs/cartpole-seed1 --port 7007
    """
    folders = runs or (Path("runs"),)
    for folder in folders:
        if not folder.is_dir():
            raise RunError(f"{folder} is not a directory; train something first, or name a run")
    where = (
        ["--logdir", str(folders[0])]
        if len(folders) == 1
        else ["--logdir_spec", ",".join(f"{folder}:{folder}" for folder in folders)]
    )
    os.execv(sys.executable, [sys.executable, "-P", "-m", "tensorboard.main", *where, "--port", str(port)])
