"""One learner, many actors: every step of every environment is observed once, whatever dies."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rlkit
from rlkit.config.load import load
from rlkit.config.tables import ActorsConfig
from rlkit.errors import ConfigError
from rlkit.metrics.line_log import read_rows
from rlkit.runs.cluster import on_ray
from rlkit.runs.cluster.actors import Playing, RemoteRollout
from rlkit.runs.runner import Lost
from rlkit.types import Observation, StepBatch

SPEC: Any = None  # which the joining does not look at


def step(env: int, number: int, generation: int, first: bool, ended: bool) -> StepBatch:
    """The `number`-th step of an environment, told by its observation."""

    def seen(value: int, first: bool) -> Observation:
        return Observation(np.array([[env, generation, value]]), {"at": np.array([value])}, np.array([first]))

    flag, one = np.array([ended]), np.ones(1, np.float32)
    return StepBatch(seen(number, first), np.array([number]), one, one, flag, np.zeros(1, np.bool_),
                     seen(number + 1, False), {"x": np.array([env])})  # fmt: skip


class Here:
    """Actors in this process; the requests in `deaths` are lost, with their actor."""

    def __init__(self, count: int, deaths: set[int]) -> None:
        self.deaths, self.requests = deaths, 0
        self.generation = [-1] * count
        self.number = [0] * count
        self.fresh = [True] * count
        self.epsilons: dict[int, float] = {}

    def begin(self, number: int) -> None:
        self.generation[number] += 1
        self.number[number], self.fresh[number] = 0, True

    def put(self, state: Any) -> Any:
        return dict(state)

    def request(self, number: int, state: Any, steps: int) -> Any:
        self.requests += 1
        self.epsilons[number] = state.get("epsilon")
        return number, self.generation[number], steps, self.requests in self.deaths

    def collect(self, request: Any) -> list[StepBatch]:
        number, generation, steps, dies = request
        if dies or generation != self.generation[number]:
            raise Lost("it was killed")
        made = []
        for _ in range(steps):
            at = self.number[number]
            ended = at % 5 == 4
            made.append(step(number, at, generation, self.fresh[number], ended))
            self.number[number], self.fresh[number] = at + 1, ended
        return made

    def close(self) -> None: ...


class Learner:
    updates = 0

    def __init__(self, epsilon: float | None = None) -> None:
        self.epsilon = epsilon

    def state_dict(self) -> dict[str, Any]:
        return {"policy": {"epsilon": self.epsilon, "updates": self.updates}}


def rows(rollout: RemoteRollout, learner: Any, count: int) -> list[StepBatch]:
    found = []
    for _ in range(count):
        rollout.act(learner)
        rollout.send()
        found.append(rollout.receive())
        rollout.reset_ended()
        learner.updates += 1
    return found


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 3), push=st.integers(1, 4), deaths=st.sets(st.integers(1, 40), max_size=6))
def test_each_step_is_seen_once_and_an_episode_never_continues_in_another(
    count: int, push: int, deaths: set[int]
) -> None:
    ages: list[float] = []
    rollout = RemoteRollout(
        Here(count, deaths),
        ActorsConfig(count=count, push_every=push),
        SPEC,
        lambda m: ages.append(float(m["time/policy_age"])),  # type: ignore[arg-type]
    )
    learner: Any = Learner()
    rollout.start(learner)
    seen = rows(rollout, learner, 30)
    for env in range(count):
        before = [tuple(row.before.obs[env].tolist()) for row in seen]
        after = [tuple(row.after.obs[env].tolist()) for row in seen]
        first = [bool(row.before.first[env]) for row in seen]
        ended = [bool(row.ended[env]) for row in seen]
        assert len(set(before)) == len(before), "each step once"
        assert all(each[0] == env for each in before), "of its own environment"
        assert first[0]
        for at in range(1, len(seen)):
            assert first[at] == ended[at - 1], "an episode begins where another ended, and nowhere else"
            assert first[at] or before[at] == after[at - 1], "and goes on where it was"
    assert len(ages) == 30
    assert min(ages) >= 0
    assert max(ages) <= 4 * push + 1, "two chunks are outstanding, one is being used, and a push may have just passed"


def test_each_actor_has_an_epsilon_of_its_own() -> None:
    fleet = Here(3, set())
    rollout = RemoteRollout(fleet, ActorsConfig(count=3, epsilon=0.4), SPEC, lambda metrics: None)
    rollout.start(Learner(0.7))  # type: ignore[arg-type]
    assert fleet.epsilons == pytest.approx({0: 0.4, 1: 0.4**4.5, 2: 0.4**8})
    rollout = RemoteRollout(fleet, ActorsConfig(count=3), SPEC, lambda metrics: None)
    rollout.start(Learner(0.7))  # type: ignore[arg-type]
    assert set(fleet.epsilons.values()) == {0.7}


class Processes:
    """Real actors of a config, in this process."""

    def __init__(self, config: Any) -> None:
        self.config, self.made = config, dict[int, Playing]()

    def begin(self, number: int) -> None:
        self.made[number] = Playing(self.config, number, 0)

    def put(self, state: Any) -> Any:
        from rlkit.testing.states import state_hash

        state_hash(state)  # plain data
        return state

    def request(self, number: int, state: Any, steps: int) -> Callable[[], list[StepBatch]]:
        return lambda: self.made[number].play(state, steps)

    def collect(self, request: Any) -> list[StepBatch]:
        played: list[StepBatch] = request()
        return played

    def close(self) -> None:
        for actor in self.made.values():
            actor.close()


COUNTING = {"agent.name": "dqn", "agent.learning_starts": 20, "agent.bonus": {"type": "count", "beta": 0.1},
            "env.id": "FrozenLake-v1"}  # fmt: skip
ROLLOUTS = {"agent.name": "ppo", "agent.rollout_steps": 20}


@pytest.mark.parametrize("agent", [COUNTING, ROLLOUTS], ids=["dqn with counts", "ppo"])
def test_agents_learn_from_actors(place: Any, monkeypatch: pytest.MonkeyPatch, agent: dict[str, Any]) -> None:
    """The learner alone counts visits: as many as there were steps."""
    monkeypatch.setattr("rlkit.runs.cluster.on_ray.RayFleet", Processes)
    values = {"train.num_envs": 4, "train.actors": {"count": 2, "push_every": 3}, "train.sinks": [], **agent}
    run = rlkit.train("small.toml", values, run="run")
    found = read_rows(run.metrics)
    assert run.info()["approximate"] == [0], "the order of data is not fixed, and the run says so"
    assert any(row.get("time/policy_age", 0) > 0 for row in found)
    assert any("loss" in key for row in found for key in row)
    if "agent.bonus" in agent:
        state = run.checkpoints.load(200, "agent/bonus")
        counts = [array for name, array in flat_arrays(state) if "count" in name and array.dtype.kind in "iu"]
        assert any(200 <= array.sum() <= 300 for array in counts), [name for name, _ in flat_arrays(state)]


def flat_arrays(state: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(state, dict):
        return [pair for key, value in state.items() for pair in flat_arrays(value, f"{path}/{key}")]
    return [(path, np.asarray(state))] if hasattr(state, "dtype") else []


def test_a_run_with_actors_goes_on_with_new_episodes(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlkit.runs.cluster.on_ray.RayFleet", Processes)
    values = {"train.num_envs": 2, "train.actors.count": 2, "train.sinks": []}
    run = rlkit.train("small.toml", values, run="run")
    with pytest.warns(UserWarning, match="marked as approximate"):
        rlkit.resume(run.path, 300)
    assert run.info()["approximate"] == [0, 200]


def test_environments_are_shared_out_evenly() -> None:
    with pytest.raises(ConfigError, match=r"train.num_envs = 3 must be a multiple of train.actors.count = 2"):
        load("cartpole", {"train.num_envs": 3, "train.actors.count": 2})


@pytest.mark.slow
@pytest.mark.extra
@pytest.mark.parametrize("what", ["actor", "node"])
def test_training_survives_a_killed_actor_and_a_killed_node(place: Any, cluster: Any, what: str) -> None:
    """On real processes: another actor takes its place, and the learner has each environment's steps one by one."""
    import ray

    made: list[tuple[int, int]] = []
    begin = on_ray.RayFleet.begin

    def watched(fleet: Any, number: int) -> None:
        begin(fleet, number)
        made.append((number, fleet._generation[number]))  # noqa: SLF001

    steps: list[StepBatch] = []

    def on_step(trainer: Any, step: StepBatch) -> None:
        steps.append(step)
        if len(steps) == 300:
            if what == "node":
                cluster.add_node(num_cpus=1)
                cluster.remove_node(cluster.workers[0], allow_graceful=False)
            else:
                fleet = trainer.rollout._fleet  # noqa: SLF001
                ray.kill(fleet._made[1])  # noqa: SLF001

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_ray.RayFleet, "begin", watched)
        actors = {"count": 2, "cpus": 1, "push_every": 4, "address": cluster.address}
        run = rlkit.train("small.toml", {"train.num_envs": 2, "train.steps": 2000, "train.actors": actors,
                                         "agent": {"name": "dqn", "learning_starts": 100}, "train.sinks": []},
                          run="run", on_step=on_step)  # fmt: skip
    assert run.result() is not None
    assert len(steps) == 1000
    assert made[:2] == [(0, 0), (1, 0)]
    assert len(made) > 2, "an actor was started again"
    for env in range(2):
        for before, after in pairwise(steps):
            begins, ended = bool(after.before.first[env]), bool(before.ended[env])
            assert begins == ended
            assert begins or np.array_equal(after.before.obs[env], before.after.obs[env])
