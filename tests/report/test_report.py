"""Reading, grouping, scoring, comparing and drawing results; every kind of bad input gets its line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from rlkit.cli import main
from rlkit.errors import ConfigError
from rlkit.report import reference, scores
from rlkit.report.compare import compare, finished
from rlkit.report.groups import grouped
from rlkit.report.pictures import drawn
from rlkit.report.plot import aligned, draw, thousands
from rlkit.report.results import find
from rlkit.training.evaluation import bootstrap_interval, iqm

DATA = Path(__file__).parents[2] / "docs" / "results" / "data"
Write = Callable[..., Path]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a result file like the committed ones but for some changes; config__agent__n_step=3 goes into a table."""
    template = json.loads((DATA / "cartpole" / "rlkit-seed0.json").read_text())

    def write_(name: str, *, score: float = 1.0, seed: int = 0, **changes: Any) -> Path:
        content = json.loads(json.dumps(template))
        content["seed"] = content["config"]["train"]["seed"] = seed
        content["final"] = {"episodes": 2, "returns": [score - 1, score + 1], "lengths": [1, 1]}
        content["curve"] = [{"env_steps": step, "return_mean": score * step} for step in (100, 200, 300)]
        for key, value in changes.items():
            table, _, last = key.rpartition("__")
            where = content
            for part in table.split("__") if table else []:
                where = where[part]
            where[last] = value
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    return write_


# --- scores


def test_scores_by_hand() -> None:
    values = np.array([[1.0], [2.0], [3.0], [4.0], [100.0]])
    found = scores.aggregate(values)
    assert found["interquartile mean"].value == 3
    assert found["mean"].value == 22
    assert found["median"].value == 3
    games = np.array([[0.0, 2.0], [1.0, 4.0], [0.5, 0.0]])  # the tasks' means are 0.5 and 2
    assert scores.aggregate(games)["median"].value == 1.25
    assert scores.optimality_gap(games).value == pytest.approx(1 - (0 + 1 + 1 + 1 + 0.5 + 0) / 6)
    assert scores.probability_of_improvement(np.array([[1.0], [3.0]]), np.array([[2.0], [3.0]])).value == 3 / 8
    assert scores.difference(values, values - 2).value == 2


def test_rliable_and_the_engine_agree_on_one_task() -> None:
    values = np.random.default_rng(0).normal(size=11)
    found = scores.aggregate(values[:, None])["interquartile mean"]
    assert found.value == pytest.approx(iqm(values))
    low, high = bootstrap_interval(values, resamples=20_000)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.05), pytest.approx(high, abs=0.05))


def test_an_interval_is_the_same_at_every_call_whatever_the_global_generator() -> None:
    values = np.random.default_rng(0).normal(size=(6, 2))
    first = scores.aggregate(values)
    np.random.seed(5)  # noqa: NPY002  rliable itself would draw from it
    assert scores.aggregate(values) == first
    assert scores.difference(values, values[:4]) == scores.difference(values, values[:4])


def test_resampling_stays_within_a_task() -> None:
    """Tasks on scales 0 and 1000 with no spread within: whatever is drawn, the mean is 500."""
    values = np.tile([[0.0, 1000.0]], (5, 1))
    found = scores.aggregate(values)["mean"]
    assert (found.value, found.low, found.high) == (500, 500, 500)


def test_the_interval_covers_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "RESAMPLES", 200)
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        found = scores.aggregate(rng.normal(size=(20, 1)))["mean"]
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert 0.85 <= hits / 60 <= 1


@pytest.mark.parametrize("runs", [1, 2])
def test_no_interval_from_too_few_runs(runs: int) -> None:
    values = np.arange(runs, dtype=float)[:, None]
    assert scores.aggregate(values)["mean"].low is None
    assert scores.probability_of_improvement(values, np.ones((5, 1))).low is None
    assert scores.curve_interval(np.ones((runs, 4))) is None


def test_what_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"needs no_such_module.*\[report\]"):
        scores.needed("no_such_module.part", "an interval")


def test_without_the_extra_the_command_says_what_to_install(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rliable", "rliable.metrics", "rliable.library"):
        monkeypatch.setitem(sys.modules, module, None)
    done = call("compare", write("a.json"))
    assert done.exit_code == 2
    assert "needs rliable, which is not installed: pip install -c constraints.txt -e '.[report]'" in done.output


# --- published scores


def test_the_human_scores_are_those_of_57_games() -> None:
    table = reference.atari_scores()
    assert len(table) == 57
    assert table["breakout"] == {"random": 1.7, "human": 30.5}
    assert table["surround"] == {"random": -10.0, "human": 6.5}
    assert all(row["human"] > row["random"] for row in table.values())


@pytest.mark.parametrize(
    ("environment", "game"),
    [
        ("ALE/SpaceInvaders-v5", "spaceinvaders"),
        ("SpaceInvadersNoFrameskip-v4", "spaceinvaders"),
        ("space_invaders", "spaceinvaders"),
        ("MinAtar/Breakout-v1", None),
        ("CartPole-v1", None),
    ],
)
def test_games_are_known_by_any_of_their_names_and_others_are_not(environment: str, game: str | None) -> None:
    assert reference.game_of(environment) == game


def test_dopamines_curves_are_the_published_ones() -> None:
    """Against baselines/atari/data/breakout_CNN.json, iterations 5 to 9, all five runs of Rainbow, by hand."""
    runs = [
        (22.9817, 23.2226, 23.4073, 24.0124, 22.9036), (27.1577, 28.0304, 26.9484, 28.2013, 24.9624),
        (32.8810, 31.8529, 31.6351, 33.8007, 29.0795), (37.3611, 35.5804, 33.9779, 40.6611, 34.5146),
        (44.0175, 44.5689, 43.8017, 47.1881, 39.5581),
    ]  # fmt: skip
    curves = reference.dopamine_curves("breakout")
    assert curves["Dopamine Rainbow (CNN)"][10e6] == pytest.approx(np.mean(runs), abs=0.006)
    assert set(curves) == {f"Dopamine {name} (CNN)" for name in ("DQN", "C51", "QR-DQN", "IQN", "Rainbow")}
    with pytest.raises(ConfigError, match="no curve"):
        reference.dopamine_curves("chess")


# --- reading and grouping


def test_the_committed_files_of_both_libraries_are_groups_under_one_protocol() -> None:
    groups = grouped(find([DATA / "minatar-breakout"]).results)
    assert [group.label for group in groups] == ["rlkit dqn", "Stable-Baselines3"]
    assert groups[0].protocol.key() == groups[1].protocol.key()
    for path in (DATA / "minatar-breakout").glob("*.json"):
        content = json.loads(path.read_text())
        (run,) = (run for group in groups for run in group.runs if run.path == path)
        assert run.score == pytest.approx(np.mean(content["final"]["returns"]))


def test_groups_are_named_by_what_differs(write: Write) -> None:
    for seed in (10, 2):
        write(f"a{seed}.json", seed=seed)
        write(f"b{seed}.json", seed=seed, config__agent__n_step=3, config__agent__learning_rate=0.01)
    groups = grouped(find([write("a2.json", seed=2).parent]).results)
    assert [group.label for group in groups] == ["learning_rate=0.0005, n_step=5", "learning_rate=0.01, n_step=3"]
    assert [run.seed for run in groups[0].runs] == [2, 10]


def test_how_runs_were_measured_is_in_a_label_only_where_nothing_else_tells(write: Write) -> None:
    folder = write("a.json").parent
    write("b.json", config__agent__n_step=3, config__evaluation__every=1000)
    assert [group.label for group in grouped(find([folder]).results)] == ["n_step=5", "n_step=3"]
    write("c.json", config__agent__n_step=3, config__evaluation__every=2000)
    labels = [group.label for group in grouped(find([folder]).results)]
    assert labels == ["n_step=5, every=5000", "n_step=3, every=1000", "n_step=3, every=2000"]


def test_grouping_by_a_key_pools_the_rest(write: Write) -> None:
    folder = write("a.json").parent
    write("b.json", config__agent__learning_rate=0.01)
    write("c.json", config__agent__n_step=1)
    groups = grouped(find([folder]).results, ["agent.n_step"])
    assert [(group.label, len(group.runs)) for group in groups] == [("n_step=5", 2), ("n_step=1", 1)]
    with pytest.raises(ConfigError, match=r"agent\.nstep.*agent\.n_step"):
        grouped(find([folder]).results, ["agent.nstep"])


def test_a_label_leaves_out_what_a_config_lacks(write: Write) -> None:
    write("0.json", config__agent__network__normalisation="layer")
    write("1.json", config__agent__network__normalisation="group", config__agent__network__groups=2)
    folder = write("2.json").parent
    by = ("agent.network.normalisation", "agent.network.groups")
    labels = [group.label for group in grouped(find([folder]).results, by)]
    assert labels == ["normalisation=layer", "normalisation=group, groups=2", "normalisation=unset"]


def test_a_table_that_some_configs_lack_is_named_once(write: Write) -> None:
    """Not key by key; of its keys those that differ, also within a table inside it."""
    write("0.json")
    write("1.json", config__agent__bonus={"beta": 0.1, "of": "state"})
    write("2.json", config__agent__bonus={"beta": 0.2, "of": "state"})
    folder = write("3.json", config__agent__bonus={"beta": 0.2, "of": "state", "optimism": {"scale": 1.0}}).parent
    assert [group.label for group in grouped(find([folder]).results)] == [
        "no bonus",
        "bonus, no optimism, beta=0.1",
        "bonus, no optimism, beta=0.2",
        "bonus, optimism, beta=0.2",
    ]


def test_a_key_that_did_not_exist_has_its_default(write: Write) -> None:
    """Else a new option would part the files of before from those of after."""
    path = write("old.json", seed=1)
    content = json.loads(path.read_text())
    del content["config"]["agent"]["network"]["dueling"], content["config"]["evaluation"]["num_envs"]
    path.write_text(json.dumps(content))
    write("new.json", seed=2)
    (group,) = grouped(find([path.parent]).results)
    assert len(group.runs) == 2


def test_a_run_counts_once(write: Write) -> None:
    folder = write("a.json").parent
    write("copy/a.json")
    found = find([folder])
    assert len(found.results) == 1
    assert "counts once" in found.problems[0]


# --- comparison


def test_protocols_and_environments_are_never_averaged(write: Write) -> None:
    folder = write("a.json", score=1).parent
    content = json.loads((folder / "a.json").read_text())
    content["protocol"]["sticky actions"] = "0.25"
    (folder / "b.json").write_text(json.dumps(content))
    write("c.json", protocol__environment="Acrobot-v1", seed=2)
    tables = compare(grouped(find([folder]).results))
    assert [table.title for table in tables] == ["CartPole-v1", "Acrobot-v1"]  # nor is a difference taken
    assert [row[1] for row in tables[0].rows] == ["1", "1"]
    text = "\n".join(tables[0].notes)
    assert "2 environments" in text
    assert "not averaged: CartPole-v1 / CartPole-v1 (2): sticky actions unstated / 0.25" in text


def test_differences_are_taken_under_each_protocol(write: Write) -> None:
    for name, size, rate, score in (("a", 10, 0.1, 1), ("b", 20, 0.1, 2), ("c", 10, 0.2, 3), ("d", 20, 0.2, 6)):
        path = write(f"{name}.json", protocol__arguments=f"size={size}", config__agent__learning_rate=rate, score=score)
    _, small, large = compare(grouped(find([path.parent]).results))
    assert small.title.endswith("against learning_rate=0.1 (protocol 1)")
    assert large.title.endswith("against learning_rate=0.1 (protocol 2)")
    assert small.rows == [("learning_rate=0.2 (protocol 1)", "2.00", "200", "1.00")]
    assert large.rows == [("learning_rate=0.2 (protocol 2)", "4.00", "200", "1.00")]


def test_a_table_never_goes_without_its_protocol(write: Write) -> None:
    (table,) = compare(grouped(find([write("a.json")]).results))
    for words in ("CartPole-v1", "time limit: 500 steps", "evaluation epsilon: 0", "parameters: final;", "50,000"):
        assert words in table.markdown()


def test_a_score_of_the_last_sixth_of_training(write: Write) -> None:
    """Runs of 600 steps: the parts that end at 550 and 600 count, one of them without an episode in seed 1."""
    late = [(4.0, 6.0), (None, 7.0), (8.0, 10.0)]
    for seed, values in enumerate(late):
        table = {"env_steps": [100, 500, 550, 600], "episode/return": [900.0, 100.0, *values]}
        folder = write(f"{seed}.json", seed=seed, env_steps=600, training=table).parent
    output = call("compare", folder, "--y", "episode/return").output
    assert "7.00" in output  # the mean of 5, 7 and 9
    assert "score: mean episode/return over the last sixth of training" in output
    assert "episodes" not in output.split("Protocol")[1]
    write("3.json", seed=3, env_steps=600, training={})
    result = call("compare", folder, "--y", "episode/return")
    assert result.exit_code == 2
    assert "3.json has no episode/return in the last sixth of its training" in result.output


def test_human_normalised_scores_over_games(write: Write) -> None:
    """Breakout at the human's score and at twice the way; Pong at the random one's: 1, 2 and 0, 0."""
    folder = write("a.json", protocol__environment="ALE/Breakout-v5", score=30.5, seed=0).parent
    write("b.json", protocol__environment="ALE/Breakout-v5", score=59.3, seed=1)
    for seed in (0, 1, 2):
        write(f"c{seed}.json", protocol__environment="ALE/Pong-v5", score=-20.7, seed=seed)
    table = compare(grouped(find([folder]).results))[-1]
    assert table.title.startswith("human-normalised")
    assert table.rows == [("dqn", "2", "2", "0.50", "0.75", "0.75", "0.50")]
    text = "\n".join(table.notes)
    assert "the first 2 seeds" in text
    assert "van Hasselt et al. 2016" in text


def test_groups_are_compared_over_games(write: Write) -> None:
    """The second group's scores are a human's where the first one's are random, in one of two games."""
    for game, low, high in (("Breakout", 1.7, 30.5), ("Pong", -20.7, -20.7)):
        for rate, score in ((0.1, low), (0.2, high)):
            environment = f"ALE/{game}-v5"
            path = write(f"{game}{rate}.json", protocol__environment=environment, config__agent__n_step=int(rate * 10),
                         score=score)  # fmt: skip
    *_, table = compare(grouped(find([path.parent]).results))
    assert table.title == "human-normalised: against n_step=1"
    assert table.rows == [("n_step=2", "0.50", "", "0.75")]


def test_dopamine_beside_a_run_at_equal_frames(write: Write) -> None:
    curve = [{"env_steps": 2_000_000, "return_mean": 20.0}, {"env_steps": 2_600_000, "return_mean": 99.0}]
    path = write("a.json", protocol__environment="ALE/Breakout-v5", env_steps=3_000_000, frame_skip=4, curve=curve)
    (_, table, *_) = compare(grouped(find([path]).results), "dopamine")
    assert table.rows[0] == ("dqn", "10 million", "1", "20.0")  # the last evaluation at or before 10 million frames
    assert ("Dopamine DQN (CNN)", "10 million", "5", "41.0") in table.rows
    assert len(table.rows) == 1 + 5
    assert "sticky actions" in "\n".join(table.notes)


def test_below_ten_million_frames_there_is_no_reference(write: Write) -> None:
    path = write("a.json", protocol__environment="ALE/Breakout-v5", env_steps=50_000, frame_skip=4)
    done = call("compare", path, "--against", "dopamine")
    assert "0.2 million frames, and Dopamine's curves begin at 10 million: there is no reference" in done.output
    assert "no curve for CartPole-v1" in call("compare", write("b.json"), "--against", "dopamine").output


# --- bad input: one line each, and the rest is still there


def test_no_runs(tmp_path: Path) -> None:
    for arguments in (["compare", tmp_path], ["plot", tmp_path, "--out", tmp_path / "p.png"], ["compare", "nowhere"]):
        done = call(*arguments)
        assert done.exit_code == 2
        assert done.output.startswith("Error: no runs (")


@pytest.mark.parametrize("text", ["{", "[]", '{"final": 1, "protocol": 2, "seed": 3, "env_steps": 4}', "\xff"])
def test_a_damaged_file_is_named_and_the_rest_compared(write: Write, text: str) -> None:
    good = write("a.json")
    (good.parent / "bad.json").write_bytes(text.encode("latin-1"))
    done = call("compare", good, good.parent / "bad.json")
    assert done.exit_code == 0
    assert "bad.json" in done.output
    assert "CartPole-v1" in done.output


def test_what_a_shell_fills_in_beside_run_directories_is_said(write: Write) -> None:
    path = write("a.json")
    (path.parent / "a.log").write_text("Aborted!\n")
    done = call("compare", path, path.parent / "a.log")
    assert done.exit_code == 0
    assert "a.log is neither a run directory nor a result file" in done.output


def test_a_single_seed_has_no_interval_and_it_is_said(write: Write) -> None:
    done = call("compare", write("a.json", score=7))
    assert "No interval from fewer than 3 seeds: dqn (1 seed)." in done.output
    assert "[7" not in done.output


def test_a_key_that_nobody_logged(write: Write, tmp_path: Path) -> None:
    out = tmp_path / "p.png"
    done = call("plot", write("a.json"), "--y", "loss/nothing", "--out", out)
    assert done.exit_code == 2
    assert "no run logged 'loss/nothing'; it has evaluation/return_mean" in done.output
    assert not out.exists()


def test_a_key_that_one_group_lacks_is_said_and_the_rest_drawn(tmp_path: Path) -> None:
    out = tmp_path / "p.svg"
    done = call("plot", DATA / "minatar-breakout", "--out", out)
    assert done.exit_code == 0
    assert "Stable-Baselines3" in done.output
    assert "it has episode/return" in done.output
    assert out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "p.gif"], ".png or .svg"),
        (["--out", "p.png", "--against", "dopamine"], "--x frames"),
        (["--out", "p.png", "--against", "dopamine", "--x", "frames", "--y", "loss/td"], "a return"),
        (["--out", "p.png", "--group-by", "agent.nstep"], "agent.n_step"),
    ],
)
def test_what_plot_cannot_do(write: Write, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str) -> None:
    path = write("a.json")
    monkeypatch.chdir(path.parent)
    done = call("plot", path, *arguments)
    assert done.exit_code == 2
    assert words in done.output


# --- pictures


def test_curves_are_aligned_on_what_the_runs_share() -> None:
    one = (np.array([1.0, 2, 3]), np.array([1.0, 2, 3]))
    longer = (np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, 40]))
    curve = aligned([one, longer])
    assert curve.x.tolist() == [1, 2, 3]
    assert curve.values.tolist() == [[1, 2, 3], [10, 20, 30]]
    apart = aligned([one, (np.array([0.5, 1.5, 3.5]), np.array([5.0, 15, 35]))])
    assert (apart.x[0], apart.x[-1]) == (1, 3)
    assert apart.values[:, -1].tolist() == [3, 30]


def test_a_picture_says_what_it_shows(write: Write, tmp_path: Path) -> None:
    for seed in range(4):
        write(f"in/a{seed}.json", score=seed, seed=seed)
    write("in/b.json", protocol__environment="Acrobot-v1")
    picture = draw(grouped(find([tmp_path / "in"]).results))
    first, second = picture.figure.axes
    assert first.get_title() == "CartPole-v1"
    assert first.get_xlabel() == "environment steps"
    assert first.get_ylabel() == "return of an evaluation"
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["dqn, 4 seeds"]
    assert first.lines[0].get_ydata().tolist() == [150, 300, 450]  # of 0, 1, 2, 3 the middle two
    assert len(first.collections) == 1
    assert len(second.collections) == 0, "an interval from one seed"
    assert first.lines[0].get_color() == second.lines[0].get_color(), "one label, two colours"
    assert any("1 seed, so no interval" in note for note in picture.notes)


def test_long_labels_stay_inside_their_panel(write: Write, tmp_path: Path) -> None:
    for rate, game in ((0.01, "Acrobot-v1"), (0.02, "Acrobot-v1"), (0.01, "CartPole-v1"), (0.02, "CartPole-v1")):
        write(f"{rate}{game}.json", config__agent__learning_rate=rate, config__agent__replay_capacity=int(rate * 1e6),
              config__agent__updates_per_step=rate, config__train__steps=int(rate * 1e6),
              protocol__environment=game)  # fmt: skip
    picture = draw(grouped(find([tmp_path]).results))
    picture.save([tmp_path / "p.png"])  # lays it out
    for axis in picture.figure.axes:
        legend = axis.get_legend().get_window_extent()
        assert axis.bbox.x0 <= legend.x0 < legend.x1 <= axis.bbox.x1


def test_a_file_that_is_no_picture_is_refused_before_anything_is_written(write: Write, tmp_path: Path) -> None:
    path = write("a.json")
    for command in ("plot", "compare"):
        done = call(command, path, "--out", tmp_path / "p.png", "--out", tmp_path / "p.pdf")
        assert done.exit_code == 2
        assert done.output == f"Error: {tmp_path / 'p.pdf'}: pictures are written as .png or .svg\n"
    assert not (tmp_path / "p.png").exists()


def test_x_can_be_frames_or_hours(write: Write) -> None:
    group = grouped(find([write("a.json", frame_skip=4, train_seconds=3600 * 50_000)]).results)
    assert draw(group, "frames").figure.axes[0].lines[0].get_xdata().tolist() == [400, 800, 1200]
    assert draw(group, "hours").figure.axes[0].lines[0].get_xdata().tolist() == [100, 200, 300]
    without = write("b.json", seed=1)
    content = json.loads(without.read_text())
    del content["train_seconds"]
    without.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="how long it took"):
        draw(grouped(find([without]).results), "hours")


def test_all_curves_that_match_in_one_picture(write: Write) -> None:
    table = {"env_steps": [100, 200], "goal_share/key": [0.5, 0.25], "goal_share/door": [0.5, 0.75], "goals": [1, 2]}
    group = grouped(find([write("0.json", training=table)]).results)
    lines = draw(group, y="goal_share/*").figure.axes[0].lines
    assert [(line.get_label(), line.get_ydata().tolist()) for line in lines] == [
        ("door, 1 seed", [0.5, 0.75]),
        ("key, 1 seed", [0.5, 0.25]),
    ]
    with pytest.raises(ConfigError, match=r"no run has share/\*"):
        draw(group, y="share/*")


def test_scores_over_a_config_key(write: Write, tmp_path: Path) -> None:
    """Two networks, two rates, two seeds, and a third seed of one rate alone, which cannot be part of the line."""
    for dueling in (False, True):
        for rate, score in ((1e-4, 1.0), (1e-2, 5.0)):
            for seed in range(3 if rate == 1e-4 else 2):
                changes = {"config__agent__learning_rate": rate, "config__agent__network__dueling": dueling}
                score_here = score + seed + 10 * dueling
                write(f"in/{dueling}{rate}{seed}.json", score=score_here, seed=seed, **changes)
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


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_pictures_are_the_same_bytes_at_every_call(write: Write, tmp_path: Path, ending: str) -> None:
    path = write("a.json")
    for name in ("one", "two"):
        assert call("plot", path, "--out", tmp_path / f"{name}.{ending}").exit_code == 0
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def test_axis_numbers() -> None:
    assert [thousands(value) for value in (0, 500, 20_000, 1_500_000, -3000)] == ["0", "500", "20k", "1.5M", "-3k"]


def test_dopamines_curves_are_drawn_over_the_frames_that_the_runs_cover(write: Write) -> None:
    curve = [{"env_steps": step, "return_mean": 1.0} for step in (1_000_000, 5_000_000)]
    path = write("a.json", protocol__environment="ALE/Pong-v5", env_steps=5_000_000, frame_skip=4, curve=curve)
    (axis,) = draw(grouped(find([path]).results), "frames", against="dopamine").figure.axes
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["dqn, 1 seed", *(f"Dopamine {name}" for name in ("C51", "DQN", "IQN", "QR-DQN", "Rainbow"))]
    assert axis.lines[2].get_ydata()[0] == pytest.approx(-2.5, abs=0.05)
    assert axis.get_xlim() == (0, pytest.approx(22e6))
    low, high = axis.get_ylim()
    assert all(low < line.get_ydata()[0] < high for line in axis.lines), "a curve lies outside of the panel"


# --- run directories


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
    metrics.write_text("\n".join(lines[:4]) + "\n" + lines[4][:20])

    done = call("compare", tmp_path / "runs")
    assert done.exit_code == 0, done.output
    assert "metrics.jsonl is cut or damaged in line 5 of 5" in done.output
    assert "s1 is unfinished at step" in done.output
    assert finished(find([tmp_path / "runs"]).results)[0][0].seed == 0

    drawn = call("plot", tmp_path / "runs", "--y", "episode/return", "--x", "hours", "--out", tmp_path / "p.png")
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "p.png").stat().st_size > 5000
    only = call("plot", unfinished, "--y", "episode/return", "--out", tmp_path / "q.png")
    assert "its group ends with its shortest run" in only.output
    assert call("compare", unfinished).exit_code == 2


def test_runs_that_ended_early_are_finished_and_averaged(tmp_path: Path) -> None:
    """Solved at different steps: one group all the same, the steps in the table, and drawn up to the shortest."""
    config = tmp_path / "early.toml"
    config.write_text(
        '[env]\nname = "gymnasium"\nid = "CartPole-v1"\n[agent]\nname = "random"\n'
        "[train]\nsteps = 600\n[evaluation]\nevery = 100\nepisodes = 2\nfinal_episodes = 2\n"
        '[evaluation.stop]\nkey = "return_mean"\nat_least = 30\n'
    )
    ends = []
    for seed in range(4):
        run = tmp_path / "runs" / str(seed)
        assert call("train", config, "--seed", seed, "--run", run).exit_code == 0
        ends.append(json.loads((run / "result.json").read_text())["env_steps"])
    assert min(ends) < max(ends), "the seeds must end at different steps for this test to say anything"
    groups = grouped(find([tmp_path / "runs"]).results)
    assert [len(group.runs) for group in groups] == [4]
    (table,) = compare(groups)
    assert f"{min(ends)} to {max(ends)}" in table.rows[0]
    early = [end for end in ends if end < 600]
    assert table.notes[-1] == (
        f"random: {len(early)} of 4 runs ended before step 600, at a median of {np.median(early):.0f}, "
        "since return_mean reached 30 in 1 evaluations running."
    )
    picture = draw(groups)
    assert picture.figure.axes[0].lines[0].get_xdata()[-1] == min(ends)
    assert any("end at different steps" in note for note in picture.notes)
    assert "A line ends with its shortest run." in picture.figure.get_supxlabel().replace("\n", " ")
