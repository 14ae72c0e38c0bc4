"""Learning curves: alignment, axes, labels, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.command import call
from helpers.result_files import DATA, ResultWriter
from rlkit.errors import ConfigError
from rlkit.report.curves import aligned, carried
from rlkit.report.groups import grouped
from rlkit.report.plot import draw, thousands
from rlkit.report.results import find


def test_a_key_that_nobody_logged(write_result: ResultWriter, tmp_path: Path) -> None:
    out = tmp_path / "p.png"
    done = call("plot", write_result("a.json"), "--y", "loss/nothing", "--out", out)
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


def test_without_evaluations_the_returns_of_training_are_drawn(write_result: ResultWriter, tmp_path: Path) -> None:
    """evaluation.every is 0 by default."""
    training = {"env_steps": [100, 200], "episode/return": [1.0, 2.0]}
    file = write_result("a.json", training=training)
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "curve": []}))
    done = call("plot", file, "--out", tmp_path / "p.svg")
    assert done.exit_code == 0, done.output
    assert "so the curves are episode/return" in done.output
    assert "return of training episodes" in (tmp_path / "p.svg").read_text()


def test_a_curve_of_zeros_is_seen(write_result: ResultWriter) -> None:
    axis = draw(grouped(find([write_result("a.json", score=0)]).results)).figure.axes[0]
    low, high = axis.get_ylim()
    assert low < 0 < high


def test_curves_are_aligned_on_what_the_runs_share() -> None:
    one = (np.array([1.0, 2, 3]), np.array([1.0, 2, 3]))
    longer = (np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, 40]))
    curve = aligned([one, longer])
    assert curve.x.tolist() == [1, 2, 3]
    assert curve.values.tolist() == [[1, 2, 3], [10, 20, 30]]
    apart = aligned([one, (np.array([0.5, 1.5, 3.5]), np.array([5.0, 15, 35]))])
    assert (apart.x[0], apart.x[-1]) == (1, 3)
    assert apart.values[:, -1].tolist() == [3, 30]


def test_a_run_that_stopped_when_solved_keeps_its_last_score(write_result: ResultWriter) -> None:
    stop = {"key": "return_mean", "at_least": 1.0, "times": 1}
    for seed, end in ((0, 200), (1, 300), (2, 400)):  # seed 2 is not solved within 400 steps
        curve = [{"env_steps": step, "return_mean": float(seed)} for step in range(100, end + 1, 100)]
        write_result(f"{seed}.json", seed=seed, env_steps=end, curve=curve, config__train__steps=400,
                     config__evaluation__stop=stop, training={"env_steps": [100, end], "loss/td": [1, 2]})  # fmt: skip
    group = grouped(find([write_result.folder]).results)
    drawn = draw(group)
    line, dots = drawn.figure.axes[0].lines
    assert line.get_xdata().tolist() == [100, 200, 300, 400]
    assert line.get_ydata().tolist() == [1, 1, 1, 1]
    assert dots.get_xdata().tolist() == [200, 300]
    assert "keeps its last score" in drawn.figure.get_supxlabel()
    assert drawn.notes == []
    loss = draw(group, y="loss/td")  # no score: nobody knows how it would have gone on
    assert loss.figure.axes[0].lines[0].get_xdata()[-1] == 200
    assert "ends with its shortest run" in loss.figure.get_supxlabel()


def test_scores_are_carried_no_further_than_the_shortest_run_that_went_on() -> None:
    short, long, third = ((np.arange(1.0, n), np.arange(1.0, n) * 10) for n in (3, 6, 5))
    assert [x[-1] for x, _ in carried([short, long, third], [True, True, True])] == [5, 5, 5]
    pairs = carried([short, long, third], [True, False, False])
    assert [x.tolist() for x, _ in pairs] == [[1, 2, 3, 4], [1, 2, 3, 4, 5], [1, 2, 3, 4]]
    assert pairs[0][1].tolist() == [10, 20, 20, 20]


def test_a_picture_says_what_it_shows(write_result: ResultWriter, tmp_path: Path) -> None:
    for seed in range(4):
        write_result(f"in/a{seed}.json", score=seed, seed=seed)
    write_result("in/b.json", protocol__environment="Acrobot-v1")
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


def test_long_labels_stay_inside_their_panel(write_result: ResultWriter, tmp_path: Path) -> None:
    for rate, game in ((0.01, "Acrobot-v1"), (0.02, "Acrobot-v1"), (0.01, "CartPole-v1"), (0.02, "CartPole-v1")):
        write_result(
            f"{rate}{game}.json",
            config__agent__learning_rate=rate,
            config__agent__replay_capacity=int(rate * 1e6),
            config__agent__updates_per_step=rate,
            config__train__steps=int(rate * 1e6),
            protocol__environment=game,
        )
    picture = draw(grouped(find([tmp_path]).results))
    picture.save([tmp_path / "p.png"])  # lays it out
    for axis in picture.figure.axes:
        legend = axis.get_legend().get_window_extent()
        assert axis.bbox.x0 <= legend.x0 < legend.x1 <= axis.bbox.x1


def test_x_can_be_frames_or_hours(write_result: ResultWriter) -> None:
    group = grouped(find([write_result("a.json", frame_skip=4, train_seconds=3600 * 50_000)]).results)
    assert draw(group, "frames").figure.axes[0].lines[0].get_xdata().tolist() == [400, 800, 1200]
    assert draw(group, "hours").figure.axes[0].lines[0].get_xdata().tolist() == [100, 200, 300]
    timed = grouped(find([write_result("c.json", train_processor_seconds=3600 * 5_000)]).results)
    assert draw(timed, "processor_hours").figure.axes[0].lines[0].get_xdata().tolist() == [10, 20, 30]
    without = write_result("b.json", seed=1)
    content = json.loads(without.read_text())
    del content["train_seconds"]
    without.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="how long it took"):
        draw(grouped(find([without]).results), "hours")


def test_all_curves_that_match_in_one_picture(write_result: ResultWriter) -> None:
    table = {"env_steps": [100, 200], "goal_share/key": [0.5, 0.25], "goal_share/door": [0.5, 0.75], "goals": [1, 2]}
    group = grouped(find([write_result("0.json", training=table)]).results)
    lines = draw(group, y="goal_share/*").figure.axes[0].lines
    assert [(line.get_label(), line.get_ydata().tolist()) for line in lines] == [
        ("door, 1 seed", [0.5, 0.75]),
        ("key, 1 seed", [0.5, 0.25]),
    ]
    with pytest.raises(ConfigError, match=r"no run has share/\*"):
        draw(group, y="share/*")


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_pictures_are_the_same_bytes_at_every_call(write_result: ResultWriter, tmp_path: Path, ending: str) -> None:
    path = write_result("a.json")
    for name in ("one", "two"):
        assert call("plot", path, "--out", tmp_path / f"{name}.{ending}").exit_code == 0
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def test_axis_numbers() -> None:
    assert [thousands(value) for value in (0, 500, 20_000, 1_500_000, -3000)] == ["0", "500", "20k", "1.5M", "-3k"]


def test_dopamines_curves_are_drawn_over_the_frames_that_the_runs_cover(write_result: ResultWriter) -> None:
    curve = [{"env_steps": step, "return_mean": 1.0} for step in (1_000_000, 5_000_000)]
    path = write_result("a.json", protocol__environment="ALE/Pong-v5", env_steps=5_000_000, frame_skip=4, curve=curve)
    (axis,) = draw(grouped(find([path]).results), "frames", against="dopamine").figure.axes
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["dqn, 1 seed", *(f"Dopamine {name}" for name in ("C51", "DQN", "IQN", "QR-DQN", "Rainbow"))]
    assert axis.lines[2].get_ydata()[0] == pytest.approx(-2.5, abs=0.05)
    assert axis.get_xlim() == (0, pytest.approx(22e6))
    low, high = axis.get_ylim()
    assert all(low < line.get_ydata()[0] < high for line in axis.lines), "a curve lies outside of the panel"
