"""Environments that crash are made anew, and a run with crashes can be resumed exactly."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import rlkit
from rlkit.config.load import override, resolve
from rlkit.environments import reset
from rlkit.errors import ResetCrash, WorkerError
from rlkit.look.played_again import logged_parts, play_back
from rlkit.metrics.line_log import read_rows
from rlkit.seeding import Streams
from rlkit.testing.states import state_hash
from rlkit.training.evaluation import evaluate
from rlkit.types import ActorOutput, Mode, Observation
from rlkit.vector.driver import VectorEnvironments
from rlkit.vector.environment import describe

ID, MORTAL = "Fragile-v0", "Mortal-v0"


class Fragile(gym.Env):
    """Each step crashes with a small probability, drawn from its own generator.

    A reset of a used environment crashes if `starts`, one without a seed with the probability `resets`.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    open = 0

    def __init__(self, at: int | None = None, starts: bool = False, resets: float = 0.0) -> None:
        self.at, self.starts, self.steps, self.resets = at, starts, 0, resets
        Fragile.open += 1

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        chance = 1.0 if seed is not None else self.np_random.random()
        super().reset(seed=seed)
        if chance < self.resets or (self.starts and self.steps):
            raise OSError("the simulator does not answer")
        return self.np_random.normal(size=2).astype(np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        self.steps += 1
        if self.steps == self.at or (self.at is None and self.np_random.random() < 0.04):
            raise RuntimeError("segmentation fault in the physics")
        return self.np_random.normal(size=2).astype(np.float32) + action, float(action), False, False, {}

    def close(self) -> None:
        Fragile.open -= 1


@pytest.fixture(autouse=True)
def _registered() -> None:
    Fragile.open = 0
    if ID not in gym.registry:
        gym.register(ID, Fragile, max_episode_steps=25)
        gym.register(MORTAL, Mortal, max_episode_steps=25, kwargs={"end": "exit", "by_chance": True})


def fragile() -> gym.Env:
    return gym.make(ID, at=3, disable_env_checker=True)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.filterwarnings("ignore:environment")
def test_the_episode_is_truncated_at_the_last_observation(mode: Any) -> None:
    environments = VectorEnvironments(fragile, describe(fragile, 2), mode, restarts=2)
    everyone, seeds = np.ones(2, np.bool_), np.array([1, 2])
    try:
        first = environments.reset(everyone, seeds)
        for _ in range(2):
            environments.send(np.array([1, 0]))
            before = environments.receive()
            assert before.crashed is None
        environments.send(np.array([1, 0]))
        step = environments.receive()
        assert step.crashed is not None
        assert step.crashed.tolist() == step.truncated.tolist() == [True, True]
        assert step.reward.tolist() == [0.0, 0.0]
        assert step.discount.tolist() == [1.0, 1.0]
        assert np.array_equal(step.after.obs, before.after.obs)
        assert np.array_equal(environments.reset(everyone, seeds).obs, first.obs)
        for _ in range(2):
            environments.send(np.array([1, 0]))
            environments.receive()
        environments.send(np.array([1, 0]))
        with pytest.raises(WorkerError, match=r"segmentation fault(.|\n)*crashed 3 times; env.restarts is 2"):
            environments.receive()
    finally:
        environments.close()
    assert Fragile.open == 0 or mode == "async"


ENDS: dict[str, Any] = {
    "exit": lambda: os._exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(60),
}


class Mortal(Fragile):
    """Loses its process: with the action 1, or by chance where Fragile raises."""

    def __init__(self, end: str, by_chance: bool = False, resets: float = 0.0) -> None:
        super().__init__(at=None if by_chance else -1, resets=resets)
        self.end = end

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        try:
            return super().reset(seed=seed)
        except OSError:
            ENDS[self.end]()
            raise

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        if action == 1 and self.at is not None:
            ENDS[self.end]()
        try:
            return super().step(action)
        except RuntimeError:
            ENDS[self.end]()
            raise


@pytest.mark.parametrize("end", ENDS)
def test_a_lost_process_is_a_crash_of_its_environment_alone(end: str) -> None:
    def mortal() -> gym.Env:
        return Mortal(end)

    spec, both, seeds = describe(mortal, 2), np.ones(2, np.bool_), np.array([1, 2])
    limit = 1.0 if end == "hang" else None
    environments = VectorEnvironments(mortal, spec, "async", step_timeout=limit, restarts=1)
    alone = VectorEnvironments(mortal, spec)  # the same without the crash
    how = {"exit": r"died \(exit code 3\)", "kill": r"died \(killed by SIGKILL\)", "hang": "not answered for 1"}[end]
    try:
        first = environments.reset(both, seeds)
        alone.reset(both, seeds)
        steps = []
        for actions in ([0, 0], [1, 0]):
            environments.send(np.array(actions))
            alone.send(np.zeros(2, np.int64))
            with nullcontext() if actions[0] == 0 else pytest.warns(UserWarning, match=f"environment 0.*{how}.*1 of 1"):
                steps.append((environments.receive(), alone.receive()))
        (before, _), (step, other) = steps
        assert step.crashed is not None
        assert step.crashed.tolist() == step.truncated.tolist() == [True, False]
        assert np.array_equal(step.after.obs, [before.after.obs[0], other.after.obs[1]])
        again = environments.reset(np.array([True, False]), np.array([1, -1]))
        assert np.array_equal(again.obs[0], first.obs[0])
        environments.send(np.array([1, 0]))
        with pytest.raises(WorkerError, match=rf"environment 0.*{how}(.|\n)*crashed 2 times; env.restarts is 1"):
            environments.receive()
    finally:
        environments.close()
        alone.close()


@pytest.mark.filterwarnings("ignore:environment")
def test_a_process_lost_between_steps_is_noticed_at_the_next_call() -> None:
    def mortal() -> gym.Env:
        return Mortal("exit")

    environments = VectorEnvironments(mortal, describe(mortal, 2), "async", restarts=9)
    try:
        first = environments.reset(np.ones(2, np.bool_), np.array([1, 2]))
        _kill_worker(0)
        assert np.array_equal(environments.reset(np.ones(2, np.bool_), np.array([1, 2])).obs, first.obs)
        _kill_worker(1)
        environments.reset(np.array([True, False]), np.array([3, -1]))  # the lost one is not reset
        environments.send(np.zeros(2, np.int64))
        step = environments.receive()
        assert step.crashed is not None
        assert step.crashed.tolist() == [False, True]
        assert np.array_equal(step.after.obs[1], first.obs[1])
        _kill_worker(0)
        with pytest.raises(ResetCrash, match=r"environment 0: its worker process died \(killed by SIGKILL\)") as lost:
            environments.reset(np.ones(2, np.bool_), np.array([-1, 2]))  # its generator is lost
        assert lost.value.crashed.tolist() == [True, False]
        assert np.array_equal(environments.reset(lost.value.crashed, np.array([1, -1])).obs[0], first.obs[0])
    finally:
        environments.close()


def _kill_worker(index: int) -> None:
    workers = {each.name: each for each in multiprocessing.active_children()}
    names = [name for name in workers if name.startswith("Worker<AsyncVectorEnv>")]
    workers[sorted(names)[index]].kill()


TABLES: dict[str, Any] = {
    "env": {"name": "gymnasium", "id": ID, "restarts": 1000},
    "agent": {"name": "dqn", "learning_starts": 20, "batch_size": 4, "network": {"hidden": [4]}},
    "train": {"steps": 400, "num_envs": 2, "sinks": [], "log_every": 100, "reseed_after": 60, "checkpoint_every": 190},
    "evaluation": {"final_episodes": 3},
}


@pytest.mark.parametrize("crash", ["raises", "exits"])
@pytest.mark.filterwarnings("ignore:environment")
def test_a_run_with_crashes_is_resumed_exactly(crash: str, tmp_path: Path) -> None:
    tables = override(TABLES, {"env.kwargs.resets": 0.4})
    if crash == "exits":
        tables = override(tables, {"env.id": MORTAL, "env.mode": "async"})
    whole = rlkit.train(resolve("fragile", tables), run=tmp_path / "whole")
    part = rlkit.train(resolve("fragile", override(tables, {"train.steps": 200})), run=tmp_path / "part")
    assert part.checkpoints.load(200, "tape")["restarts"] > 0
    part = rlkit.resume(part.path, 400)
    assert part.info()["approximate"] == []
    untimed = {"seconds": 0, "processor_seconds": 0, "config": None}
    one, other = ({**run.checkpoints.load(400), **untimed} for run in (whole, part))
    assert one["tape"]["restarts"] > 4
    assert state_hash(one) == state_hash(other)
    assert {**part.result(), **untimed}["final"] == whole.result()["final"]  # type: ignore[dict-item,index]
    assert read_rows(whole.metrics)[-2]["progress/restarts"] == one["tape"]["restarts"]


@pytest.mark.filterwarnings("ignore:environment")
def test_playing_the_log_back_never_meets_a_crash(tmp_path: Path) -> None:
    config = resolve("fragile", override(TABLES, {"env.kwargs.resets": 0.4}))
    run = rlkit.train(config, run=tmp_path / "run")
    environments = VectorEnvironments(
        lambda: gym.make(ID, resets=0.4, disable_env_checker=True), describe(fragile, 2), restarts=1000
    )
    crashed_in_part = []
    receive = environments.receive

    def watched() -> Any:
        step = receive()
        crashed_in_part.append(step.crashed)
        return step

    environments.receive = watched  # type: ignore[method-assign]

    def on_step(row: int, step: Any, active: Any) -> None:
        crashed = crashed_in_part[-1]
        assert crashed is None or not any(crashed[env] for env, part in enumerate(active) if part is not None)

    found = logged_parts(run, config)
    assert len(found) > 6
    play_back(environments, found, on_step)
    environments.close()


@pytest.mark.filterwarnings("ignore:environment")
def test_a_reset_that_crashes_is_tried_once_more() -> None:
    def make() -> gym.Env:
        return gym.make(ID, at=9, starts=True, max_episode_steps=5, disable_env_checker=True)

    everyone = np.ones(1, np.bool_)
    for restarts, seed in ((3, 4), (0, 4), (3, -1)):
        environments = VectorEnvironments(make, describe(make, 1), restarts=restarts)
        first = environments.reset(everyone, np.array([4]))
        environments.send(np.array([0]))
        environments.receive()
        if restarts:
            new = reset(environments, everyone, np.array([seed]), lambda _: np.array([4]))
            assert np.array_equal(new.obs, first.obs)
            assert new.first.tolist() == [True]
        else:
            with pytest.raises(WorkerError, match="does not answer"):
                environments.reset(everyone, np.array([seed]))
        environments.close()


class Ones:
    """A policy that always takes action 1."""

    def initial_state(self, num_envs: int) -> dict:
        return {}

    def act(self, observation: Observation, state: dict, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return ActorOutput(np.ones(len(observation.obs), np.int64), {}, {})

    def load_policy_state(self, state: dict) -> None: ...


@pytest.mark.filterwarnings("ignore:environment")
def test_a_crashed_episode_has_no_score() -> None:
    def make() -> gym.Env:
        return gym.make(ID, disable_env_checker=True)

    environments = VectorEnvironments(make, describe(make, 2), restarts=1000)
    scores = evaluate(Ones(), environments, Streams(0), 20, 0.0)
    assert scores.returns.tolist() == [25.0] * 20
    assert scores.lengths.tolist() == [25] * 20
    environments.close()
