"""Trains or resumes a run in a process that kills itself: `python crash.py RUN CONFIG PHASE COUNT`.

At the COUNT-th time that PHASE begins the process gets SIGKILL, in the middle of the work: nothing is flushed, closed
or said. PHASE "none" runs to the end. A RUN that exists already is resumed, or begun anew if it has no checkpoint yet.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rlkit
from rlkit.runs import checkpoint
from rlkit.training.rollout import Rollout
from rlkit.training.trainer import Trainer


def deadly(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """`function`, but the count-th call does not return."""
    calls = iter(range(1, sys.maxsize))

    def call(*arguments: Any, **options: Any) -> Any:
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return call


def arm(phase: str, count: int) -> None:
    if phase == "writing":
        checkpoint.os.fsync = deadly(os.fsync, count)  # type: ignore[attr-defined]
    elif phase == "renaming":
        Path.rename = deadly(Path.rename, count)  # type: ignore[method-assign]
    elif phase == "receiving":
        Rollout.receive = deadly(Rollout.receive, count)  # type: ignore[method-assign]
    elif phase == "logging":
        Trainer.log = deadly(Trainer.log, count)  # type: ignore[method-assign]
    elif phase in ("learning", "observing"):
        name = {"learning": "learn", "observing": "observe"}[phase]
        before = Trainer.__post_init__

        def after_init(trainer: Trainer) -> None:
            before(trainer)
            setattr(trainer.agent, name, deadly(getattr(trainer.agent, name), count))

        Trainer.__post_init__ = after_init  # type: ignore[method-assign]
    else:
        assert phase == "none", phase


def main(run: Path, config: str, phase: str, count: int) -> None:
    arm(phase, count)
    if run.exists() and not list((run / "checkpoints").glob("[0-9]*")):
        shutil.rmtree(run)  # killed before its first checkpoint: there is nothing to go on from
    if run.exists():
        rlkit.resume(run)
    else:
        rlkit.train(config, run=run)


def logged(errors: Path, *arguments: Any) -> None:
    """`main`, with the error messages of the process in a file."""
    with errors.open("wb") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    main(*arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
