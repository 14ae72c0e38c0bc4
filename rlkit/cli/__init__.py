"""The command line. Each command is a file of this folder and a line in COMMANDS."""

from __future__ import annotations

import click

from rlkit import __version__
from rlkit.cli.attack import attack
from rlkit.cli.card import card
from rlkit.cli.check import check
from rlkit.cli.compare import compare
from rlkit.cli.describe import describe
from rlkit.cli.episodes import episodes
from rlkit.cli.evaluate import evaluate
from rlkit.cli.explain import explain
from rlkit.cli.export import export
from rlkit.cli.group import Group
from rlkit.cli.list import list_
from rlkit.cli.pack import pack
from rlkit.cli.play import play
from rlkit.cli.plot import plot
from rlkit.cli.probe import probe
from rlkit.cli.report import report
from rlkit.cli.resume import resume
from rlkit.cli.sweep import sweep
from rlkit.cli.train import train
from rlkit.cli.tune import tune
from rlkit.cli.view import view
from rlkit.plugins import add_working_folder

LOOKING = (explain, attack, probe, episodes)  # into a trained policy
COMMANDS = (  # as --help lists them
    train, sweep, tune, resume, evaluate, play, *LOOKING, export, pack, card, compare, plot, report, view, list_,
    check,
    describe,
)  # fmt: skip


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rlkit")
def main() -> None:
    """Train, resume, evaluate, compare and watch reinforcement-learning agents.

    \b
    rlkit train quickstart                 train a packaged config
    rlkit resume runs/cartpole-seed0       resume a stopped run
    rlkit evaluate runs/cartpole-seed0     evaluate its policy
    rlkit train cartpole --seeds 0-9       train ten runs and compare their scores
    rlkit plot runs --out curves.png       plot their learning curves, with intervals
    rlkit view                             show all runs in TensorBoard
    """
    add_working_folder()


for command in COMMANDS:
    main.add_command(command)
