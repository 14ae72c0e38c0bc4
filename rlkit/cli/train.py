"""`rlkit train`."""

from __future__ import annotations

from pathlib import Path

import click

from rlkit.cli.batch import run_all
from rlkit.cli.console import say
from rlkit.cli.options import CONFIG, DATA, JOBS, MEMORY, ON, SET
from rlkit.cli.progress import progress_bar
from rlkit.cli.scores import show_finished
from rlkit.config.load import load, parse_override
from rlkit.config.tables import Config
from rlkit.errors import ConfigError

LONG = 200_000  # steps from which on the cost of a run is said before it starts
MEASURED = 1.0  # seconds of learning for it


def _cost(config: Config) -> str:
    """How long a run takes on this machine, and the memory of its replay."""
    from rlkit.runs.assemble import describe
    from rlkit.runs.cost import learning_speed
    from rlkit.runs.durations import DAY, duration

    speed = learning_speed(config, MEASURED)
    seconds = None if speed is None else config.train.steps / speed
    took = "its time is not known" if seconds is None else f"about {duration(seconds)} on this machine"
    replay = describe(config).get("replay")
    way_out = "; it can be stopped with Ctrl-C and resumed at any time" if seconds and seconds > DAY else ""
    return f"{config.train.steps:,} steps: {took}" + (f"; replay: {replay}" if replay else "") + way_out


@click.command()
@CONFIG
@click.option("--run", type=click.Path(path_type=Path), help="Run directory; default runs/CONFIG-seedS.")
@click.option(
    "--from",
    "other",
    type=click.Path(path_type=Path),
    help="Begin with the policy of this run; same as --set train.warm_start.run=RUN.",
)
@click.option("--seed", type=int, help="Same as --set train.seed=N.")
@click.option("--steps", type=int, help="Same as --set train.steps=N.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps; same as --set train.device=D.")
@click.option("--seeds", help="Train one run per seed, for example 0-9 or 0,3,5-7; finished runs are skipped.")
@JOBS
@DATA
@ON
@MEMORY
@SET
def train(
    config: str,
    run: Path | None,
    other: Path | None,
    seed: int | None,
    steps: int | None,
    device: str | None,
    seeds: str | None,
    jobs: int | None,
    data: Path | None,
    on: str | None,
    memory: float,
    settings: tuple[str, ...],
) -> None:
    """Train CONFIG, a TOML file or the name of a packaged one.

    \b
    rlkit train cartpole
    rlkit train cartpole --set agent.learning_rate=1e-4 --seed 3
    rlkit train runs/cartpole-seed0/config.toml     repeats that run
    rlkit train cartpole --from runs/cartpole-seed0 --seed 1   begins with its policy
    rlkit train cartpole --seeds 0-9                ten runs, and a table of them
    """
    overrides = dict(map(parse_override, settings))
    for key, value in (("seed", seed), ("steps", steps), ("device", device)):
        if value is not None:
            overrides[f"train.{key}"] = value
    if other is not None:
        overrides["train.warm_start.run"] = str(other)
    if seeds is not None:
        from rlkit.runs.launcher import make_jobs, parse_seeds

        if run is not None or "train.seed" in overrides:
            raise ConfigError("--seeds makes several runs, each with its own directory; leave out --run and --seed")
        run_all(make_jobs(config, overrides, parse_seeds(seeds), Path("runs"), data), jobs, on, memory)
        return
    if jobs is not None or data is not None or on is not None:
        raise ConfigError("--jobs, --data and --on need --seeds")
    from rlkit.runs import api
    from rlkit.runs.directory import free_name
    from rlkit.runs.warm_start import pinned

    resolved = pinned(load(config, overrides))
    if (warm := resolved.train.warm_start) is not None:
        say(f"begins with the {warm.checkpoint} policy of {warm.run}: {warm.experiment} at step {warm.env_steps:,}")
    if run is None and (taken := api.default_run(resolved)).exists():
        say(f"{taken} exists ('rlkit resume {taken}' continues it); this run is written to {free_name(taken)}")
    if resolved.train.steps >= LONG:
        say(_cost(resolved))
    with progress_bar(resolved.train.steps) as show:
        finished = api.train(resolved, run=run, on_progress=show)
    show_finished(finished)
