"""The tape brings real environments back, and notices when it did not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from rlkit import plugins
from rlkit.config.load import resolve
from rlkit.environments import Environments
from rlkit.errors import RunError, WorkerError
from rlkit.seeding import Streams
from rlkit.training.action_log import ActionLog, RowHash
from rlkit.training.parts import Notable, parts
from rlkit.training.rollout import Rollout
from rlkit.types import ActorOutput, Mode, Observation, Purpose, RawStep

WORLDS = {
    "cartpole": {"id": "CartPole-v1"},
    "async": {"id": "CartPole-v1", "mode": "async"},
    "taxi": {"id": max(id for id in gym.registry if id.startswith("Taxi-v"))},  # v3 in the lowest Gymnasium
    "minatar": {"id": "MinAtar/Seaquest-v1", "register": ["minatar.gym:register_envs"], "max_episode_steps": 300},
    "minigrid": {
        "id": "MiniGrid-Dynamic-Obstacles-6x6-v0",
        "register": ["minigrid"],
        "wrappers": ["minigrid.wrappers:ImgObsWrapper"],
    },
}


class Uniform:
    """Uniformly random actions and an actor state that counts."""

    def __init__(self, num_actions: int) -> None:
        self.num_actions = num_actions

    def initial_state(self, num_envs: int) -> dict:
        return {"age": np.zeros(num_envs, dtype=np.int64)}

    def act(self, observation: Observation, state: dict, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        age = np.where(observation.first, 0, state["age"] + 1)
        return ActorOutput(rng.integers(0, self.num_actions, len(age)), {"age": age}, {})

    def load_policy_state(self, state: dict) -> None:
        pass


class Worlds:
    """Makes environments, and a rollout with its log over them."""

    def __init__(self) -> None:
        self.made: list[Environments] = []

    def make(self, world: str, num_envs: int) -> Environments:
        tables = {"env": {"name": "gymnasium", **WORLDS[world]}, "agent": {"name": "random"}, "train": {"steps": 1}}
        config = resolve(world, tables)
        self.made.append(plugins.load(plugins.ENVS, "gymnasium").make(config.env, num_envs, Purpose.TRAIN))
        return self.made[-1]

    def begin(
        self, world: str, num_envs: int, reseed_after: int, folder: Path | None = None, limit: int | None = None
    ) -> tuple[Rollout, ActionLog, Uniform]:
        environments = self.make(world, num_envs)
        tape = ActionLog(Streams(1), num_envs, reseed_after, folder, limit)
        rollout = Rollout(environments, tape, np.random.default_rng(3), Mode.EXPLORE)
        return rollout, tape, Uniform(environments.spec.num_actions)


@pytest.fixture
def worlds() -> Iterator[Worlds]:
    """Closes what it made: tests that look for a process's children would take workers left behind for their own."""
    worlds = Worlds()
    yield worlds
    for environments in worlds.made:
        environments.close()


def advance(rollout: Rollout, policy: Uniform, steps: int) -> list[tuple]:
    rows = []
    for _ in range(steps):
        rollout.act(policy)
        rollout.send()
        step = rollout.receive()
        rollout.reset_ended()
        rows.append((step.before.obs.tobytes(), step.action.tobytes(), step.reward.tobytes(), step.ended.tobytes()))
    return rows


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("num_envs", "steps"), [(1, 0), (1, 437), (3, 437)])
def test_played_back_environments_go_on_identically(worlds: Worlds, world: str, num_envs: int, steps: int) -> None:
    rollout, tape, policy = worlds.begin(world, num_envs, reseed_after=50)
    rollout.start(policy)
    advance(rollout, policy, steps)
    states = rollout.state_dict(), tape.state_dict()
    expected = advance(rollout, policy, 150)

    again, other_tape, policy = worlds.begin(world, num_envs, reseed_after=50)
    other_tape.load_state_dict(states[1])
    assert again.resume(states[0], other_tape)
    assert advance(again, policy, 150) == expected
    assert str(other_tape.state_dict()) == str(tape.state_dict())


@pytest.mark.parametrize("change", ["action", "seed", "obs", "reset obs", "reward", "end"])
def test_a_difference_anywhere_is_noticed(worlds: Worlds, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout, tape, policy = worlds.begin("cartpole", 2, reseed_after=10_000)
    rollout.start(policy)
    advance(rollout, policy, 200)
    states = rollout.state_dict(), tape.state_dict()
    again, other, policy = worlds.begin("cartpole", 2, reseed_after=10_000)
    if change == "action":
        states[1]["actions"][77, 1] ^= 1
    if change == "seed":
        states[1]["resets"][0] += 1
    other.load_state_dict(states[1])
    environments = worlds.made[-1]
    receive, reset, calls = environments.receive, environments.reset, iter(range(10_000))

    def wrong_receive():
        step = receive()
        if next(calls) == 77:
            {"obs": step.after.obs, "reward": step.reward}.get(change, np.zeros((2, 1)))[1] += 1e-6
            if change == "end" and not step.terminated[1]:
                step.truncated[1] = True
        return step

    def wrong_reset(mask, seeds):
        observation = reset(mask, seeds)
        if change == "reset obs" and not mask.all():
            observation.obs[mask] += 1e-6
        return observation

    monkeypatch.setattr(environments, "receive", wrong_receive)
    monkeypatch.setattr(environments, "reset", wrong_reset)
    assert not again.resume(states[0], other)


@pytest.mark.parametrize("world", ["cartpole", "async"])
def test_environments_that_fail_while_played_back_begin_anew(
    worlds: Worlds, world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout, tape, policy = worlds.begin(world, 2, reseed_after=10_000)
    rollout.start(policy)
    advance(rollout, policy, 50)
    states = rollout.state_dict(), tape.state_dict()
    again, other, policy = worlds.begin(world, 2, reseed_after=10_000)
    other.load_state_dict(states[1])
    receive = worlds.made[-1].receive

    def failing() -> RawStep:
        receive()
        raise WorkerError("environment 1 failed")

    with monkeypatch.context() as patch:
        patch.setattr(worlds.made[-1], "receive", failing)
        assert not again.resume(states[0], other)
    again.start(policy)
    advance(again, policy, 50)


def test_an_action_that_the_environment_lacks_is_refused(worlds: Worlds) -> None:
    rollout, tape, policy = worlds.begin("cartpole", 2, reseed_after=10_000)
    rollout.start(policy)
    advance(rollout, policy, 50)
    states = rollout.state_dict(), tape.state_dict()
    states[1]["actions"][30, 1] = 7
    again, other, _ = worlds.begin("cartpole", 2, reseed_after=10_000)
    other.load_state_dict(states[1])
    with pytest.raises(RunError, match="the action log is damaged: action 7, of an environment with 2 actions"):
        again.resume(states[0], other)


def test_closed_tapes_replay_their_episodes(worlds: Worlds, tmp_path: Path) -> None:
    rollout, tape, policy = worlds.begin("minatar", 2, reseed_after=60, folder=tmp_path)
    rollout.start(policy)
    rows = advance(rollout, policy, 500)
    closed = list(parts(tmp_path))
    assert len(closed) >= 6
    environments = worlds.make("minatar", 1)
    everyone = np.array([True])
    for part in closed:
        env, first = part.env, part.first
        observation = environments.reset(everyone, np.array([part.seed]))
        check = RowHash(1)
        check.add_observation(observation.obs, np.array([0]))
        actions = np.load(part.path)
        assert len(actions) >= 60
        for row, action in enumerate(actions):
            whole = np.frombuffer(rows[first + row][0], dtype=np.bool_).reshape(2, -1)
            assert (observation.obs.reshape(-1) == whole[env]).all()
            environments.send(np.array([action]))
            step = environments.receive()
            check.add_step(step)
            ended = step.terminated | step.truncated
            observation = step.after
            if ended.any() and row + 1 < len(actions):
                observation = environments.reset(ended, np.array([-1]))
                check.add_observation(observation.obs, np.array([0]))
        assert check.value == [part.check]
    assert len(tape.state_dict()["actions"]) < 500


def kept(rows: list[tuple], num_envs: int) -> list[tuple[int, int]]:
    """(environment, row) at the end of each episode to keep: records, and the first one with a positive reward."""
    reward, ended = (np.array([np.frombuffer(row[2 + place], kind) for row in rows])
                     for place, kind in enumerate((np.float32, np.bool_)))  # fmt: skip
    begin, best, rewarded, found = [0] * num_envs, -np.inf, False, []
    for row, env in itertools.product(range(len(rows)), range(num_envs)):
        if ended[row, env]:
            episode = reward[begin[env] : row + 1, env]
            if episode.sum() > best or (not rewarded and (episode > 0).any()):
                found.append((env, row))
            best, rewarded = max(best, episode.sum()), rewarded or bool((episode > 0).any())
            begin[env] = row + 1
    return found


@pytest.mark.parametrize(("world", "limit"), [("minatar", None), ("minatar", 5_000), ("cartpole", 1_500)])
def test_old_parts_are_removed_but_for_notable_ones(
    worlds: Worlds, world: str, limit: int | None, tmp_path: Path
) -> None:
    """A resumed log goes on removing as one that was not interrupted."""
    rollout, tape, policy = worlds.begin(world, 2, 60, tmp_path, limit)
    rollout.start(policy)
    rows = advance(rollout, policy, 1200)
    states = rollout.state_dict(), tape.state_dict()
    rollout, tape, policy = worlds.begin(world, 2, 60, tmp_path, limit)
    tape.load_state_dict(states[1])
    assert rollout.resume(states[0], tape)
    rows += advance(rollout, policy, 1200)

    found = list(parts(tmp_path))
    lengths = {part: len(np.load(part.path)) for part in found}
    notable = kept(rows, 2)
    for part in found:
        inside = [(env, row) for env, row in notable if env == part.env and 0 <= row - part.first < lengths[part]]
        assert part.kept == bool(inside), part
        notable = [place for place in notable if place not in inside]
    open_since = 2400 - len(tape.state_dict()["actions"])
    assert all(row >= open_since for _, row in notable), "a notable episode was removed"
    removable = [part for part in found if not part.kept]
    size = sum(part.path.stat().st_size for part in found)
    if limit is None:
        assert len(found) > 20
        return
    assert size <= limit or not removable
    oldest = min(part.first for part in found if not part.kept) if removable else 2400
    assert oldest > 1000, "the oldest are removed first"


def test_the_first_positive_reward_is_notable_without_a_record() -> None:
    """After an episode of return 0: parts with an episode of return -2, the first two with a reward of 1."""
    notable, nowhere = Notable(1), np.zeros(1, np.bool_)
    seen = []
    for rewards in ([0], [-2, 0], [-3, 1], [-3, 1]):
        notable.begin(0)
        for place, reward in enumerate(rewards, start=1):
            after = Observation(np.zeros((1, 1)), {}, nowhere)
            ended = np.array([place == len(rewards)])
            notable.add(RawStep(after, np.array([reward], np.float32), np.ones(1, np.float32), nowhere, ended))
        seen.append(notable.in_part(0))
    assert seen == [True, False, True, False]


def test_actions_out_of_range_never_reach_the_environments(worlds: Worlds) -> None:
    from rlkit.errors import RlkitError

    rollout, _, policy = worlds.begin("cartpole", 2, reseed_after=10)
    rollout.start(policy)
    for actions in (np.array([0, 2]), np.array([-1, 0]), np.array([0]), np.array([[0, 1]]), np.array([0.0, 1.0])):
        policy.act = lambda *_, actions=actions: ActorOutput(actions, {}, {})
        with pytest.raises(RlkitError, match=r"2 int64 in 0\.\.1"):
            rollout.act(policy)
