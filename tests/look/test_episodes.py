"""`rlkit episodes`: training episodes from the action log, against the run itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlkit
from helpers.command import call
from rlkit.config.load import resolve
from rlkit.errors import RunError
from rlkit.look.episodes import Episode, Listing, list_episodes
from rlkit.look.played_again import is_complete, logged_parts
from rlkit.runs.directory import RunDirectory
from rlkit.types import StepBatch

TABLES: dict[str, Any] = {
    "env": {"name": "gymnasium", "id": "rlkit/DeepSea-v0", "kwargs": {"size": 6}, "signals": "envs.deep_sea:state"},
    "agent": {"name": "dqn", "learning_starts": 20, "bonus": {"beta": 0.1, "count_of": "successor"}},
    "train": {"steps": 150, "num_envs": 3, "reseed_after": 14, "log_every": 30, "seed": 4, "sinks": []},
    "evaluation": {"final_episodes": 1},
}


class Watched:
    """The episodes as they are made: (environment, return, length), in the order of their ends."""

    def __init__(self) -> None:
        self.total, self.length = np.zeros(3), np.zeros(3, int)
        self.episodes: list[tuple[int, float, int]] = []
        self.intrinsic: list[float] = []

    def __call__(self, trainer: Any, step: StepBatch) -> None:
        self.total += step.reward
        self.length += 1
        for env in np.flatnonzero(step.ended):
            self.episodes.append((int(env), round(float(self.total[env]), 6), int(self.length[env])))
            self.intrinsic.append(float(trainer.agent.bonus.intrinsic_return[env]))
        self.total[step.ended], self.length[step.ended] = 0, 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Watched]:
    watched = Watched()
    run = rlkit.train(resolve("sea", TABLES), run=tmp_path_factory.mktemp("run") / "sea", on_step=watched).path
    return run, watched


def test_the_list_is_what_happened_in_training(trained: tuple[Path, Watched]) -> None:
    path, watched = trained
    run = RunDirectory.open(path)
    found = list_episodes(run, run.config(), lambda done, total: None)
    assert found.complete
    listed = [(each.env, round(each.total, 6), each.length) for each in found.episodes]
    assert listed == watched.episodes
    assert [each.intrinsic for each in found.episodes] == pytest.approx(watched.intrinsic)
    assert {each.codes for each in found.episodes} <= {5, 6}
    assert found.agreeing >= 3
    assert found.differing == 0
    assert len({each.seed for each in found.episodes}) >= 6, "environments were reset with new seeds in between"


def test_a_log_with_parts_removed_says_so(trained: tuple[Path, Watched], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    removed = sorted((run / "tapes").glob("env0001*"))[1]
    removed.unlink()
    opened = RunDirectory.open(run)
    parts = logged_parts(opened, opened.config())
    assert not is_complete(parts, 3)
    done = call("episodes", run, "--json", tmp_path / "all.json")
    assert done.exit_code == 0, done.output
    assert "parts of the action log were removed" in done.output
    left = json.loads((tmp_path / "all.json").read_text())["episodes"]
    kept = [each for each in trained[1].episodes if each[0] != 1]
    assert [(each["env"], round(each["return"], 6), each["length"]) for each in left if each["env"] != 1] == kept
    assert 0 < sum(each["env"] == 1 for each in left) < sum(each[0] == 1 for each in trained[1].episodes)
    assert {each["intrinsic"] for each in left} == {None}


def test_an_episode_is_played_again(trained: tuple[Path, Watched], tmp_path: Path) -> None:
    video = tmp_path / "best.mp4"
    done = call("episodes", trained[0], "--play", "7", "--video", video)
    assert done.exit_code == 0, done.output
    assert "the mean returns of all" in done.output.replace("\n", " ")
    assert f"return {trained[1].episodes[7][1]:.4g}" in done.output
    assert ", 6 steps" in done.output
    assert video.stat().st_size > 1000
    assert "give best, last, or a number" in call("episodes", trained[0], "--play", "x", "--video", video).output
    assert "belong together" in call("episodes", trained[0], "--play", "best").output


def test_a_log_that_is_not_of_this_run_is_noticed(trained: tuple[Path, Watched], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    for tape in (run / "tapes").iterdir():
        np.save(tape, 1 - np.load(tape))
    done = call("episodes", run)
    assert "differ from those of the episodes played again" in done.output.replace("\n", " ")
    shutil.rmtree(run / "tapes")
    shutil.rmtree(run / "checkpoints")
    assert "has no action log" in call("episodes", run).output


def test_parts_of_steps_after_the_last_checkpoint_are_not_listed(trained: tuple[Path, Watched], tmp_path: Path) -> None:
    """As a run has them that was killed after it had closed parts."""
    run = tmp_path / "run"
    tables = {**TABLES, "train": {**TABLES["train"], "checkpoint_every": 60, "keep_checkpoints": 9}}
    rlkit.train(resolve("sea", tables), run=run)
    opened = RunDirectory.open(run)
    for step in opened.checkpoints.steps()[1:]:
        shutil.rmtree(opened.checkpoints.folder(step))
    (rows,) = {step // 3 for step in opened.checkpoints.steps()}
    assert any("step000000000018" in tape.name and 18 + len(np.load(tape)) > rows for tape in opened.tapes.iterdir())
    done = call("episodes", run, "--json", tmp_path / "all.json")
    assert done.exit_code == 0, done.output
    listed = json.loads((tmp_path / "all.json").read_text())
    assert listed["complete"]
    assert listed["rows_that_differ"] == 0
    returns = [each["return"] for each in listed["episodes"]]
    best = f"{returns.count(max(returns)):,} episodes, first {returns.index(max(returns)):,}, at step "
    assert best in done.output.replace("\n", " ")
    expected = trained[1].episodes[: len(listed["episodes"])]
    assert [(each["env"], round(each["return"], 6), each["length"]) for each in listed["episodes"]] == expected


SPOILED = {
    "cut": ("is damaged", lambda tape: tape.write_bytes(tape.read_bytes()[:-3])),
    "empty": ("is damaged", lambda tape: tape.write_bytes(b"")),
    "4 EiB": ("is damaged", lambda tape: tape.write_bytes(tape.read_bytes().replace(
        b"(18,), }" + b" " * 14, b"(9999999999999999,), }"))),
    "text": ("is damaged", lambda tape: np.save(tape, np.array(["a"]))),
    "rows": ("is damaged", lambda tape: np.save(tape, np.zeros((2, 2), np.int32))),
    "no actions": ("is damaged", lambda tape: np.save(tape, np.zeros(0, np.int32))),
    "other actions": ("has actions that this environment lacks", lambda tape: np.save(tape, np.load(tape) + 9)),
    "other environment": ("of environment 7", lambda tape: tape.rename(tape.with_name(f"env0007{tape.name[7:]}"))),
    "other seed": ("with seed 9999999999", lambda tape: tape.rename(
        tape.with_name(tape.name.split("-seed")[0] + "-seed9999999999.npy"))),
    "longer": ("two parts", lambda tape: np.save(tape, np.zeros(20, np.int32))),
}  # fmt: skip


@pytest.mark.parametrize(("said", "spoil"), SPOILED.values(), ids=SPOILED)
def test_a_spoiled_part_gives_one_line(said: str, spoil: Any, trained: tuple[Path, Watched], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    spoil(min((run / "tapes").iterdir()))
    done = call("episodes", run)
    assert done.exit_code == RunError.exit_code, done.output
    assert said in done.output.replace("\n", " ")


def test_without_an_episode_none_is_played(tmp_path: Path) -> None:
    tables = {**TABLES, "train": {**TABLES["train"], "steps": 6}}
    run = rlkit.train(resolve("sea", tables), run=tmp_path / "run").path
    for which in ("best", "last", "²", "1" * 5000):
        done = call("episodes", run, "--play", which, "--video", tmp_path / "a.mp4")
        assert done.exit_code == 2
        assert "no episode has ended yet" in done.output
    done = call("evaluate", run, "--checkpoint", "²")
    assert "has no checkpoint" in done.output


def test_the_best_is_the_newest_of_equals_and_the_summary_names_the_first() -> None:
    """Where all successes pay 1, the first one is an untrained agent's luck."""
    returns = [0.0, 1.0, 0.0, 1.0, 0.5]
    episodes = [Episode(0, 1, 0, 0, 5, total, 10 * number, None, None) for number, total in enumerate(returns)]
    listing = Listing(episodes, complete=True, agreeing=0, differing=0)
    assert listing.chosen("best")[0] == 3
    assert listing.summary() == "highest return 1: 2 episodes, first 1, at step 10"
