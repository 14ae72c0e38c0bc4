"""`rlkit view`."""

from __future__ import annotations

import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

import click

from rlkit.cli.console import console
from rlkit.cli.options import RUNS
from rlkit.errors import RunError

EVERY = 5.0  # seconds between two looks for new runs
PAGE = "#custom_scalars"  # of TensorBoard: the charts in the order of rlkit.metrics.layout


@click.command()
@RUNS
@click.option("--port", default=6006, show_default=True, help="0: any free port.")
def view(runs: tuple[Path, ...], port: int) -> None:
    """Start TensorBoard on RUNS (run directories or folders of them; default: runs), and print its address.

    The address opens the charts in their order. The tab HParams has the settings in which the runs differ, and their
    final scores. Each run is a line: TensorBoard draws no intervals over seeds; `rlkit report` does.

    \b
    rlkit view
    rlkit view runs/cartpole-seed0 runs/cartpole-seed1 --port 7007
    """
    from rlkit.report.board import Board

    folders = runs or (Path("runs"),)
    for folder in folders:
        if not folder.is_dir():
            raise RunError(f"{folder} is not a directory; train something first, or name a run")
    with tempfile.TemporaryDirectory(prefix="rlkit-view-") as links:
        board = Board(folders, Path(links))
        board.update()
        address, stopped = _start(links, port), threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        console.print(f"{len(board.names)} runs: {address}{PAGE} (Ctrl-C ends it)", markup=False)
        while not stopped.wait(EVERY):
            board.update()


def _start(folder: str, port: int) -> str:
    """Serves a log folder in a thread. Returns the address. Raises RunError if the port is taken."""
    from tensorboard import program

    server: Any = program.TensorBoard()
    server.configure(argv=[None, "--logdir", folder, "--port", str(port)])
    try:
        return str(server.launch())
    except program.TensorBoardServerException as error:
        raise RunError(f"TensorBoard does not start: {error.msg}") from error
