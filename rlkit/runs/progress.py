"""Progress of a run that is trained from Python: a bar in a notebook, a line every few seconds in a terminal."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable
from typing import Any

from rlkit.runs.cost import Remaining
from rlkit.training.trainer import Trainer

EVERY = 5.0  # seconds between two lines
BAR_EVERY = 0.5  # seconds between two states of the bar


def progress_lines(steps: int, write: Callable[[str], object] | None = None) -> Callable[[Trainer], None]:
    """A callback for the trainer that writes lines, by default to the standard error if that is a terminal.

    In a Jupyter notebook it shows a bar under the cell by default.
    """
    if write is None:
        if in_notebook():
            return _bar(steps)
        if not sys.stderr.isatty():
            return lambda trainer: None
        write = sys.stderr.write
    remaining, written, put = Remaining(steps), [time.monotonic()], write

    def show(trainer: Trainer) -> None:
        line = _line(trainer, steps, remaining)
        if time.monotonic() < written[0] + EVERY:
            return
        written[0] = time.monotonic()
        put(line + "\n")

    return show


def _line(trainer: Trainer, steps: int, remaining: Remaining) -> str:
    left = remaining.text(trainer.env_steps, trainer.agent.updates)
    recent = trainer.episodes.recent
    mean = f"return {sum(recent) / len(recent):.1f} over {len(recent)} episodes" if recent else ""
    parts = [f"step {trainer.env_steps:,} of {steps:,}", mean, left]
    return ", ".join(part for part in parts if part)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook. Imports nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _bar(steps: int) -> Callable[[Trainer], None]:
    """Draws with HTML, which needs no widgets; a saved notebook keeps the last state."""
    display: Any = sys.modules["IPython"].display
    remaining, shown = Remaining(steps), [0.0]
    handle = display.display(display.HTML(_drawn(0, steps, "starting")), display_id=True)

    def show(trainer: Trainer) -> None:
        line, ended = _line(trainer, steps, remaining), trainer.env_steps >= steps
        if ended or time.monotonic() >= shown[0] + BAR_EVERY:
            shown[0] = time.monotonic()
            handle.update(display.HTML(_drawn(trainer.env_steps, steps, line)))

    return show


def _drawn(done: int, steps: int, text: str) -> str:
    return f'<progress value="{min(done, steps)}" max="{steps}" style="width: 20em"></progress> {html.escape(text)}'
