"""`rlkit explain`."""

from __future__ import annotations

from pathlib import Path

import click

from rlkit.cli.console import console
from rlkit.cli.options import RUN, SET, pictures
from rlkit.cli.progress import counting
from rlkit.cli.trust import TRUST, ask
from rlkit.config.load import parse_override
from rlkit.errors import ConfigError

METHODS = ("gradient", "integrated", "occlusion")


@click.command()
@RUN
@click.option("--episodes", type=click.IntRange(1), default=1, show_default=True, help="Episodes to play.")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="gradient",
    show_default=True,
    help="gradient: the magnitude of the derivative; integrated: integrated gradients; occlusion: what is hidden.",
)
@click.option("--frames", type=click.IntRange(1, 12), default=4, show_default=True, help="Steps in the picture.")
@click.option("--checkpoint", default="last", show_default=True, help="last, best, or the step of a checkpoint.")
@click.option("--video", type=click.Path(path_type=Path), help="An .mp4 file with the map of every step.")
@click.option("--steps", type=click.IntRange(1), default=500, show_default=True, help="Steps in the video at most.")
@pictures("The picture; default RUN/explain.png:")
@SET
@TRUST
def explain(
    run: Path,
    episodes: int,
    method: str,
    frames: int,
    checkpoint: str,
    video: Path | None,
    steps: int,
    out: tuple[Path, ...],
    settings: tuple[str, ...],
    trust: bool,
) -> None:
    """Draw what the value of the chosen action depends on, over the frames of evaluation episodes.

    \b
    rlkit explain runs/cartpole-seed0
    rlkit explain runs/pong-seed0 --method occlusion --out pong.png --video pong.mp4
    """
    from rlkit.look import explain as looking
    from rlkit.look.extra import needed
    from rlkit.look.pictures import explained_picture, save
    from rlkit.look.playing import load_for_looking

    ask(run, trust)
    needed("captum.attr", "rlkit explain")
    if video is not None and video.suffix != ".mp4":
        raise ConfigError(f"--video {video}: videos are written as .mp4; give a name with this suffix")
    loaded = load_for_looking(run, checkpoint, dict(map(parse_override, settings)))
    with counting("attributions") as progress:
        explained = looking.explain(loaded, episodes, method, frames, progress)  # type: ignore[arg-type]
    files = out or (run / "explain.png",)
    save(explained_picture(loaded, explained), files)
    returns = ", ".join(f"{value:g}" for value in explained.returns)
    console.print(f"return of the episode{'s' if episodes > 1 else ''}: {returns}")
    console.print(f"drawn: {', '.join(map(str, files))}", markup=False)
    if video is not None:
        with counting("video") as progress:
            shown = looking.film(loaded, episodes, method, video, steps, progress)  # type: ignore[arg-type]
        console.print(f"video: {video}, {shown:,} steps", markup=False)
