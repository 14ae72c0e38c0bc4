"""Shows a policy at play: in a window, or with coloured blocks in the terminal."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any, Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from rich.console import Console, Group
from rich.live import Live
from rich.style import Style
from rich.text import Text

from rlkit.errors import RlkitError
from rlkit.runs.video import beside

BLOCK = "▀"  # its foreground is the upper of two pixels, its background the lower
BAR = 20  # characters of the longest bar


class Closed(RlkitError):
    """The window was closed."""


def has_display() -> bool:
    """Whether this process can open a window."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


class Pace:
    """Waits so that steps follow each other at a rate."""

    def __init__(self, rate: float) -> None:
        self._step, self._next = 1 / rate, time.monotonic()

    def wait(self) -> None:
        self._next = max(self._next + self._step, time.monotonic())
        time.sleep(max(0.0, self._next - time.monotonic()))


class Window:
    """A window of pygame. Escape, q and its close button raise `Closed`. Raises ImportError where pygame is missing."""

    def __init__(self, rate: float, title: str) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import pygame

        self._pygame: Any = pygame
        self._pace, self._title = Pace(rate), title
        self._surface: Any = None

    def show(
        self, screen: NDArray[np.uint8], lines: list[str], names: tuple[str, ...], values: NDArray[Any] | None,
        action: int | None,
    ) -> None:  # fmt: skip
        picture = beside(screen, lines, names, values, action)
        if self._surface is None:
            self._pygame.display.init()
            self._surface = self._pygame.display.set_mode(picture.shape[1::-1])
            self._pygame.display.set_caption(self._title)
        for event in self._pygame.event.get():
            key = event.type == self._pygame.KEYDOWN and event.key in (self._pygame.K_ESCAPE, self._pygame.K_q)
            if event.type == self._pygame.QUIT or key:
                raise Closed("the window was closed")
        self._pygame.surfarray.blit_array(self._surface, picture.swapaxes(0, 1))
        self._pygame.display.flip()
        self._pace.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pygame.display.quit()


class Terminal:
    """Draws in the terminal: two pixels of the screen a character, then the text and the actions with their values."""

    def __init__(self, rate: float, console: Console) -> None:
        self._console, self._pace = console, Pace(rate)
        self._live = Live(console=console, auto_refresh=False, screen=True)

    def show(
        self, screen: NDArray[np.uint8], lines: list[str], names: tuple[str, ...], values: NDArray[Any] | None,
        action: int | None,
    ) -> None:  # fmt: skip
        told = told_actions(names, values, action, most=max(4, self._console.height // 3))
        rows = self._console.height - 2 - told.plain.count("\n") - 1
        picture = blocks(screen, self._console.width, max(4, rows))
        self._live.update(Group(picture, Text("   ".join(lines)), told), refresh=True)
        self._pace.wait()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def blocks(screen: NDArray[np.uint8], columns: int, rows: int) -> Text:
    """A picture (H, W, 3) in at most `columns` x `rows` characters, its proportions kept."""
    height, width = screen.shape[:2]
    scale = min(columns / width, 2 * rows / height)
    size = max(1, round(width * scale)), max(2, round(height * scale) // 2 * 2)
    fitted = np.asarray(PIL.Image.fromarray(screen).resize(size, PIL.Image.Resampling.BOX))
    text = Text(no_wrap=True)
    for upper, lower in zip(fitted[::2], fitted[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append(BLOCK, Style(color=_rgb(above), bgcolor=_rgb(below)))
        text.append("\n")
    return text


def _rgb(colour: list[int]) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in colour)


def told_actions(names: tuple[str, ...], values: NDArray[Any] | None, action: int | None, most: int) -> Text:
    """One line for each action, at most `most`: a mark at the one that is taken, its name, its value as a bar."""
    text, longest = Text(), max(map(len, names))
    shown = range(len(names)) if len(names) <= most else [] if action is None else [action]
    for number in shown:
        mark = "▶" if number == action else " "
        text.append(f"{mark} {names[number]:<{longest}}", Style(bold=number == action))
        if values is not None:
            share = (values[number] - values.min()) / max(np.ptp(values), 1e-12)
            text.append(f"  {values[number]:8.2f} {'█' * round(BAR * float(share))}")
        text.append("\n")
    return text
