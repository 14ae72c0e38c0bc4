"""The driver over Gymnasium's vector environments, against single environments stepped by hand; and its failures."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation, TimeLimit
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit.errors import SpecError, WorkerError
from rlkit.types import ArraySpec, EnvSpec, Stack
from rlkit.vector import driver as vector
from rlkit.vector.driver import VectorEnvironments, describe
from rlkit.vector.environment import EnvFactory

MODES = ["sync", "async"]


def cartpole() -> gym.Env:
    return gym.make("CartPole-v1", max_episode_steps=12, disable_env_checker=True)


def lake() -> gym.Env:
    return gym.make("FrozenLake-v1", max_episode_steps=6, disable_env_checker=True)


def state_of(env: gym.Env) -> dict[str, Any]:
    return {"state": np.array(env.unwrapped.state, dtype=np.float32), "sum": np.float64(sum(env.unwrapped.state))}


def everyone(num_envs: int) -> np.ndarray:
    return np.ones(num_envs, dtype=np.bool_)


class Vectors:
    """Makes environments and closes them all, whatever the test does."""

    def __init__(self) -> None:
        self.made: list[VectorEnvironments] = []

    def __call__(self, make: Any, num_envs: int, mode: str = "sync", signals: Any = None) -> VectorEnvironments:
        self.made.append(VectorEnvironments(make, describe(make, num_envs, signals), mode, signals))
        return self.made[-1]


@pytest.fixture
def vectors():
    before = set(multiprocessing.active_children())
    made = Vectors()
    yield made
    for environments in made.made:
        environments.close()
        environments.close()
    assert set(multiprocessing.active_children()) <= before, "worker processes are left over"


class Oracle:
    """The contract, the slow and obvious way: a list of environments."""

    def __init__(self, make: Any, num_envs: int) -> None:
        self.envs = [make() for _ in range(num_envs)]
        self.obs: list[Any] = [None] * num_envs

    def reset(self, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        for i, env in enumerate(self.envs):
            if mask[i]:
                self.obs[i], _ = env.reset(seed=int(seeds[i]) if seeds[i] >= 0 else None)
        return np.array(self.obs)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, ...]:
        steps = [env.step(int(a)) for env, a in zip(self.envs, action, strict=True)]
        self.obs = [step[0] for step in steps]
        return np.array(self.obs), *(np.array([step[k] for step in steps]) for k in (1, 2, 3))


def play_against_oracle(environments: VectorEnvironments, make: Any, steps: int, seed: int) -> int:
    """How many episodes ended. Now and then resets environments in mid-episode, with a seed or without."""
    n, rng, ends = environments.spec.num_envs, np.random.default_rng(seed), 0
    oracle = Oracle(make, n)
    seeds = rng.integers(0, 2**31, n)
    np.testing.assert_array_equal(environments.reset(everyone(n), seeds).obs, oracle.reset(everyone(n), seeds))
    for _ in range(steps):
        action = rng.integers(0, environments.spec.num_actions, n)
        environments.send(action)
        step = environments.receive()
        obs, reward, terminated, truncated = oracle.step(action)
        np.testing.assert_array_equal(step.after.obs, obs)
        np.testing.assert_array_equal(step.reward, reward)
        np.testing.assert_array_equal(step.terminated, terminated)
        np.testing.assert_array_equal(step.truncated, truncated)
        np.testing.assert_array_equal(step.discount, [0.0 if end else 1.0 for end in terminated])
        assert not step.after.first.any()
        mask = terminated | truncated | (rng.random(n) < 0.05)
        ends += int((terminated | truncated).sum())
        if mask.any():
            seeds = np.where(rng.random(n) < 0.5, -1, rng.integers(0, 2**31, n))
            observation = environments.reset(mask, seeds)
            np.testing.assert_array_equal(observation.obs, oracle.reset(mask, seeds))
            np.testing.assert_array_equal(observation.first, mask)
    return ends


@settings(max_examples=25, deadline=None)
@given(num_envs=st.integers(1, 4), seed=st.integers(0, 2**31 - 1), make=st.sampled_from([cartpole, lake]))
def test_sync_equals_single_environments(num_envs: int, seed: int, make: Any) -> None:
    environments = VectorEnvironments(make, describe(make, num_envs))
    assert play_against_oracle(environments, make, 40, seed) > 0
    environments.close()


@pytest.mark.parametrize("make", [cartpole, lake])
def test_async_equals_single_environments(vectors: Vectors, make: Any) -> None:
    environments = vectors(make, 3, "async")
    for seed in range(3):
        assert play_against_oracle(environments, make, 60, seed) > 0


@pytest.mark.parametrize("mode", MODES)
def test_dtypes_and_fresh_arrays(vectors: Vectors, mode: str) -> None:
    environments = vectors(lake, 2, mode)
    observation = environments.reset(everyone(2), np.arange(2))
    assert (observation.obs.dtype, observation.obs.shape) == (np.int64, (2,))
    kept = []
    for _ in range(5):
        environments.send(np.array([2, 1]))
        step = environments.receive()
        dtypes = [a.dtype for a in (step.reward, step.discount, step.terminated, step.truncated)]
        assert dtypes == [np.float32, np.float32, np.bool_, np.bool_]
        arrays = (step.after.obs, step.reward, step.discount, step.terminated, step.truncated)
        kept += [(array, array.copy()) for array in arrays]
        ended = step.terminated | step.truncated
        if ended.any():
            environments.reset(ended, np.full(2, -1))
    assert all((array == copy).all() for array, copy in kept)


@pytest.mark.parametrize("mode", MODES)
def test_masked_reset_leaves_inputs_and_others_alone(vectors: Vectors, mode: str) -> None:
    one, other = vectors(cartpole, 3, mode), vectors(cartpole, 3, mode)
    for environments in (one, other):
        environments.reset(everyone(3), np.array([3, 4, 5]))
    mask, seeds = np.array([False, True, False]), np.array([77, 8, 99])  # seeds outside the mask mean nothing
    latest = None
    for t in range(6):
        for environments in (one, other):
            environments.send(np.array([t % 2, 0, 1]))
        a, b = one.receive(), other.receive()
        np.testing.assert_array_equal(a.after.obs[[0, 2]], b.after.obs[[0, 2]])
        if t == 2:
            latest = other.reset(mask, seeds)
            np.testing.assert_array_equal(latest.obs[[0, 2]], b.after.obs[[0, 2]])
            np.testing.assert_array_equal(latest.first, mask)
    assert latest is not None
    np.testing.assert_array_equal(latest.obs[1], cartpole().reset(seed=8)[0])
    assert mask.tolist() == [False, True, False]
    assert seeds.tolist() == [77, 8, 99]


def test_first_reset_is_of_all(vectors: Vectors) -> None:
    with pytest.raises(ValueError, match="first reset must be of all"):
        vectors(cartpole, 2).reset(np.array([True, False]), np.arange(2))


@pytest.mark.parametrize("mode", MODES)
def test_signals_belong_to_their_observation(vectors: Vectors, mode: str) -> None:
    environments = vectors(cartpole, 2, mode, state_of)
    assert environments.spec.signals == {
        "state": ArraySpec((4,), np.dtype(np.float32)),
        "sum": ArraySpec((), np.dtype(np.float64)),
    }
    observation, ends = environments.reset(everyone(2), np.arange(2)), 0
    kept = []
    for _ in range(30):
        # CartPole's observation is its state: so the signal must equal it, at an episode's end and after a reset too
        np.testing.assert_array_equal(observation.signals["state"], observation.obs)
        np.testing.assert_allclose(observation.signals["sum"], observation.obs.sum(axis=1), atol=1e-5)
        kept.append((observation.signals["state"], observation.signals["state"].copy()))
        environments.send(np.array([1, 0]))
        step = environments.receive()
        np.testing.assert_array_equal(step.after.signals["state"], step.after.obs)
        observation = step.after
        if (ended := step.terminated | step.truncated).any():
            ends += 1
            observation = environments.reset(ended, np.full(2, -1))
    assert ends > 1
    assert all((array == copy).all() for array, copy in kept)


class Toy(gym.Env):
    """Does what its spaces and its `trouble` say."""

    def __init__(self, obs: spaces.Space | None = None, action: spaces.Space | None = None, trouble: Any = None):
        self.observation_space = obs or spaces.Box(0, 9, (2,), np.float32)
        self.action_space = action or spaces.Discrete(3)
        self.trouble = trouble

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        if self.trouble is not None:
            self.trouble("reset", None, seed)
        return self.observation_space.sample(), {"ignored": object()}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        if self.trouble is not None:
            self.trouble("step", action, None)
        return self.observation_space.sample(), 1.0, False, False, {"ignored": lambda: None}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(4, start=2),
        spaces.MultiBinary((2, 3)),
        spaces.MultiDiscrete([3, 4]),
        spaces.Box(0, 1, (3, 3, 2), bool),
        spaces.Box(0, 255, (2, 5), np.uint8),
        spaces.Box(-1, 1, (7,), np.float64),
        spaces.Box(-5, 5, (2,), np.int16),
    ],
    ids=str,
)
def test_observation_spaces(vectors: Vectors, space: spaces.Space, mode: str) -> None:
    environments = vectors(lambda: Toy(space), 2, mode)
    observation = environments.reset(everyone(2), np.array([3, 4]))
    expected = [Toy(space).reset(seed=seed)[0] for seed in (3, 4)]
    np.testing.assert_array_equal(observation.obs, expected)
    assert observation.obs.dtype == (np.int64 if isinstance(space, spaces.Discrete) else space.dtype)
    assert all(space.contains(row) for row in observation.obs)


@pytest.mark.parametrize(
    ("obs", "action", "message"),
    [
        (spaces.Box(0, 1, ()), None, "shape"),
        (spaces.Dict({"a": spaces.Discrete(2)}), None, "Dict.*supported are Box"),
        (spaces.Tuple([spaces.Discrete(2)]), None, "Tuple.*supported are Box"),
        (spaces.Text(5), None, "Text.*supported are Box"),
        (None, spaces.Box(0, 1, (2,)), "Toy: action space Box.*must be Discrete"),
        (None, spaces.MultiDiscrete([2, 2]), "must be Discrete"),
        (None, spaces.Discrete(2, start=1), "actions from 0"),
    ],
)
def test_spaces_that_are_refused(obs: Any, action: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        describe(lambda: Toy(obs, action), 1)


@pytest.mark.parametrize(
    ("make", "stack"),
    [
        (lambda: Toy(), None),
        (lambda: FrameStackObservation(Toy(), 3), Stack(0, 3, "repeat")),
        (lambda: FrameStackObservation(Toy(), 3, padding_type="zero"), Stack(0, 3, "zero")),
        (lambda: FrameStackObservation(Toy(), 3, padding_type=np.ones(2, np.float32)), None),
        (lambda: FrameStackObservation(Toy(spaces.Box(1, 9, (2,))), 3, padding_type="zero"), None),
        (lambda: TimeLimit(FrameStackObservation(Toy(), 3), 5), None),
        (lambda: FrameStackObservation(Toy(spaces.Discrete(2)), 3), None),
    ],
)
def test_stack_is_recognised_where_a_replay_can_rebuild_it(make: Any, stack: Stack | None) -> None:
    assert describe(make, 1).stack == stack


def test_signals_that_are_refused() -> None:
    with pytest.raises(SpecError, match="'obs'"):
        describe(Toy, 1, lambda env: {"obs": 1})
    with pytest.raises(SpecError, match="'word' has dtype <U3"):
        describe(Toy, 1, lambda env: {"word": "abc"})
    with pytest.raises(SpecError, match="ZeroDivisionError"):
        describe(Toy, 1, lambda env: {"bad": 1 / 0})


class NeedsTwo(Exception):
    """Cannot be unpickled: its constructor wants two arguments and pickle gives one."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.handle = lambda: None  # nor can it be pickled


def fail_in_step(what: str, action: Any, seed: Any) -> None:
    if action == 2:
        raise NeedsTwo(4, 5)


def fail_in_reset(what: str, action: Any, seed: Any) -> None:
    if seed == 13:
        raise ValueError("unlucky")


@pytest.mark.parametrize("mode", MODES)
def test_exceptions_name_the_environment_and_carry_its_traceback(vectors: Vectors, mode: str) -> None:
    environments = vectors(lambda: Toy(trouble=fail_in_step), 3, mode)
    environments.reset(everyone(3), np.arange(3))
    environments.send(np.array([0, 2, 0]))
    with pytest.raises(WorkerError, match=r"(?s)environment 1 failed in step with action 2.*fail_in_step.*4 and 5"):
        environments.receive()


@pytest.mark.parametrize("mode", MODES)
def test_exceptions_in_reset(vectors: Vectors, mode: str) -> None:
    environments = vectors(lambda: Toy(trouble=fail_in_reset), 3, mode)
    with pytest.raises(WorkerError, match=r"(?s)environment 2 failed in reset with seed 13.*ValueError: unlucky"):
        environments.reset(everyone(3), np.array([1, 2, 13]))


@pytest.mark.parametrize("mode", MODES)
def test_exceptions_in_constructors(vectors: Vectors, mode: str) -> None:
    spec = describe(Toy, 2)

    def broken() -> gym.Env:
        raise RuntimeError("no emulator here")

    environments = VectorEnvironments(broken, spec, mode)
    vectors.made.append(environments)
    with pytest.raises(WorkerError, match=r"(?s)environment 0 failed in reset.*no emulator here"):
        environments.reset(everyone(2), np.arange(2))


@pytest.mark.parametrize("mode", MODES)
def test_what_does_not_fit_the_spec_is_a_failure(vectors: Vectors, mode: str) -> None:
    class Liar(Toy):
        def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
            return np.zeros(1, np.float32), 0.0, False, False, {}

    environments = vectors(Liar, 1, mode)
    environments.reset(everyone(1), np.arange(1))
    environments.send(np.zeros(1, np.int64))
    with pytest.raises(WorkerError, match=r"observation of shape \(1,\); its space says \(2,\)"):
        environments.receive()
    lengths = iter([2, 2, 3])
    signals = vectors(Toy, 1, "sync", lambda env: {"x": np.zeros(next(lengths))})
    signals.reset(everyone(1), np.arange(1))
    signals.send(np.zeros(1, np.int64))
    with pytest.raises(WorkerError, match=r"signals .*shape=\(3,\).*they were .*shape=\(2,\)"):
        signals.receive()


def exit_in_step(what: str, action: Any, seed: Any) -> None:
    if action == 2:
        os._exit(7)


def exit_in_reset(what: str, action: Any, seed: Any) -> None:
    if seed == 13:
        sys.exit(3)


def test_a_worker_that_exits_is_reported(vectors: Vectors) -> None:
    environments = vectors(lambda: Toy(trouble=exit_in_step), 3, "async")
    environments.reset(everyone(3), np.arange(3))
    environments.send(np.array([0, 0, 2]))
    with pytest.raises(WorkerError, match=r"environment 2: its worker process died \(exit code 7\)"):
        environments.receive()
    resetting = vectors(lambda: Toy(trouble=exit_in_reset), 2, "async")
    with pytest.raises(WorkerError, match=r"environment 0: its worker process died \(exit code 3\)"):
        resetting.reset(everyone(2), np.array([13, 1]))


def linger(what: str, action: Any, seed: Any) -> None:
    """A worker that leaves behind a process which holds its pipe open, and dies."""
    if action == 2:
        if os.fork() == 0:
            time.sleep(3)
            os._exit(0)
        os._exit(1)


def test_a_dead_worker_whose_pipe_stays_open_is_reported(vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "LIVENESS_PERIOD", 0.1)
    environments = vectors(lambda: Toy(trouble=linger), 2, "async")
    environments.reset(everyone(2), np.arange(2))
    environments.send(np.array([2, 0]))
    start = time.monotonic()
    with pytest.raises(WorkerError, match="environment 0: its worker process died"):
        environments.receive()
    assert time.monotonic() - start < 2.5


def workers() -> list[Any]:
    return sorted((p for p in multiprocessing.active_children() if "Worker" in p.name), key=lambda p: p.name)


@pytest.mark.parametrize("when", ["before send", "after send", "before reset"])
def test_a_killed_worker_is_reported(vectors: Vectors, when: str) -> None:
    environments = vectors(cartpole, 3, "async")
    environments.reset(everyone(3), np.arange(3))
    victim = workers()[1]
    if when == "after send":
        os.kill(victim.pid, signal.SIGSTOP)  # so that it cannot answer before it dies
        environments.send(np.zeros(3, np.int64))
    os.kill(victim.pid, signal.SIGKILL)
    if when != "after send":
        victim.join()

    def go_on() -> None:
        if when == "before reset":
            environments.reset(np.array([True, True, False]), np.full(3, -1))
        if when == "before send":
            environments.send(np.zeros(3, np.int64))
        environments.receive()

    with pytest.raises(WorkerError, match=r"environment 1: its worker process died \(killed by SIGKILL\)"):
        go_on()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_ignore_signals_to_the_process_group(vectors: Vectors, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    environments = vectors(cartpole, 2, "async")
    environments.reset(everyone(2), np.arange(2))
    assert signal.getsignal(number) is before, "only workers may ignore it"
    for process in workers():
        os.kill(process.pid, number)
    for _ in range(3):
        environments.send(np.zeros(2, np.int64))
        environments.receive()


def test_a_program_that_forgets_to_close_still_ends() -> None:
    program = """
import gymnasium, numpy
from rlkit.vector.driver import VectorEnvironments, describe
make = lambda: gymnasium.make("CartPole-v1")
environments = VectorEnvironments(make, describe(make, 2), "async")
environments.reset(numpy.ones(2, bool), numpy.arange(2))
environments.send(numpy.zeros(2, int))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_close_with_a_step_under_way_and_with_a_stuck_worker(vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    environments = vectors(cartpole, 2, "async")
    environments.reset(everyone(2), np.arange(2))
    environments.send(np.zeros(2, np.int64))
    environments.close()
    assert workers() == []
    monkeypatch.setattr(vector, "CLOSE_TIMEOUT", 0.3)
    stuck = vectors(lambda: Toy(trouble=lambda what, action, seed: time.sleep(60 if action == 1 else 0)), 2, "async")
    stuck.reset(everyone(2), np.arange(2))
    stuck.send(np.array([1, 0]))
    start = time.monotonic()
    stuck.close()
    assert workers() == []
    assert time.monotonic() - start < 10


def test_async_steps_while_the_caller_works(vectors: Vectors, tmp_path: Path) -> None:
    """The step ends only after the caller made a file, which it can only do if send does not wait for the step."""
    ready = tmp_path / "ready"

    def wait_for_file(what: str, action: Any, seed: Any) -> None:
        deadline = time.monotonic() + 20
        while what == "step" and not ready.exists():
            assert time.monotonic() < deadline, "send waited for the step"
            time.sleep(0.01)

    environments = vectors(lambda: Toy(trouble=wait_for_file), 2, "async")
    environments.reset(everyone(2), np.arange(2))
    environments.send(np.zeros(2, np.int64))
    ready.touch()
    environments.receive()


def test_seats_survive_pickling() -> None:
    seat = EnvFactory(1, cartpole, describe(cartpole, 2, state_of), state_of, os.getpid())
    member = pickle.loads(pickle.dumps(seat))()
    np.testing.assert_array_equal(member.reset(seed=3)[0]["obs"], cartpole().reset(seed=3)[0])


ORPHANS = """
import multiprocessing, time
import numpy as np
from envs.gymnasium import GymnasiumConfig, plugin
from rlkit.types import Purpose

if __name__ == "__main__":
    multiprocessing.set_start_method({method!r})
    config = GymnasiumConfig(name="gymnasium", id="CartPole-v1", mode="async")
    environments = plugin.make(config, {num_envs}, Purpose.TRAIN)
    environments.reset(np.ones({num_envs}, dtype=np.bool_), np.arange({num_envs}))
    environments.send(np.zeros({num_envs}, dtype=np.int64))
    environments.receive()
    print(*[process.pid for process in multiprocessing.active_children() if "Worker" in process.name], flush=True)
    time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
@pytest.mark.parametrize(
    ("method", "num_envs"), [("fork", 3), pytest.param("spawn", 2, marks=pytest.mark.slow)]
)  # every spawned worker imports torch anew
def test_workers_end_when_their_parent_is_killed(tmp_path: Path, method: str, num_envs: int) -> None:
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS.format(method=method, num_envs=num_envs))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == num_envs
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)


def test_spec_is_what_was_described(vectors: Vectors) -> None:
    assert vectors(cartpole, 2).spec == EnvSpec(cartpole().observation_space, num_actions=2, num_envs=2)
