"""The random play before training: what it sees, warns of and refuses."""

from __future__ import annotations

import random
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import rlkit
from rlkit.config.load import override, resolve
from rlkit.errors import SpecError, WorkerError
from rlkit.runs.trial import Trial, trial

TABLES: dict[str, Any] = {
    "env": {"name": "gymnasium", "id": "Played-v0"},
    "agent": {"name": "random"},
    "train": {"steps": 60, "sinks": []},
    "evaluation": {"final_episodes": 2},
}


class Played(gym.Env):
    """Does what its `fault` says."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        if fault == "picture":
            self.observation_space = gym.spaces.Box(0, 255, (16, 16, 3), np.uint8)
        elif fault in ("codes", "grey"):
            self.observation_space = gym.spaces.Box(0, 255, (5, 5), np.uint8)
        else:
            self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2)

    def look(self) -> Any:
        if self.fault == "picture":
            return np.full((16, 16, 3), 200, np.uint8)
        if self.fault in ("codes", "grey"):
            return self.np_random.integers(0, 7 if self.fault == "codes" else 90, (5, 5), np.uint8)
        if self.fault == "global":
            return np.array([random.random(), 0], np.float32)
        if self.fault == "blind":
            return np.zeros(2, np.float32)
        return self.np_random.uniform(-1, 1, 2).astype(np.float32) * (3 if self.fault == "outside" else 1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=None if self.fault == "seed" else seed)
        self.time = 0
        return self.look(), {}

    def step(self, action: int) -> tuple[Any, Any, bool, bool, dict]:
        self.time += 1
        if self.fault == "slow":
            time.sleep(0.03)
        if self.fault == "crash":
            raise ZeroDivisionError
        if self.fault == "nan" and self.time == 3:
            return np.full(2, np.nan, np.float32), 0.0, False, False, {}
        reward = np.ones(2) if self.fault == "vector" else float(action)
        return self.look(), reward, self.fault == "end", self.fault == "limit" and self.time == 4, {}


@pytest.fixture(autouse=True)
def _registered() -> None:
    if "Played-v0" not in gym.registry:
        gym.register("Played-v0", Played, max_episode_steps=10)


def config(fault: str = "", **values: Any) -> Any:
    return resolve("test", override(TABLES, {"env.kwargs": {"fault": fault}, **values}))


def played(fault: str = "", steps: int = 40, seconds: float = 5.0) -> Trial:
    return trial(config(fault), steps, seconds)


def test_what_a_sound_environment_shows() -> None:
    seen = played()
    assert seen.notes(config()) == []
    seen.check(config())
    rows = seen.rows()
    assert rows["played"] == "40 random steps, twice from one seed"
    assert rows["episode ends"] == "4: 0 terminated, 4 truncated, 10 to 10 steps"
    assert rows["rewards"].startswith("0 to 1; ")
    assert "resuming is exact" in rows["seeds"]
    assert "4 to 4 steps" in played("limit").rows()["episode ends"]


@pytest.mark.parametrize(
    ("fault", "note"),
    [
        ("seed", "equal seeds gave different episodes .at step 1."),
        ("global", "equal seeds gave different episodes .at step 1."),
        ("blind", "all observations of 40 random steps are equal"),
        ("outside", r"observations from -2\.\d+ to 2\.\d+ lie outside their space Box"),
    ],
)
def test_what_may_be_wrong_is_said(fault: str, note: str) -> None:
    notes = played(fault).notes(config(fault))
    assert len(notes) == 1
    with pytest.warns(UserWarning, match=note):
        warnings.warn(notes[0], stacklevel=1)


def test_rewards_of_several_numbers_are_refused_and_crashes_keep_their_traceback() -> None:
    with pytest.raises(SpecError, match=r"env: .*a reward has shape \(2,\)"):
        played("vector")
    with pytest.raises(WorkerError, match="ZeroDivisionError"):
        played("crash")
    with pytest.raises(SpecError, match="env: environment 0 returned the observation nan"):
        played("nan")


def test_colour_pictures_are_not_taken_for_codes() -> None:
    tables = override(TABLES, {"env.kwargs.fault": "picture", "agent": {"name": "dqn"}})
    seen = trial(resolve("test", tables), 5, 5.0)
    with pytest.raises(SpecError, match=r'have values up to 200, so they are pictures.*input = "pixels"'):
        seen.check(resolve("test", tables))
    seen.check(resolve("test", override(tables, {"agent.network.input": "pixels"})))


def test_slow_environments_are_given_up_on() -> None:
    began = time.perf_counter()
    seen = played("slow", steps=200, seconds=0.3)
    assert time.perf_counter() - began < 2
    assert 1 < seen.first.steps < 20
    assert seen.second.steps > 0
    assert seen.differs_at is None
    assert "then gave up because steps are slow" in seen.rows()["played"]


def test_random_generators_are_left_alone() -> None:
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    played("global")
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


@pytest.mark.parametrize(("fault", "said"), [("codes", True), ("grey", False), ("", False)])
def test_a_grid_that_may_hold_codes_is_said(fault: str, said: bool) -> None:
    notes = played(fault).notes(config(fault, agent={"name": "ppo"}))
    assert any("of shape (5, 5) are whole numbers up to 6, and enter as amounts" in note for note in notes) == said


@pytest.mark.parametrize(
    ("fault", "steps", "discount", "said"),
    [("limit", 40, 1.0, True), ("", 5, 1.0, True), ("limit", 40, 0.99, False), ("end", 40, 1.0, False)],
)
def test_a_discount_of_1_without_ends_is_said(fault: str, steps: int, discount: float, said: bool) -> None:
    """Truncation is no end: values are bootstrapped through it. In five steps no episode ends at all."""
    values = {"agent": {"name": "ppo", "discount": discount}}
    notes = played(fault, steps).notes(config(fault, **values))
    expected = f"agent.discount is 1, and in {steps} random steps no episode terminated"
    assert any(expected in note for note in notes) == said


def test_a_run_that_never_learns_is_said_before_it_starts() -> None:
    values = {"agent": {"name": "dqn", "learning_starts": 60}}
    assert "agent.learning_starts is 60" in played().notes(config(**values))[0]
    assert played().notes(config(**values, **{"train.steps": 61})) == []


def test_training_warns_and_the_protocol_says_that_seeds_are_ignored(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="equal seeds gave different episodes"):
        run = rlkit.train(config("seed"), run=tmp_path / "run")
    said = "2 separate episodes, different at each evaluation: the environment ignores seeds"
    assert run.result()["protocol"]["evaluation"] == said  # type: ignore[index]
    assert rlkit.evaluate_run(run.path).protocol["evaluation"] == said
    sound = rlkit.train(config(), run=tmp_path / "sound")
    assert sound.result()["protocol"]["evaluation"] == "2 separate episodes, fixed seeds"  # type: ignore[index]


def test_training_refuses_before_it_writes(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a reward has shape"):
        rlkit.train(config("vector"), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
