"""`rlkit play`."""

from __future__ import annotations

from pathlib import Path

import click

import rlkit
from rlkit.cli.console import console
from rlkit.cli.options import SET
from rlkit.cli.trust import TRUST, ask
from rlkit.config.load import parse_override
from rlkit.errors import ConfigError


def find_run(name: str) -> Path:
    """The run directory of a path, or of a name under runs/ or pretrained/. Raises ConfigError if there is none."""
    clone = Path(rlkit.__file__).resolve().parents[1]
    for place in (Path(name), Path("runs") / name, Path("pretrained") / name, clone / "pretrained" / name):
        if (place / "config.toml").is_file():
            return place
    there = sorted({file.parent.name for root in (Path("runs"), Path("pretrained"), clone / "pretrained")
                    for file in root.glob("*/config.toml")})  # fmt: skip
    raise ConfigError(f"{name}: no such run; there are: {', '.join(there) or 'none'}")


@click.command()
@click.argument("run")
@click.option("--episodes", type=click.IntRange(1), default=3, show_default=True)
@click.option("--checkpoint", default="last", show_default=True, help="last, best, or the step of a checkpoint.")
@click.option("--rate", type=click.FloatRange(0.1, 1000), help="Steps per second; default: the environment's own.")
@click.option("--terminal", is_flag=True, help="Draw in the terminal even where a window can be opened.")
@SET
@TRUST
def play(
    run: str,
    episodes: int,
    checkpoint: str,
    rate: float | None,
    terminal: bool,
    settings: tuple[str, ...],
    trust: bool,
) -> None:
    """Show the policy of RUN at play: in a window, or in the terminal where there is no display.

    RUN is a run directory, or the name of one under runs/ or pretrained/. Escape or q closes the window, Ctrl-C ends
    the terminal. `rlkit evaluate RUN --video FILE` writes a video instead.

    \b
    rlkit play cartpole                     # the policy in pretrained/cartpole
    rlkit play minatar-breakout --terminal
    rlkit play runs/cartpole-seed0 --checkpoint best --rate 5
    """
    from rlkit.cli.screens import Closed, Terminal, Window, has_display
    from rlkit.runs import evaluate as policies

    found = find_run(run)
    in_window = has_display() and not terminal
    if not in_window and (not console.is_terminal or console.is_dumb_terminal):
        raise ConfigError(
            f"neither a display nor a terminal that can draw; rlkit evaluate {found} --video FILE.mp4 writes a video"
        )
    ask(found, trust)

    def opened(own: int) -> Window | Terminal:
        try:
            return Window(rate or own, str(found)) if in_window else Terminal(rate or own, console)
        except ImportError as error:
            raise ConfigError("a window needs pygame-ce; install it, or add --terminal") from error

    try:
        done = policies.watch(found, opened, episodes=episodes, checkpoint=checkpoint,
                         overrides=dict(map(parse_override, settings)))  # fmt: skip
    except (Closed, KeyboardInterrupt):
        return
    for number, value in enumerate(done.scores.returns, 1):
        console.print(f"episode {number}: return {value:g}, {done.scores.lengths[number - 1]:,} steps", markup=False)
