"""Progress of a run that is trained from Python: a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rlkit.runs.cost import Remaining
from rlkit.training.trainer import Trainer

EVERY = 5.0  # seconds between two lines


def progress_lines(steps: int, write: Callable[[str], object] | None = None) -> Callable[[Trainer], None]:
    """A callback for the trainer that writes lines, by default to the standard error if that is a terminal."""
    if write is None:
        if not sys.stderr.isatty():
            return lambda trainer: None
        write = sys.stderr.write
    remaining, written = Remaining(steps), [time.monotonic()]

    def show(trainer: Trainer) -> None:
        left = remaining.text(trainer.env_steps, trainer.agent.updates)
        if time.monotonic() < written[0] + EVERY:
            return
        written[0] = time.monotonic()
        recent = trainer.episodes.recent
        mean = f"return {sum(recent) / len(recent):.1f} over {len(recent)} episodes" if recent else ""
        parts = [f"step {trainer.env_steps:,} of {steps:,}", mean, left]
        write(", ".join(part for part in parts if part) + "\n")

    return show
