"""`rlkit evaluate`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from rlkit.cli.console import console
from rlkit.cli.options import RUN, SET
from rlkit.cli.scores import show_curve, show_scores
from rlkit.cli.trust import TRUST, ask
from rlkit.config.load import parse_override
from rlkit.errors import ConfigError


@click.command()
@RUN
@click.option("--episodes", type=int, help="Number of episodes; default evaluation.final_episodes of the run's config.")
@click.option("--checkpoint", default="last", show_default=True, help="last, best, the step of a checkpoint, or all.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the JSON; default RUN/evaluation.json.")
@click.option("--video", type=click.Path(path_type=Path), help="An .mp4 file of the first episode.")
@click.option("--video-episodes", type=click.IntRange(1), default=1, help="Episodes in the video.", show_default=True)
@SET
@TRUST
def evaluate(
    run: Path,
    episodes: int | None,
    checkpoint: str,
    out: Path | None,
    video: Path | None,
    video_episodes: int,
    settings: tuple[str, ...],
    trust: bool,
) -> None:
    """Evaluate RUN's policy in fresh environments and write the scores as JSON.

    \b
    rlkit evaluate runs/cartpole-seed0
    rlkit evaluate runs/cartpole-seed0 --checkpoint best --set evaluation.epsilon=0.001
    rlkit evaluate runs/cartpole-seed0 --episodes 1 --video play.mp4
    rlkit evaluate runs/cartpole-seed0 --checkpoint all    # a curve over the kept checkpoints
    """
    from rlkit.files import write_text
    from rlkit.runs import evaluate as policies
    from rlkit.runs.publish import publish_video

    ask(run, trust)
    path = out or run / "evaluation.json"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written; name another file with --out")
    overrides = dict(map(parse_override, settings))
    if episodes is not None:
        overrides["evaluation.final_episodes"] = episodes
    if checkpoint == "all":
        if video:
            raise ConfigError("--video shows one policy; give --checkpoint last, best or a step")
        found = policies.evaluate_checkpoints(run, overrides=overrides)
        show_curve(found)
        write_text(path, json.dumps({"curve": [each.to_dict() for each in found]}) + "\n")
        console.print(f"written to {path}", markup=False)
        return
    evaluation = policies.evaluate_run(
        run, checkpoint=checkpoint, overrides=overrides, video=video, video_episodes=video_episodes
    )
    scores = evaluation.scores
    show_scores(scores.returns, evaluation.protocol, scores.distinct, scores.successes)
    write_text(path, json.dumps(evaluation.to_dict()) + "\n")
    console.print(f"written to {path}" + (f" and {video}" if video else ""), markup=False)
    if video and (names := publish_video(run, video, evaluation.protocol, evaluation.env_steps)):
        console.print(f"the video was added to the run in {', '.join(names)}", markup=False)
