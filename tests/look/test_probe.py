"""Probes: read what is there, at chance where nothing is, on held-out episodes of real policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import rlkit
from helpers.command import call
from rlkit.config.load import resolve
from rlkit.look.playing import load_for_looking
from rlkit.look.probe import Decoded, classes, compact, decode, kept_policies, layers_of, probe, table_of
from rlkit.look.samples import Samples, collect
from rlkit.types import Observation

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def doorkey() -> tuple[Any, Samples]:
    loaded = load_for_looking(ROOT / "pretrained" / "doorkey")
    return loaded, collect(loaded, 12, 0.2, 300)


def made(label: NDArray[np.int64], episodes: int = 30) -> Samples:
    count = len(label)
    observation = Observation(np.zeros((count, 1)), {}, np.zeros(count, np.bool_))
    return Samples(observation, ({},), {"label": label}, np.arange(count) * episodes // count)


def test_labels_are_the_states_of_the_environment(doorkey: tuple[Any, Samples]) -> None:
    """The kind that is carried shows in the view: the agent's own cell has it."""
    samples = doorkey[1]
    assert set(samples.labels) >= {"x", "y", "direction", "carried kind", "door 0"}
    carried = samples.observation.obs[:, 3, 6, 0] == 5  # a key
    assert ((samples.labels["carried kind"] == 5) == carried).all()
    assert 0 < carried.mean() < 1
    assert len(np.unique(samples.episode)) == 12


def test_what_is_carried_is_read_and_shuffled_labels_are_not(doorkey: tuple[Any, Samples]) -> None:
    loaded, samples = doorkey
    features = layers_of(loaded.policy, samples)["2 linear 128"]
    assert decode(features, samples, ["carried kind"])["carried kind"][0] > 0.95
    rng = np.random.default_rng(0)
    shuffled = {"label": rng.permutation(samples.labels["carried kind"])}
    accuracy, low, high, chance = decode(
        features, Samples(samples.observation, samples.states, shuffled, samples.episode), ["label"]
    )["label"]
    assert accuracy < chance + 0.1
    assert low <= accuracy <= high


def test_each_layer_is_what_follows_it(doorkey: tuple[Any, Samples]) -> None:
    loaded, samples = doorkey
    layers = layers_of(loaded.policy, samples)
    assert list(layers) == ["input", "1 linear 128", "2 linear 128", "3 linear 8"]
    assert layers["1 linear 128"].min() >= 0, "after the activation"
    _, values = loaded.policy.action_probabilities(samples.observation, {})
    assert np.allclose(layers["3 linear 8"][:, 7], values, atol=1e-5)
    assert layers["input"].shape == (300, 4 * 49)


def test_probes_do_not_see_the_episodes_that_they_are_scored_on() -> None:
    """A feature that tells episodes apart, and nothing else, cannot be of use."""
    rng = np.random.default_rng(1)
    label = np.repeat(rng.integers(0, 2, 30), 20)
    episode = np.repeat(np.arange(30), 20)
    features = np.eye(30, dtype=np.float32)[episode] + rng.normal(0, 0.01, (600, 30)).astype(np.float32)
    accuracy = decode(features, made(label), ["label"])["label"][0]
    assert accuracy < 0.9


def test_wide_features_keep_all_that_a_linear_classifier_uses() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 400)).astype(np.float32)
    train, test = compact(rows[:30], rows[30:])
    assert train.shape[1] <= 30
    standard = (rows[:30] - rows[:30].mean(0)) / rows[:30].std(0)
    other = (rows[30:] - rows[:30].mean(0)) / rows[:30].std(0)
    assert np.allclose(train @ train.T, standard @ standard.T, rtol=1e-3, atol=0.05)
    assert np.allclose(test @ train.T, other @ standard.T, rtol=1e-3, atol=0.05)


def test_many_values_become_eight_classes() -> None:
    assert classes(np.array([7, 3, 3, 9])).tolist() == [1, 0, 0, 2]
    found = classes(np.arange(800))
    assert np.bincount(found).tolist() == [100] * 8


def test_the_table_has_trained_and_untrained_side_by_side() -> None:
    found = [Decoded("observation", None, "observation", "x", 0.5, 0, 1, 0.3),
             Decoded("untrained", None, "input", "x", 0.25, 0, 1, 0.3),
             Decoded("trained", 10, "input", "x", 0.1, 0, 1, 0.3),
             Decoded("trained", 20, "input", "x", 0.75, 0, 1, 0.3)]  # fmt: skip
    assert table_of(found, 20) == (["label", "chance", "observation", "input"], [["x", "0.30", "0.50", "0.75 (0.25)"]])


def test_from_the_command_line(tmp_path: Path) -> None:
    run = ROOT / "pretrained" / "doorkey"
    words = ("probe", run, "--episodes", 6, "--samples", 90, "--out", tmp_path / "p.png", "--json", tmp_path / "p.json")
    done = call(*words, "--label", "door 0")
    assert done.exit_code == 0, done.output
    assert "door 0" in done.output
    found = json.loads((tmp_path / "p.json").read_text())["probes"]
    assert {each["network"] for each in found} == {"observation", "untrained", "trained"}
    assert (tmp_path / "p.png").stat().st_size < 100_000
    assert "there are: x, y, direction" in call(*words, "--label", "nothing").output.replace("\n", " ")
    assert "has no signals" in call("probe", ROOT / "pretrained" / "cartpole").output.replace("\n", " ")


def test_the_checkpoints_of_a_run_beside_each_other(tmp_path: Path) -> None:
    """Accuracies by training step, each of that checkpoint's own network; the table has the newest."""
    sea = {"name": "gymnasium", "id": "rlkit/DeepSea-v0", "kwargs": {"size": 5}, "signals": "envs.deep_sea:state"}
    agent = {"name": "dqn", "learning_starts": 20, "learning_rate": 0.01, "network": {"hidden": [4]}}
    train = {"steps": 400, "checkpoint_every": 50, "keep_checkpoints": 9, "sinks": []}
    tables = {"env": sea, "agent": agent, "train": train, "evaluation": {"final_episodes": 1}}
    run = rlkit.train(resolve("sea", tables), run=tmp_path / "sea").path
    assert kept_policies(run, 3) == ["50", "350", "last"]
    words = ("probe", run, "--episodes", 12, "--samples", 60, "--checkpoints", 3, "--label", "column")
    done = call(*words, "--out", tmp_path / "p.png", "--json", tmp_path / "p.json")
    assert done.exit_code == 0, done.output
    found = [Decoded(**each) for each in json.loads((tmp_path / "p.json").read_text())["probes"]]
    trained = [each for each in found if each.network == "trained"]
    assert {each.env_steps for each in trained} == {50, 350, 400}
    policies = [load_for_looking(run, which) for which in ("50", "350", "last")]
    samples = collect(policies[-1], 12, 0.2, 60, [each.policy for each in policies[:-1]])
    for which, loaded in enumerate(policies):
        for layer, features in layers_of(loaded.policy, samples, which).items():
            accuracy = decode(features, samples, ["column"])["column"][0]
            same = [each for each in trained if (each.env_steps, each.layer) == (loaded.env_steps, layer)]
            assert [each.accuracy for each in same] == [accuracy]
    with Image.open(tmp_path / "p.png") as by_step, Image.open(alone(run, tmp_path)) as one:
        assert by_step.width > 1.5 * one.width, "a column by training step"


def alone(run: Path, folder: Path) -> Path:
    """The picture of the newest policy only."""
    out = folder / "one.png"
    words = ("--checkpoints", 1, "--episodes", 12, "--samples", 60, "--label", "column")
    assert call("probe", run, *words, "--out", out, "--json", folder / "one.json").exit_code == 0
    return out


def test_too_few_episodes_are_refused(doorkey: tuple[Any, Samples]) -> None:
    loaded, samples = doorkey
    one = Samples(samples.observation, samples.states, samples.labels, samples.episode * 0)
    with pytest.raises(Exception, match="at least 3 episodes"):
        probe([loaded, loaded], one, ["x"], lambda done, total: None)
