"""The search with Optuna: its space, its study that several processes share, its trials."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlkit.config.load import load
from rlkit.errors import ConfigError
from rlkit.files import FileLock, Taken
from rlkit.runs.directory import RunDirectory
from rlkit.runs.launcher import Job
from rlkit.runs.runner import Runner
from rlkit.runs.sweep import Range, SearchConfig
from rlkit.runs.tuning.search import Search
from rlkit.runs.tuning.space import Space
from rlkit.runs.tuning.study import Study, Trial
from rlkit.runs.tuning.tuner import Curve, Tuner, Work, objective_of

optuna = pytest.importorskip("optuna", reason="needs the extra `tune`: run `make install`")
KEYS: dict[str, Any] = {
    "agent.learning_rate": Range(low=1e-5, high=1e-2, log=True),
    "agent.n_step": Range(low=1, high=5),
    "agent.bonus": [False, {"type": "rnd", "beta": {"low": 0.1, "high": 1.0}}, {"type": "count", "beta": [0.5, 2.0]}],
    "network.hidden": [[64], [64, 64]],
}


def test_a_table_among_the_choices_brings_its_own_parameters() -> None:
    space = Space.of(KEYS)
    fixed = {"agent.learning_rate": 1e-3, "agent.n_step": 3, "network.hidden": "[64, 64]"}
    chosen = {**fixed, "agent.bonus": "rnd", "agent.bonus=rnd.beta": 0.25}
    point = space.suggest(optuna.trial.FixedTrial(chosen))
    assert point["agent.bonus"] == {"type": "rnd", "beta": 0.25}
    assert point["network.hidden"] == [64, 64]
    assert space.suggest(optuna.trial.FixedTrial({**fixed, "agent.bonus": "false"}))["agent.bonus"] is False
    other = {**fixed, "agent.bonus": "count", "agent.bonus=count.beta": 2.0}
    assert space.suggest(optuna.trial.FixedTrial(other))["agent.bonus"] == {"type": "count", "beta": 2.0}
    assert space.conditional


def test_corners_hold_every_bound_and_every_choice() -> None:
    corners = list(Space.of(KEYS).corners())
    assert corners[0] == {"agent.learning_rate": 1e-5, "agent.n_step": 1, "agent.bonus": False, "network.hidden": [64]}
    assert [point["agent.bonus"] for point in corners if point["agent.bonus"]] == [
        {"type": "rnd", "beta": 0.1},
        {"type": "rnd", "beta": 1.0},
        {"type": "count", "beta": 0.5},
        {"type": "count", "beta": 2.0},
    ]
    assert len(corners) == 1 + 1 + 1 + 4 + 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1, 1.0], "twice"),
        ([{"type": "rnd", "beta": []}], "agent.x.beta has no values"),
        ([{"type": "rnd", "beta": {"low": 2, "high": 1}}], "agent.x.beta: low 2 must be below high 1"),
        ([{"type": "rnd", "beta": {"low": 0, "hig": 1}}], "hig"),
    ],
)
def test_choices_that_are_none(values: list[Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Space.of({"agent.x": values})


def test_objectives() -> None:
    config = load("cartpole", {"train.steps": 100, "evaluation.every": 20, "evaluation.stop.at_least": 5.0})
    result = {
        "final": {"returns": [0.0, 1.0, 2.0, 30.0]},
        "env_steps": 60,
        "curve": [{"env_steps": 20, "return_mean": 1.0}, {"env_steps": 60, "return_mean": 5.0}],
    }
    assert objective_of("final", result, config) == 8.25
    assert objective_of("area", result, config) == pytest.approx((20 * 1 + 40 * 3 + 40 * 5) / 100)
    assert objective_of("steps_to_solve", result, config) == 60
    result["curve"] = result["curve"][:1]  # type: ignore[index]
    assert objective_of("steps_to_solve", result, config) == 100


def test_an_evaluation_is_read_once_and_half_a_line_later(tmp_path: Path) -> None:
    curve, file = Curve(tmp_path), tmp_path / "metrics.jsonl"
    curve.refresh()
    file.write_text('{"env_steps": 5, "evaluation/return_mean": 1.5}\n{"env_steps": 10, "evalua')
    curve.refresh()
    assert curve.points == {5: 1.5}
    with file.open("a") as more:
        more.write('tion/return_mean": 2.5}\n{"env_steps": 11, "loss/td": 1}\n')
    curve.refresh()
    assert curve.points == {5: 1.5, 10: 2.5}


def opened(folder: Path, storage: str | None = None, **changes: Any) -> Study:
    keys = {"agent.n_step": Range(low=1, high=50)}
    search = SearchConfig.model_validate({"trials": 20, "sampler": "random", "keys": keys, "prune_from": 0, **changes})
    config = load("cartpole", {"train.steps": 100, "evaluation.every": 10})
    return Study.opened(storage, config, search, Space.of(search.keys), folder, {"keys": list(search.keys)})


def test_a_dead_process_leaves_its_trial_to_another(tmp_path: Path) -> None:
    """The lock of a trial is what tells that its process lives; a run that still goes on keeps the trial, too."""
    first, second = opened(tmp_path / "s"), opened(tmp_path / "s")
    taken, other = first.next(), second.next()
    assert taken is not None
    assert other is not None
    assert (taken.number, other.number) == (0, 1)
    assert taken.point != other.point, "the sampler's seed is one of the trial"
    assert list(second.elsewhere()) == [0, 1]
    taken.poor(10, 1.0)
    taken.lock.release()  # as the system does when a process dies
    run = tmp_path / "s" / "trial0000-seed0"
    run.mkdir()
    with FileLock(run / "lock"):
        third = second.next()
        assert third is not None
        assert third.number == 2
    again = second.next()
    assert again is not None
    assert (again.number, again.point, again.reported) == (0, taken.point, 10)
    second.tell(again, 3.5)
    second.tell(other, None, pruned=True)
    second.tell(third, None, error="no memory")
    assert [(each.number, each.state, each.value) for each in first.done()[:1]] == [(0, "complete", 3.5)]
    assert [each.state for each in first.done()] == ["complete", "pruned", "fail"]
    assert first.done()[2].error == "no memory"
    assert first.best() == first.done()[0]
    assert first.point_of(0) == taken.point


def test_no_more_trials_than_wanted(tmp_path: Path) -> None:
    study = opened(tmp_path / "s", trials=2)
    trials = [study.next() for _ in range(3)]
    assert [trial is not None for trial in trials] == [True, True, False]


def test_a_grid_is_tried_once(tmp_path: Path) -> None:
    study = opened(tmp_path / "s", sampler="grid", trials=None, keys={"a": [1, 2], "b": ["x", "y"]})
    points = []
    while (trial := study.next()) is not None:
        points.append(trial.point)
        study.tell(trial, 0.0)
    assert points == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]
    with pytest.raises(ConfigError, match='a is a range; sampler = "grid"'):
        opened(tmp_path / "t", sampler="grid", keys={"a": Range(low=1, high=2)})


def test_the_storage_of_another_search_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "s")
    with pytest.raises(ConfigError, match=r"study 's' in .* is of another search: keys was"):
        opened(tmp_path / "s", keys={"other": [1, 2]})


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("{}/none/study.journal", "there is no folder"),
        ("{}/a.txt", "cannot be used: "),
        ("sqlite:////nowhere/at/all.db", "nowhere/at/all.db cannot be used: "),
        ("postgresql://me:secret@nowhere/db", "cannot be used: "),
    ],
)
def test_a_storage_that_cannot_be_used(tmp_path: Path, storage: str, words: str) -> None:
    (tmp_path / "a.txt").write_text("no journal\n")
    with pytest.raises(ConfigError, match=words) as error:
        opened(tmp_path / "s", storage.format(tmp_path))
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_database_is_a_storage(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    study = opened(tmp_path / "s", url)
    trial = study.next()
    assert trial is not None
    study.tell(trial, 1.0)
    assert opened(tmp_path / "s", url).best() == study.best()


class Played:
    """A process that writes one evaluation at each look, until it is signalled or at its end."""

    def __init__(self, job: Job, value: float) -> None:
        self.job, self.value, self.steps, self.signals = job, value, 0, list[int]()
        job.run.mkdir(parents=True)

    def poll(self) -> int | None:
        if self.signals:
            return 143
        if self.steps == 100:
            curve = [{"env_steps": step, "return_mean": self.value} for step in range(10, 101, 10)]
            content = {"env_steps": 100, "curve": curve, "final": {"returns": [self.value]}}
            (self.job.run / "result.json").write_text(json.dumps(content))
            return 0
        self.steps += 10
        with (self.job.run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"env_steps": self.steps, "evaluation/return_mean": self.value}) + "\n")
        return None

    def send_signal(self, number: int) -> None:
        self.signals.append(number)


class Player:
    """Starts `Played` runs, worth the trial's setting."""

    def __init__(self, value: Callable[[Job], float]) -> None:
        self.value, self.started = value, dict[str, Played]()

    def limit(self, job: Job) -> int:
        return 2

    def start(self, job: Job, *, resume: bool) -> Played:
        self.started[job.name] = Played(job, self.value(job))
        return self.started[job.name]

    def close(self) -> None: ...


def test_poor_trials_are_stopped_and_the_best_is_found(place: Path) -> None:
    """Eight settings, each worth itself, the last ones the worst; pruned ones get one SIGTERM and lose checkpoints."""
    values = [0.95, 0.94, 0.93, 0.92, 0.91, 0.05, 0.04, 0.99]
    (place / "eps.toml").write_text(
        'config = "small.toml"\nseeds = "0-1"\n[set]\nevaluation.every = 10\ntrain.steps = 100\n'
        f'[search]\nsampler = "grid"\nprune_from = 0\n[search.keys]\nevaluation.epsilon = {values}\n'
    )
    search = Search.opened(place / "eps.toml", None)
    player = Player(lambda job: job.config.evaluation.epsilon)
    told: list[tuple[int, float | None]] = []

    def ended(trial: Trial, value: float | None, work: Work) -> None:
        told.append((trial.number, value))
        assert work.pruned == (value is None)

    Tuner(search.study, Runner(player, every=0), search.jobs, ended).run(lambda others: None)
    assert told[:5] == [(number, pytest.approx(values[number])) for number in range(5)]
    assert told[5:] == [(5, None), (6, None), (7, pytest.approx(0.99))]
    assert player.started["trial0005-seed1"].signals == [signal.SIGTERM]
    assert player.started["trial0005-seed0"].steps < 100
    best = search.study.best()
    assert best is not None
    assert best.number == 7
    trained = load(search.write_best(best))
    assert (trained.label, trained.evaluation.epsilon, trained.train.seed) == ("eps-best", 0.99, 0)
    assert [job.config.train.seed for job in search.confirmation(2)] == [2, 3]


def test_a_folder_of_other_settings_ends_no_trial(place: Path) -> None:
    """It has the name of a trial's run: neither resumed nor counted, and the trial is tried again when it is moved."""
    (place / "eps.toml").write_text(
        'config = "small.toml"\nseeds = 0\n[set]\nevaluation.every = 10\ntrain.steps = 100\n'
        '[search]\nsampler = "grid"\npruner = "none"\n[search.keys]\nevaluation.epsilon = [0.5]\n'
    )
    search = Search.opened(place / "eps.toml", None)
    strange = place / "runs" / "eps" / "trial0000-seed0"
    RunDirectory.create(strange, load("small.toml", {"evaluation.epsilon": 0.25}), {})
    player = Player(lambda job: 1.0)
    tuner = Tuner(search.study, Runner(player, every=0), search.jobs, lambda *ended: None)
    with pytest.raises(
        ConfigError, match=r"trial0000-seed0 is of another experiment: evaluation.epsilon was 0.25, is 0.5"
    ):
        tuner.run(lambda others: None)
    assert not player.started
    shutil.rmtree(strange)
    tuner.run(lambda others: None)
    assert [(each.state, each.value) for each in search.study.done()] == [("complete", 1.0)]


def test_a_lock_names_its_holder(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock"), pytest.raises(Taken, match=r"pid \d+ on "):
        FileLock(tmp_path / "lock")
    (tmp_path / "lock").write_text("pid 1 on elsewhere")
    with pytest.warns(UserWarning, match="left by pid 1 on elsewhere"):
        FileLock(tmp_path / "lock").release()
    FileLock(tmp_path / "lock").release()
