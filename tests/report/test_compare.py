"""Tables of scores and differences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from helpers.command import call
from helpers.result_files import ResultWriter
from rlkit.report.compare import compare
from rlkit.report.groups import grouped
from rlkit.report.plot import draw
from rlkit.report.results import find


def test_protocols_and_environments_are_never_averaged(write_result: ResultWriter) -> None:
    folder = write_result("a.json", score=1).parent
    content = json.loads((folder / "a.json").read_text())
    content["protocol"]["sticky actions"] = "0.25"
    (folder / "b.json").write_text(json.dumps(content))
    write_result("c.json", protocol__environment="Acrobot-v1", seed=2)
    tables = compare(grouped(find([folder]).results))
    assert [table.title for table in tables] == ["CartPole-v1", "Acrobot-v1"]  # nor is a difference taken
    assert [row[1] for row in tables[0].rows] == ["1", "1"]
    assert [row[0] for row in tables[0].rows] == ["dqn [1]", "dqn [2]"]
    assert not tables[0].notes
    text = "\n".join(tables[1].notes)
    assert "2 environments" in text
    assert "Protocol of all: time limit: 500 steps; evaluation: " in text
    assert "Protocol CartPole-v1 [1]: sticky actions: unstated." in text
    assert "Protocol CartPole-v1 [2]: sticky actions: 0.25." in text
    assert text.count("time limit") == 1
    assert text.count("unstated") == 1, "said of Acrobot, which no result knows with sticky actions"


def test_differences_are_taken_under_each_protocol(write_result: ResultWriter) -> None:
    for name, size, rate, score in (("a", 10, 0.1, 1), ("b", 20, 0.1, 2), ("c", 10, 0.2, 3), ("d", 20, 0.2, 6)):
        path = write_result(
            f"{name}.json", protocol__arguments=f"size={size}", config__agent__learning_rate=rate, score=score
        )
    _, small, large = compare(grouped(find([path.parent]).results))
    assert small.title.endswith("[1]: against learning rate 0.1")
    assert large.title.endswith("[2]: against learning rate 0.1")
    assert small.rows == [("learning rate 0.2", "2.00", "200", "1.00")]
    assert large.rows == [("learning rate 0.2", "4.00", "200", "1.00")]


def test_a_table_never_goes_without_its_protocol(write_result: ResultWriter) -> None:
    (table,) = compare(grouped(find([write_result("a.json")]).results))
    for words in ("CartPole-v1", "time limit: 500 steps", "evaluation epsilon: 0", "parameters: final;", "50,000"):
        assert words in table.markdown()


def test_a_score_of_the_last_sixth_of_training(write_result: ResultWriter) -> None:
    """Runs of 600 steps: the parts that end at 550 and 600 count, one of them without an episode in seed 1."""
    late = [(4.0, 6.0), (None, 7.0), (8.0, 10.0)]
    for seed, values in enumerate(late):
        table = {"env_steps": [100, 500, 550, 600], "episode/return": [900.0, 100.0, *values]}
        folder = write_result(f"{seed}.json", seed=seed, env_steps=600, training=table).parent
    output = call("compare", folder, "--y", "episode/return").output
    assert "7.00" in output  # the mean of 5, 7 and 9
    assert "score: mean episode/return over the last sixth of training" in output
    assert "episodes" not in output.split("Protocol")[1]
    write_result("3.json", seed=3, env_steps=600, training={})
    result = call("compare", folder, "--y", "episode/return")
    assert result.exit_code == 2
    assert "3.json has no episode/return in the last sixth of its training" in result.output


def test_human_normalised_scores_over_games(write_result: ResultWriter) -> None:
    """Breakout at the human's score and at twice the way; Pong at the random one's: 1, 2 and 0, 0."""
    folder = write_result("a.json", protocol__environment="ALE/Breakout-v5", score=30.5, seed=0).parent
    write_result("b.json", protocol__environment="ALE/Breakout-v5", score=59.3, seed=1)
    for seed in (0, 1, 2):
        write_result(f"c{seed}.json", protocol__environment="ALE/Pong-v5", score=-20.7, seed=seed)
    table = compare(grouped(find([folder]).results))[-1]
    assert table.title.startswith("human-normalised")
    assert table.rows == [("dqn", "2", "2", "0.50", "0.75", "0.75", "0.50")]
    text = "\n".join(table.notes)
    assert "the first 2 seeds" in text
    assert "van Hasselt et al. 2016" in text


def test_groups_are_compared_over_games(write_result: ResultWriter) -> None:
    """The second group's scores are a human's where the first one's are random, in one of two games."""
    for game, low, high in (("Breakout", 1.7, 30.5), ("Pong", -20.7, -20.7)):
        for rate, score in ((0.1, low), (0.2, high)):
            environment = f"ALE/{game}-v5"
            path = write_result(
                f"{game}{rate}.json",
                protocol__environment=environment,
                config__agent__n_step=int(rate * 10),
                score=score,
            )
    *_, table = compare(grouped(find([path.parent]).results))
    assert table.title == "human-normalised: against n step 1"
    assert table.rows == [("n step 2", "0.50", "", "0.75")]


def test_dopamine_beside_a_run_at_equal_frames(write_result: ResultWriter) -> None:
    curve = [{"env_steps": 2_000_000, "return_mean": 20.0}, {"env_steps": 2_600_000, "return_mean": 99.0}]
    path = write_result(
        "a.json", protocol__environment="ALE/Breakout-v5", env_steps=3_000_000, frame_skip=4, curve=curve
    )
    (_, table, *_) = compare(grouped(find([path]).results), "dopamine")
    assert table.rows[0] == ("dqn", "10 million", "1", "20.0")  # the last evaluation at or before 10 million frames
    assert ("Dopamine DQN (CNN)", "10 million", "5", "41.0") in table.rows
    assert len(table.rows) == 1 + 5
    assert "sticky actions" in "\n".join(table.notes)


def test_below_ten_million_frames_there_is_no_reference(write_result: ResultWriter) -> None:
    path = write_result("a.json", protocol__environment="ALE/Breakout-v5", env_steps=50_000, frame_skip=4)
    done = call("compare", path, "--against", "dopamine")
    assert "0.2 million frames, and Dopamine's curves begin at 10 million: there is no reference" in done.output
    assert "no curve for CartPole-v1" in call("compare", write_result("b.json"), "--against", "dopamine").output


def test_processor_time_stands_beside_the_clocks(write_result: ResultWriter) -> None:
    for seed, times in enumerate([(90.0, 30.0), (600.0, 60.0), (120.0, 45.0)]):
        path = write_result(f"{seed}.json", seed=seed, train_seconds=times[0], train_processor_seconds=times[1])
    (table,) = compare(grouped(find([path.parent]).results))
    assert table.rows[0][-1] == "2.0 min (processor: 45 s)"


def test_the_full_table_has_mean_and_median(write_result: ResultWriter) -> None:
    for seed, score in enumerate((1.0, 2.0, 6.0)):
        path = write_result(f"{seed}.json", seed=seed, score=score)
    short, full = (call("compare", path.parent, *more).output for more in ((), ("--full",)))
    assert "1.00 to 6.00" in short
    assert "mean [95%]" not in short
    assert "median [95%]" in full


def test_a_rule_that_no_run_met_says_nothing(write_result: ResultWriter) -> None:
    """Neither "0 of 1" nor what solved means: the score may be high all the same."""
    stop = {"key": "return_mean", "at_least": 1.0, "times": 1000}
    path = write_result("a.json", config__evaluation__stop=stop)
    (table,) = compare(grouped(find([path]).results))
    assert "solved, ended at step" not in table.columns
    assert "Solved" not in table.markdown()


def test_groups_have_other_labels_on_request(write_result: ResultWriter) -> None:
    write_result("a.json")
    path = write_result("b.json", config__agent__n_step=3)
    done = call("compare", path.parent, "--label", "long", "--label", "short")
    assert "against long" in done.output
    assert "n step" not in done.output
    done = call("compare", path.parent, "--label", "long")
    assert done.exit_code == 2
    assert "--label: 1 given, and there are 2 groups: 'n step 5', 'n step 3'" in done.output.replace("\n", " ")


def test_a_single_seed_has_no_interval_and_it_is_said(write_result: ResultWriter) -> None:
    done = call("compare", write_result("a.json", score=7))
    assert "No interval from fewer than 3 seeds." in done.output
    assert "[7" not in done.output


def test_runs_that_ended_early_are_finished_and_averaged(tmp_path: Path) -> None:
    """Solved at different steps: one group all the same, the steps in the table, and the scores go on."""
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
    assert table.rows[0][2] == f"{len(early)} of 4, {np.median(early):.0f}"
    assert table.notes[-1].startswith("Solved: return_mean reached 30 in an evaluation; the run then ended.")
    picture = draw(groups)
    line, dots = picture.figure.axes[0].lines
    assert line.get_xdata()[-1] == max(ends)
    assert dots.get_xdata().tolist() == sorted(early)


def test_zero_scores_say_what_training_reached(write_result: ResultWriter) -> None:
    for seed, found in enumerate(([0.0, 0.25], [0.0, 0.0])):
        table = {"env_steps": [300, 600], "episode/return": found}
        folder = write_result(
            f"{seed}.json", seed=seed, env_steps=600, training=table, final={"returns": [0.0, 0.0], "lengths": [1, 1]}
        ).parent
    (table,) = compare(grouped(find([folder]).results))
    assert any(
        "All scores are 0, although training episodes reached a reward: dqn (mean return up to 0.25 in" in line
        for line in table.notes
    )
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text())
        content["training"]["episode/return"] = [0.0, 0.0]
        path.write_text(json.dumps(content))
    (table,) = compare(grouped(find([folder]).results))
    assert not any("All scores are 0" in line for line in table.notes)
