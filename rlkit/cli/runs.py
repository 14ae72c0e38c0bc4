"""`rlkit train`, `resume`, `evaluate`, `view`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rlkit.cli import main, prefix
from rlkit.cli.shared import DATA, JOBS, SET, console
from rlkit.config.load import load, parse_override
from rlkit.errors import ConfigError, RunError

if TYPE_CHECKING:
    from rlkit.runs.directory import RunDirectory
    from rlkit.training.trainer import Trainer


@contextmanager
def progress_bar(steps: int) -> Iterator[Any]:
    """A callback for the trainer that moves a progress bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[news]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        task = progress.add_task("training", total=steps, news="")

        def show(trainer: Trainer) -> None:
            recent = trainer.episodes.recent
            mean = f"return {sum(recent) / len(recent):.1f} over {len(recent)} episodes" if recent else ""
            progress.update(task, completed=min(trainer.env_steps, steps), news=mean)

        yield show


def show_finished(run: RunDirectory) -> None:
    """The final score with its protocol, and what to do next."""
    import numpy as np

    from rlkit.training.evaluation import bootstrap_interval, iqm

    result = json.loads((run.path / "result.json").read_text())
    returns = np.array(result["final"]["returns"])
    show_scores(returns, result["protocol"])
    low, high = bootstrap_interval(returns)
    early = result["env_steps"] < result["config"]["train"]["steps"]
    console.print(f"\nfinal score {iqm(returns):.4g} (interquartile mean; 95% interval {low:.4g} to {high:.4g})")
    if early:
        console.print(f"solved after {result['env_steps']:,} steps, so training ended early (evaluation.stop)")
    console.print()
    commands = {"watch it  ": f"rlkit view {run.path}", "score it  ": f"rlkit evaluate {run.path}"}
    if not early:
        commands["go on     "] = f"rlkit resume {run.path} --steps {2 * result['env_steps']}"
    for what, command in commands.items():
        console.print(f"{what} {prefix()}{command}", markup=False)
    for picture in sorted(run.path.glob("images/*.png")):
        console.print(f"look at    {picture}", markup=False)


def show_scores(returns: Any, protocol: dict[str, str]) -> None:
    import numpy as np

    from rlkit.training.evaluation import bootstrap_interval, iqm

    low, high = bootstrap_interval(returns)
    table = Table("score", "value", title=f"{len(returns)} episodes", title_justify="left")
    table.add_row("mean", f"{returns.mean():.2f}")
    table.add_row("median", f"{np.median(returns):.2f}")
    table.add_row("interquartile mean", f"{iqm(returns):.2f}  [{low:.2f}, {high:.2f}] 95% bootstrap over episodes")
    table.add_row("min / max", f"{returns.min():.2f} / {returns.max():.2f}")
    console.print(table)
    console.print("Protocol: " + "; ".join(f"{key}: {value}" for key, value in protocol.items()), markup=False)


@main.command()
@click.argument("config")
@click.option("--run", type=click.Path(path_type=Path), help="Run directory; default runs/CONFIG-seedS.")
@click.option("--seed", type=int, help="Same as --set train.seed=N.")
@click.option("--steps", type=int, help="Same as --set train.steps=N.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps; same as --set train.device=D.")
@click.option("--seeds", help="Many runs, for example 0-9 or 0,3,5-7; what is finished is skipped.")
@JOBS
@DATA
@SET
def train(
    config: str,
    run: Path | None,
    seed: int | None,
    steps: int | None,
    device: str | None,
    seeds: str | None,
    jobs: int | None,
    data: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Train CONFIG, a TOML file or the name of a packaged one.

    \b
    rlkit train cartpole
    rlkit train cartpole --set agent.learning_rate=1e-4 --seed 3
    rlkit train runs/cartpole-seed0/config.toml     repeats that run
    rlkit train cartpole --seeds 0-9                ten runs, and a table of them
    """
    from rlkit.runs import api as training

    overrides = dict(map(parse_override, settings))
    for key, value in (("seed", seed), ("steps", steps), ("device", device)):
        if value is not None:
            overrides[f"train.{key}"] = value
    if seeds is not None:
        from rlkit.cli.many import run_all
        from rlkit.runs.launcher import make_jobs, parse_seeds

        if run is not None or "train.seed" in overrides:
            raise ConfigError(
                "--seeds makes several runs, each with a directory of its own; leave --run and --seed out"
            )
        run_all(make_jobs(config, overrides, parse_seeds(seeds), Path("runs"), data), jobs)
        return
    if jobs is not None or data is not None:
        raise ConfigError("--jobs and --data go with --seeds")
    resolved = load(config, overrides)
    with progress_bar(resolved.train.steps) as show:
        finished = training.train(resolved, run=run, on_progress=show)
    show_finished(finished)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--steps", type=int, help="A new total of environment steps; default what the run was started with.")
def resume(run: Path, steps: int | None) -> None:
    """Go on with RUN from its newest checkpoint, as if nothing had happened.

    \b
    rlkit resume runs/cartpole-seed0
    rlkit resume runs/cartpole-seed0 --steps 100000    extends a finished run
    """
    from rlkit.runs import api as training
    from rlkit.runs.directory import RunDirectory

    total = steps or RunDirectory.open(run).config().train.steps
    with progress_bar(total) as show:
        finished = training.resume(run, steps, on_progress=show)
    show_finished(finished)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--episodes", type=int, help="How many; default evaluation.final_episodes of the run's config.")
@click.option("--checkpoint", default="last", show_default=True, help="last, best, or the step of a checkpoint.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the JSON goes; default RUN/evaluation.json.")
@click.option("--video", type=click.Path(path_type=Path), help="An .mp4 file of the first episode.")
@SET
def evaluate(
    run: Path,
    episodes: int | None,
    checkpoint: str,
    out: Path | None,
    video: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Score RUN's policy in fresh environments and write the scores as JSON.

    \b
    rlkit evaluate runs/cartpole-seed0
    rlkit evaluate runs/cartpole-seed0 --checkpoint best --set evaluation.epsilon=0.001
    rlkit evaluate runs/cartpole-seed0 --episodes 1 --video play.mp4
    """
    from rlkit.runs import api as training
    from rlkit.runs.checkpoint import write_text

    overrides = dict(map(parse_override, settings))
    if episodes is not None:
        overrides["evaluation.final_episodes"] = episodes
    evaluation = training.evaluate_run(run, checkpoint=checkpoint, overrides=overrides, video=video)
    show_scores(evaluation.scores.returns, evaluation.protocol)
    path = out or run / "evaluation.json"
    write_text(path, json.dumps(evaluation.to_dict()) + "\n")
    console.print(f"written to {path}" + (f" and {video}" if video else ""), markup=False)


@main.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--port", default=6006, show_default=True, help="0 takes any free port.")
def view(runs: tuple[Path, ...], port: int) -> None:
    """Start TensorBoard on RUNS (run directories or folders of them; default: runs).

    \b
    rlkit view
    rlkit view runs/cartpole-seed0 runs/cartpole-seed1 --port 7007
    """
    folders = runs or (Path("runs"),)
    for folder in folders:
        if not folder.is_dir():
            raise RunError(f"{folder} is no directory; train something first, or name a run")
    where = (
        ["--logdir", str(folders[0])]
        if len(folders) == 1
        else ["--logdir_spec", ",".join(f"{folder}:{folder}" for folder in folders)]
    )
    os.execv(sys.executable, [sys.executable, "-m", "tensorboard.main", *where, "--port", str(port)])
