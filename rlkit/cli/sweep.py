"""`rlkit sweep`."""

from __future__ import annotations

from pathlib import Path

import click

from rlkit.cli.batch import run_all
from rlkit.cli.options import DATA, JOBS, MEMORY, ON
from rlkit.config.keys import renamed
from rlkit.errors import ConfigError


@click.command()
@click.argument("sweep_file", metavar="SWEEP.toml", type=click.Path(path_type=Path))
@JOBS
@DATA
@ON
@MEMORY
def sweep(sweep_file: Path, jobs: int | None, data: Path | None, on: str | None, memory: float) -> None:
    """Run all settings and seeds that SWEEP.toml names; finished runs are skipped.

    \b
    config = "minatar/breakout"            # or a list of configs
    name = "rates"                         # of its runs and results; default: the config's name and what is set
    seeds = "0-4"
    [set]                                  # for all runs
    train.steps = 200_000
    [grid]                                 # every combination
    agent.learning_rate = [1e-4, 3e-4]
    agent.double = [true, false]

    \b
    [random]                               # instead of [grid]: draws from a stated seed
    draws = 10
    seed = 0
    [random.keys]
    agent.learning_rate = { low = 1e-5, high = 1e-2, log = true }
    agent.batch_size = [32, 64]

    \b
    rlkit sweep sweep.toml
    rlkit sweep sweep.toml --jobs 2 --data results
    """
    from rlkit.runs.launcher import make_jobs, parse_seeds
    from rlkit.runs.sweep import load_sweep

    found = load_sweep(sweep_file)
    if found.search is not None:
        raise ConfigError(f"{sweep_file} has the table [search]: 'rlkit tune {sweep_file}' runs it")
    seeds = parse_seeds(str(found.seeds))
    several = len(found.configs()) > 1  # then they must be told apart by their own names
    everything = [
        job
        for config in found.configs()
        for point in found.points()
        for job in make_jobs(
            config,
            renamed({**found.set, **point}),  # in a config; runs are named by the sweep's own keys
            seeds,
            Path("runs"),
            data,
            name=None if several else found.name,
            varied=point if found.name else {**found.set, **point},
        )
    ]
    run_all(list({job.run: job for job in everything}.values()), jobs, on, memory)  # two draws may be the same point
