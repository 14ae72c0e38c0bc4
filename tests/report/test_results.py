"""Reading result files and run directories; every kind of bad input gets its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.command import call
from helpers.result_files import ResultWriter
from rlkit.report.compare import finished
from rlkit.report.results import find


def test_a_run_counts_once(write_result: ResultWriter) -> None:
    folder = write_result("a.json").parent
    write_result("copy/a.json")
    found = find([folder])
    assert len(found.results) == 1
    assert "counts once" in found.problems[0]


def test_no_runs(tmp_path: Path) -> None:
    for arguments in (["compare", tmp_path], ["plot", tmp_path, "--out", tmp_path / "p.png"], ["compare", "nowhere"]):
        done = call(*arguments)
        assert done.exit_code == 2
        assert done.output.startswith("Error: no runs (")


@pytest.mark.parametrize("text", ["{", "[]", '{"final": 1, "protocol": 2, "seed": 3, "env_steps": 4}', "\xff"])
def test_a_damaged_file_is_named_and_the_rest_compared(write_result: ResultWriter, text: str) -> None:
    good = write_result("a.json")
    (good.parent / "bad.json").write_bytes(text.encode("latin-1"))
    done = call("compare", good, good.parent / "bad.json")
    assert done.exit_code == 0
    assert "bad.json" in done.output
    assert "CartPole-v1" in done.output


def test_what_a_shell_fills_in_beside_run_directories_is_said(write_result: ResultWriter) -> None:
    path = write_result("a.json")
    (path.parent / "a.log").write_text("Aborted!\n")
    done = call("compare", path, path.parent / "a.log")
    assert done.exit_code == 0
    assert "a.log is neither a run directory nor a result file" in done.output


def test_run_directories_finished_and_not(tmp_path: Path) -> None:
    config = tmp_path / "small.toml"
    config.write_text(
        '[env]\nname = "gymnasium"\nid = "CartPole-v1"\n[agent]\nname = "random"\n'
        "[train]\nsteps = 300\nlog_every = 50\n[evaluation]\nevery = 100\nepisodes = 1\nfinal_episodes = 2\n"
    )
    for seed in (0, 1):
        assert call("train", config, "--seed", seed, "--run", tmp_path / "runs" / f"s{seed}").exit_code == 0
    unfinished = tmp_path / "runs" / "s1"
    (unfinished / "result.json").unlink()
    metrics = unfinished / "metrics.jsonl"
    lines = metrics.read_text().splitlines()
    lines[1] = lines[1].replace('"env_steps": 1', '"env_steps": 2')  # one flipped bit: still JSON
    metrics.write_text("\n".join(lines[:4]) + "\n" + lines[4][:20])

    done = call("compare", tmp_path / "runs")
    assert done.exit_code == 0, done.output
    assert "metrics.jsonl is damaged in line 2, which" in done.output
    assert "s1 is unfinished at step" in done.output
    assert finished(find([tmp_path / "runs"]).results)[0][0].seed == 0

    drawn = call("plot", tmp_path / "runs", "--y", "episode/return", "--x", "hours", "--out", tmp_path / "p.png")
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "p.png").stat().st_size > 5000
    only = call("plot", unfinished, "--y", "episode/return", "--out", tmp_path / "q.png")
    assert "its group ends with its shortest run" in only.output
    assert call("compare", unfinished).exit_code == 2


def test_patterns_find_the_runs_of_several_machines(write_result: ResultWriter) -> None:
    """Copies count once; what lies inside of a match is not read a second time."""
    root = write_result("one/runs/cartpole-0.json").parents[2]
    write_result("two/runs/cartpole-0.json")
    write_result("two/runs/cartpole-1.json", seed=1)
    write_result("two/runs/other-2.json", seed=2)
    assert [run.seed for run in find([root / "*" / "runs" / "cartpole-*"]).results] == [0, 1]
    assert sorted(run.seed for run in find([root / "one", root / "tw*" / "**"]).results) == [0, 1, 2]
    found = find([root / "one", root / "three*"])
    assert found.problems == [f"{root}/three* matches nothing"]
