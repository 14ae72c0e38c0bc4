"""`rlkit explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlkit.cli.console import console
from rlkit.cli.options import RUN, SET, pictures, require_writable
from rlkit.cli.progress import counting
from rlkit.cli.trust import TRUST, ask
from rlkit.config.load import parse_override
from rlkit.errors import ConfigError

if TYPE_CHECKING:
    from rlkit.runs.policy import LoadedPolicy

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
@click.option("--counts", is_flag=True, help="Draw instead where training has been, by the counts of its bonus.")
@click.option("--maximise", is_flag=True, help="Draw instead observations that maximise the score of each action.")
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
    counts: bool,
    maximise: bool,
    out: tuple[Path, ...],
    settings: tuple[str, ...],
    trust: bool,
) -> None:
    """Draw what the value of the chosen action depends on, over the frames of evaluation episodes.

    \b
    rlkit explain runs/cartpole-seed0
    rlkit explain runs/cartpole-seed0 --maximise
    rlkit explain runs/deep-sea-seed0 --counts
    rlkit explain runs/pong-seed0 --method occlusion --out pong.png --video pong.mp4
    """
    from rlkit.look import explain as looking
    from rlkit.look.extra import needed
    from rlkit.look.pictures import explained_picture, save
    from rlkit.look.playing import load_for_looking

    ask(run, trust)
    overrides, files = dict(map(parse_override, settings)), out or (run / "explain.png",)
    if counts and maximise:
        raise ConfigError("--counts and --maximise draw different pictures; give one of them")
    require_writable(*files, video)
    if counts:
        _counts(run, overrides, files)
        return
    needed("captum.attr", "rlkit explain")
    if video is not None and video.suffix != ".mp4":
        raise ConfigError(f"--video {video}: videos are written as .mp4; give a name with this suffix")
    loaded = load_for_looking(run, checkpoint, overrides)
    if maximise:
        _maximise(loaded, files)
        return
    with counting("attributions") as progress:
        explained = looking.explain(loaded, episodes, method, frames, progress)  # type: ignore[arg-type]
    save(explained_picture(loaded, explained), files)
    returns = ", ".join(f"{value:g}" for value in explained.returns)
    console.print(f"return of the episode{'s' if episodes > 1 else ''}: {returns}")
    console.print(f"drawn: {', '.join(map(str, files))}", markup=False)
    if video is not None:
        with counting("video") as progress:
            shown = looking.film(loaded, episodes, method, video, steps, progress)  # type: ignore[arg-type]
        console.print(f"video: {video}, {shown:,} steps", markup=False)


def _counts(run: Path, overrides: dict[str, Any], files: tuple[Path, ...]) -> None:
    from rlkit.look.counts import been, counts_picture
    from rlkit.look.pictures import save
    from rlkit.runs.directory import RunDirectory

    opened = RunDirectory.open(run)
    config = opened.config(overrides)
    with counting("steps played again") as progress:
        found = been(opened, config, progress)
    save(counts_picture(opened, config, found), files)
    known = [code.count for code in found.codes]
    console.print(f"{len(known):,} codes were met; visits of one: {min(known):,} to {max(known):,}")
    console.print(f"drawn: {', '.join(map(str, files))}", markup=False)


def _maximise(loaded: LoadedPolicy, files: tuple[Path, ...]) -> None:
    from rlkit.look.maximise import maximising_picture
    from rlkit.look.pictures import save

    with counting("actions") as progress:
        figure = maximising_picture(loaded, progress)
    save(figure, files)
    console.print(f"drawn: {', '.join(map(str, files))}", markup=False)
