"""`rlkit tune`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlkit.cli.batch import executor_of, run_all
from rlkit.cli.console import console, say
from rlkit.cli.options import JOBS, MEMORY, ON
from rlkit.cli.progress import Display
from rlkit.errors import ConfigError, RlkitError

if TYPE_CHECKING:
    from rlkit.runs.launcher import Job
    from rlkit.runs.tuning.search import Search
    from rlkit.runs.tuning.study import Trial
    from rlkit.runs.tuning.tuner import Work


@click.command()
@click.argument("sweep_file", metavar="SWEEP.toml", type=click.Path(path_type=Path))
@click.option("--storage", help="A file on a shared folder, or an Optuna URL; default runs/NAME/study.journal.")
@click.option("--confirm", type=click.IntRange(1, 1000), help="Then train the best settings with so many new seeds.")
@click.option("--keep-checkpoints", is_flag=True, help="Keep the checkpoints of ended trials; they may be large.")
@JOBS
@ON
@MEMORY
def tune(
    sweep_file: Path,
    storage: str | None,
    confirm: int | None,
    keep_checkpoints: bool,
    jobs: int | None,
    on: str | None,
    memory: float,
) -> None:
    """Search good settings with Optuna, over the keys that SWEEP.toml names.

    \b
    config = "cartpole"
    name = "rates"                         # of the study; default: the name of this file
    seeds = "0-2"                          # of each trial; its value is the mean over them
    [set]                                  # for all trials
    train.steps = 20_000
    evaluation.every = 2_000
    [search]
    trials = 40
    sampler = "tpe"                        # or random, grid
    pruner = "median"                      # or hyperband, none: stops poor trials early
    objective = "final"                    # or area, steps_to_solve
    [search.keys]
    agent.learning_rate = { low = 1e-5, high = 1e-2, log = true }
    agent.n_step = { low = 1, high = 5 }
    agent.bonus = [false, { type = "rnd", beta = { low = 0.01, high = 1.0, log = true } }]

    \b
    rlkit tune sweep.toml --confirm 5
    rlkit tune sweep.toml --storage /shared/study.journal     # started on several machines, they share the trials
    """
    from rlkit.runs.runner import Runner
    from rlkit.runs.tuning.search import Search
    from rlkit.runs.tuning.tuner import Tuner

    search = Search.opened(sweep_file, storage)
    study = search.study
    ended = study.done()
    console.print(
        f"study {study.folder.name}: {study.wanted} trials of {len(search.seeds)} seed(s), {len(ended)} ended; "
        f"runs and results in {study.folder}",
        markup=False,
    )
    waiting = (study.wanted - len(ended)) * len(search.seeds)
    executor = executor_of(search.config.train.threads, waiting, jobs, on, memory)
    with Display("trials", study.wanted, len(ended)) as display:

        def show(trial: Trial, value: float | None, work: Work) -> None:
            display.advance()
            console.print(_line(search, trial, value, work), markup=False, soft_wrap=True)

        runner = Runner(executor, display.show)
        tuner = Tuner(study, runner, search.jobs, show, keep_checkpoints=keep_checkpoints)
        tuner.run(lambda others: say(_waiting(others)))
        display.show({})
    if runner.signal is not None:
        raise Stopped(runner.signal, len(study.done()), study.wanted)
    _report(search, confirm, partial(run_all, limit=jobs, on=on, memory=memory))


class Stopped(RlkitError):
    """A signal ended the search; each run wrote a checkpoint."""

    def __init__(self, number: int, ended: int, wanted: int) -> None:
        super().__init__(f"stopped with {ended} of {wanted} trials ended; the same command goes on exactly")
        self.exit_code = 128 + number


def _line(search: Search, trial: Trial, value: float | None, work: Work) -> str:
    best = search.study.best()
    if work.error is not None:
        how = f"failed: {work.error}"
    elif value is None:
        how = f"pruned after {work.reported:,} steps"
    else:
        how = f"{value:.4g}" + ("" if best is None else f", best {best.value:.4g} of trial {best.number}")
    return f"trial {trial.number}: {how}; {search.text(trial.point)}"


def _waiting(others: Mapping[int, str]) -> str:
    who = ", ".join(f"{number} ({process})" for number, process in others.items())
    return f"all trials are taken; waiting for trial {who}, to go on with it if its process dies"


def _report(search: Search, confirm: int | None, train: Callable[[Sequence[Job]], None]) -> None:
    """The best settings, what mattered, the files that were written, and how far the best score can be trusted."""
    study, best = search.study, search.study.best()
    ended = study.done()
    counts = {state: sum(each.state == state for each in ended) for state in ("complete", "pruned", "fail")}
    console.print(f"{counts['complete']} trials complete, {counts['pruned']} pruned, {counts['fail']} failed")
    if best is None:
        raise RlkitError("no trial is complete, so there is no best one; the reasons are above")
    console.print(f"best: trial {best.number}, {search.measure}: {best.value:.5g}", markup=False)
    for name, value in best.parameters.items():
        console.print(f"  {name} = {value:.5g}" if isinstance(value, float) else f"  {name} = {value}", markup=False)
    if shares := study.importance():
        text = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        console.print(f"importance (PED-ANOVA, of what all complete trials have): {text}", markup=False)
    config = search.write_best(best)
    console.print(f"written: {config}, which 'rlkit train {config}' trains", markup=False)
    _draw(search)
    if confirm is None:
        say(
            f"{best.value:.5g} is optimistic, because it was chosen as the best of {counts['complete']} scores, on "
            f"seeds {search.sweep.seeds}; --confirm 5 trains these settings with 5 other seeds"
        )
        return
    _confirm(search, best.value or 0.0, confirm, train)


def _draw(search: Search) -> None:
    from rlkit.report.search import parallel_coordinates

    done, file = search.study.done(), search.study.folder / "search.png"
    scores = [each.value if each.state == "complete" else None for each in done]
    title = f"{search.study.folder.name}: {len(done)} trials; grey: pruned or failed"
    parameters = [each.parameters for each in done]
    try:
        parallel_coordinates(parameters, scores, search.logarithmic(), title, search.measure).save([file])
    except ConfigError as error:  # without matplotlib the search is finished all the same
        say(f"no picture: {error}")
        return
    console.print(f"written: {file}, one line per trial", markup=False)


def _confirm(search: Search, promised: float, count: int, train: Callable[[Sequence[Job]], None]) -> None:
    from rlkit.files import FileLock, Taken
    from rlkit.runs.tuning.search import MEASURES

    planned = search.confirmation(count)
    try:
        with FileLock(search.study.folder / "confirm.lock"):
            train(planned)
    except Taken as error:
        raise ConfigError(f"another process confirms this study ({error})") from error
    mean, interval = search.scores(planned)
    measure = MEASURES[search.search.objective]
    console.print(
        f"on {count} other seeds, {measure}: {mean:.5g}{interval}; in the search it was {promised:.5g}", markup=False
    )
