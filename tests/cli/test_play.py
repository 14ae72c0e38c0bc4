"""`rlkit play`: what it shows, where, and what it refuses."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from helpers.command import call
from rlkit.cli import screens
from rlkit.cli.play import find_run
from rlkit.cli.screens import Terminal, blocks, told_actions
from rlkit.errors import ConfigError
from rlkit.runs import evaluate as policies


def drawing(width: int = 60, height: int = 24) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    shown = {"force_terminal": True, "color_system": "truecolor", "width": width, "height": height}
    return Console(file=file, **shown, _environ={"TERM": "xterm-256color"}), file  # type: ignore[arg-type]


def test_two_pixels_a_character() -> None:
    screen = np.zeros((4, 6, 3), np.uint8)
    screen[0, 0], screen[1, 0] = (255, 0, 0), (0, 0, 255)
    text = blocks(screen, 6, 10)
    assert text.plain == ("▀" * 6 + "\n") * 2
    first = text.spans[0].style
    assert (first.color.name, first.bgcolor.name) == ("#ff0000", "#0000ff")  # type: ignore[union-attr]


@pytest.mark.parametrize(("columns", "rows"), [(10, 50), (80, 5), (3, 1)])
def test_the_picture_fits_and_keeps_its_proportions(columns: int, rows: int) -> None:
    lines = blocks(np.zeros((210, 160, 3), np.uint8), columns, rows).plain.splitlines()
    assert len(lines[0]) <= columns
    assert len(lines) <= rows
    assert len(lines[0]) / (2 * len(lines)) == pytest.approx(160 / 210, abs=0.35)


def test_the_action_that_is_taken_is_marked() -> None:
    values = np.array([1.0, 3.0, 2.0])
    told = told_actions(("left", "right", "fire"), values, 1, most=4).plain.splitlines()
    assert [line[:2] for line in told] == ["  ", "▶ ", "  "]
    assert told[1].endswith("3.00 " + "█" * screens.BAR)
    assert told[0].endswith("1.00 ")
    assert told_actions(("left", "right", "fire"), values, 1, most=2).plain.splitlines() == [told[1]]
    assert told_actions(("left", "right", "fire"), values, None, most=2).plain == ""


def test_a_run_is_shown_in_the_terminal(small_run: Path) -> None:
    console, file = drawing()
    done = policies.watch(small_run, lambda rate: Terminal(1e6, console), episodes=2)
    assert len(done.scores.returns) == 2
    drawn = file.getvalue()
    assert drawn.count("step  0") == 2
    assert f"return  {done.scores.returns[1]:g}" in drawn
    assert "▀" in drawn


def test_a_run_is_shown_in_a_window(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame", reason="needs the extra `worlds`: run `make install`")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(screens, "has_display", lambda: True)
    arguments = ("play", small_run, "--episodes", 1, "--rate", 1000)
    done = call(*arguments)
    assert done.exit_code == 0, done.output
    assert "episode 1: return" in done.output
    shown: list[Any] = []
    monkeypatch.setattr(pygame.event, "get", lambda: shown.append(1) or [pygame.event.Event(pygame.QUIT)])
    done = call(*arguments)
    assert (done.exit_code, len(shown)) == (0, 1), done.output


def test_where_nothing_can_be_shown_it_says_what_can_be_done(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screens, "has_display", lambda: False)
    done = call("play", small_run)
    assert done.exit_code == 2
    assert "neither a display nor a terminal that can draw; rlkit evaluate" in done.output


def test_names_of_runs(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_run(str(small_run)) == small_run
    assert find_run("cartpole").is_absolute(), "the clone's"
    shutil.copytree(small_run, tmp_path / "runs" / "cartpole")
    assert find_run("cartpole") == Path("runs/cartpole")
    with pytest.raises(ConfigError, match=r"nothing: no such run; there are: .*minatar-breakout"):
        find_run("nothing")
