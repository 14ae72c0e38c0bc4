"""What `rlkit plot` draws and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.command import call
from helpers.result_files import ResultWriter
from rlkit.report.pictures import drawn
from rlkit.report.results import find


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "p.gif"], ".png, .svg or .pdf"),
        (["--out", "p.png", "--against", "dopamine"], "--x frames"),
        (["--out", "p.png", "--against", "dopamine", "--x", "frames", "--y", "loss/td"], "a return"),
        (["--out", "p.png", "--group-by", "agent.nstep"], "agent.n_step"),
    ],
)
def test_what_plot_cannot_do(
    write_result: ResultWriter, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    path = write_result("a.json")
    monkeypatch.chdir(path.parent)
    done = call("plot", path, *arguments)
    assert done.exit_code == 2
    assert words in done.output


def test_a_file_that_is_no_picture_is_refused_before_anything_is_written(
    write_result: ResultWriter, tmp_path: Path
) -> None:
    path = write_result("a.json")
    for command in ("plot", "compare"):
        done = call(command, path, "--out", tmp_path / "p.png", "--out", tmp_path / "p.gif")
        assert done.exit_code == 2
        assert done.output == f"Error: {tmp_path / 'p.gif'}: pictures are written as .png, .svg or .pdf\n"
    assert not (tmp_path / "p.png").exists()


def test_scores_over_a_config_key(write_result: ResultWriter, tmp_path: Path) -> None:
    """Two networks, two rates, two seeds, and a third seed of one rate alone, which cannot be part of the line."""
    for dueling in (False, True):
        for rate, score in ((1e-4, 1.0), (1e-2, 5.0)):
            for seed in range(3 if rate == 1e-4 else 2):
                changes = {"config__agent__learning_rate": rate, "config__agent__network__dueling": dueling}
                score_here = score + seed + 10 * dueling
                write_result(f"in/{dueling}{rate}{seed}.json", score=score_here, seed=seed, **changes)
    out = tmp_path / "rates.png"
    result = call("plot", tmp_path / "in", "--x", "agent.learning_rate", "--out", out)
    assert result.exit_code == 0
    assert "seeds 2 lack some values of agent.learning_rate" in result.output
    axis = drawn(find([tmp_path / "in"]).results, "agent.learning_rate", None).figure.axes[0]
    plain, dueling_line = axis.lines
    assert plain.get_xdata().tolist() == [1e-4, 1e-2]
    assert plain.get_ydata().tolist() == [1.5, 5.5]
    assert dueling_line.get_ydata().tolist() == [11.5, 15.5]
    assert axis.get_xscale() == "log"
    assert axis.get_ylabel() == "return of the final evaluation"
    wrong = call("plot", tmp_path / "in", "--x", "agent.learning_rat", "--out", out)
    assert wrong.exit_code == 2
    assert "agent.learning_rate" in wrong.output
