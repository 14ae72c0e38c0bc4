"""Grouping runs and naming the groups."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.result_files import DATA, ResultWriter
from rlkit.errors import ConfigError
from rlkit.report.compare import compare
from rlkit.report.groups import grouped
from rlkit.report.results import find


def test_the_committed_files_of_both_libraries_are_groups_under_one_protocol() -> None:
    groups = grouped(find([DATA / "minatar-breakout"]).results)
    assert [group.label for group in groups] == ["rlkit dqn", "Stable-Baselines3"]
    assert groups[0].protocol.key() == groups[1].protocol.key()
    for path in (DATA / "minatar-breakout").glob("*.json"):
        content = json.loads(path.read_text())
        (run,) = (run for group in groups for run in group.runs if run.path == path)
        assert run.score == pytest.approx(np.mean(content["final"]["returns"]))


def test_groups_are_named_by_what_differs(write_result: ResultWriter) -> None:
    for seed in (10, 2):
        write_result(f"a{seed}.json", seed=seed)
        write_result(f"b{seed}.json", seed=seed, config__agent__n_step=3, config__agent__learning_rate=0.01)
    groups = grouped(find([write_result("a2.json", seed=2).parent]).results)
    assert [group.label for group in groups] == ["learning rate 0.0005, n step 5", "learning rate 0.01, n step 3"]
    assert [run.seed for run in groups[0].runs] == [2, 10]


def test_how_runs_were_measured_is_in_a_label_only_where_nothing_else_tells(write_result: ResultWriter) -> None:
    folder = write_result("a.json").parent
    write_result("b.json", config__agent__n_step=3, config__evaluation__every=1000)
    assert [group.label for group in grouped(find([folder]).results)] == ["n step 5", "n step 3"]
    write_result("c.json", config__agent__n_step=3, config__evaluation__every=2000)
    labels = [group.label for group in grouped(find([folder]).results)]
    assert labels == [
        "n step 5, evaluation every 5,000",
        "n step 3, evaluation every 1,000",
        "n step 3, evaluation every 2,000",
    ]


def test_grouping_by_a_key_pools_the_rest(write_result: ResultWriter) -> None:
    folder = write_result("a.json").parent
    write_result("b.json", config__agent__learning_rate=0.01)
    write_result("c.json", config__agent__n_step=1)
    groups = grouped(find([folder]).results, ["agent.n_step"])
    assert [(group.label, len(group.runs)) for group in groups] == [("n step 5", 2), ("n step 1", 1)]
    with pytest.raises(ConfigError, match=r"agent\.nstep.*agent\.n_step"):
        grouped(find([folder]).results, ["agent.nstep"])


def test_a_label_leaves_out_what_a_config_lacks(write_result: ResultWriter) -> None:
    write_result("0.json", config__agent__network__normalisation="layer")
    write_result("1.json", config__agent__network__normalisation="group", config__agent__network__groups=2)
    folder = write_result("2.json").parent
    by = ("agent.network.normalisation", "agent.network.groups")
    labels = [group.label for group in grouped(find([folder]).results, by)]
    assert labels == ["normalisation layer", "normalisation group, groups 2", "no normalisation"]


def test_a_table_that_some_configs_lack_is_named_once(write_result: ResultWriter) -> None:
    """Not key by key; of its keys those that differ, also within a table inside it."""
    write_result("0.json")
    write_result("1.json", config__agent__bonus={"beta": 0.1, "of": "state"})
    write_result("2.json", config__agent__bonus={"beta": 0.2, "of": "state"})
    folder = write_result(
        "3.json", config__agent__bonus={"beta": 0.2, "of": "state", "optimism": {"scale": 1.0}}
    ).parent
    groups = grouped(find([folder]).results)
    assert [group.label for group in groups] == [
        "no bonus",
        "bonus, no optimism, beta 0.1",
        "bonus, no optimism, beta 0.2",
        "bonus, optimism",
    ]
    assert [(group.kind, group.unlabelled) for group in groups if group.unlabelled] == [("bonus, optimism", "beta 0.2")]
    assert "Not in the labels: beta 0.2 (all of: bonus, optimism)." in compare(groups)[-1].notes


def test_the_budget_is_in_a_label_only_where_nothing_else_tells(write_result: ResultWriter) -> None:
    """The table has a column for it."""
    write_result("a.json")
    folder = write_result("b.json", config__agent__n_step=3, config__train__steps=9).parent
    assert [group.label for group in grouped(find([folder]).results)] == ["n step 5", "n step 3"]
    write_result("c.json", config__agent__n_step=3, config__train__steps=10)
    assert grouped(find([folder]).results)[-1].label == "n step 3, steps 10"


def test_a_key_that_did_not_exist_has_its_default(write_result: ResultWriter) -> None:
    """Else a new option would part the files of before from those of after."""
    path = write_result("old.json", seed=1)
    content = json.loads(path.read_text())
    del content["config"]["agent"]["network"]["dueling"], content["config"]["evaluation"]["num_envs"]
    path.write_text(json.dumps(content))
    write_result("new.json", seed=2)
    (group,) = grouped(find([path.parent]).results)
    assert len(group.runs) == 2
