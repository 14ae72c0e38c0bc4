"""Many runs, as `rlkit sweep` and `rlkit train --seeds` start them: plan, run, compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlkit.cli.comparison import show_comparison
from rlkit.cli.console import console, say
from rlkit.cli.progress import Display
from rlkit.errors import ConfigError, RlkitError

if TYPE_CHECKING:
    from rlkit.runs.launcher import Job
    from rlkit.runs.runner import Executor


class Interrupted(RlkitError):
    """A signal ended the runs after each wrote a checkpoint."""

    def __init__(self, number: int, finished: int, wanted: int) -> None:
        super().__init__(f"stopped with {finished} of {wanted} runs finished; the same command resumes the others")
        self.exit_code = 128 + number


def executor_of(threads: int, waiting: int, limit: int | None, on: str | None, memory: float) -> Executor:
    """Where runs of `threads` threads each go, at most `limit` at a time; notes if they need more cores than there are.

    waiting: number of runs. on, memory: as of `run_all`.
    """
    from rlkit.devices import cores, crowded
    from rlkit.runs.cluster.executors import executor_for

    here = max(1, cores() // threads)
    if on is None:
        for note in crowded(threads, min(limit or here, waiting)):
            say(note)
    return executor_for(on, limit, here, memory)


def run_all(jobs: Sequence[Job], limit: int | None, on: str | None = None, memory: float = 2.0) -> None:
    """Runs all jobs and shows their comparison; limit: runs at a time, by default as many as there are cores.

    on: where, see `executor_for`; memory: GiB of each run there.

    Raises ConfigError before anything starts, Interrupted after a signal, RlkitError where runs failed.
    """
    from rlkit.runs.launcher import plan
    from rlkit.runs.runner import Runner

    found = plan(jobs)
    counts = {"finished": found.finished, "to resume": found.to_resume, "to train": found.to_train}
    counted = ", ".join(f"{len(some)} {what}" for what, some in counts.items() if some)
    console.print(f"{len(jobs)} run{'s' if len(jobs) > 1 else ''}: {counted}")
    for note in found.notes:
        say(note)
    waiting = [*found.to_resume, *found.to_train]
    threads = max((job.config.train.threads for job in waiting), default=1)
    executor = executor_of(threads, len(waiting), limit, on, memory)
    with Display("runs", len(jobs), len(found.finished)) as display:
        outcome = Runner(executor, display.show).run(found)
    for name, why in outcome.failed.items():
        console.print(f"[red]failed:[/] {name}: ", end="")
        console.print(why, markup=False)
    done = [job.data if job.data is not None else job.run for job in jobs if job in outcome.finished]
    if done:
        try:
            show_comparison(done)
        except ConfigError as error:  # the extra `report` is not installed: the runs are finished all the same
            say(f"no table: {error}")
    if outcome.stopped_by is not None:
        raise Interrupted(outcome.stopped_by, len(outcome.finished), len(jobs))
    if outcome.failed:
        raise RlkitError(f"{len(outcome.failed)} of {len(jobs)} runs failed; the same command tries them again")
