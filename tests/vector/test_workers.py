"""Worker processes: they die, are killed, hang, and outlive nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.vectors import Toy, Vectors, cartpole, everyone
from rlkit.errors import WorkerError
from rlkit.vector import workers


def exit_in_step(what: str, action: Any, seed: Any) -> None:
    if action == 2:
        os._exit(7)


def exit_in_reset(what: str, action: Any, seed: Any) -> None:
    if seed == 13:
        os._exit(3)


def test_a_worker_that_exits_is_reported(vectors: Vectors) -> None:
    environments = vectors(lambda: Toy(trouble=exit_in_step), 3, "async")
    environments.reset(everyone(3), np.arange(3))
    environments.send(np.array([0, 0, 2]))
    with pytest.raises(WorkerError, match=r"environment 2: its worker process died \(exit code 7\)"):
        environments.receive()
    resetting = vectors(lambda: Toy(trouble=exit_in_reset), 2, "async")
    with pytest.raises(WorkerError, match=r"environment 0: its worker process died \(exit code 3\)"):
        resetting.reset(everyone(2), np.array([13, 1]))


def hang(what: str, action: Any, seed: Any) -> None:
    if action == 2:
        time.sleep(60)


def test_a_silent_worker_is_named_and_given_up_after_the_timeout(
    vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SILENCE", 0.05)
    monkeypatch.setattr(workers, "CLOSE_TIMEOUT", 0.1)
    environments = vectors(lambda: Toy(trouble=hang), 2, "async", step_timeout=0.4)
    environments.reset(everyone(2), np.arange(2))
    environments.send(np.array([0, 2]))
    with (
        pytest.warns(UserWarning, match=r"environment 1 has not answered for 0\.\d+ seconds \(process \d+\)"),
        pytest.raises(WorkerError, match=r"environment 1 has not answered.*step_timeout is 0\.4"),
    ):
        environments.receive()


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, SystemExit])
def test_an_environment_that_raises_what_is_no_exception(
    vectors: Vectors, mode: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(what: str, action: Any, seed: Any) -> None:
        if action == 2:
            raise error

    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # as while training: Ctrl-C raises nothing
    try:
        environments = vectors(lambda: Toy(trouble=fail), 2, mode)
        environments.reset(everyone(2), np.arange(2))
        environments.send(np.array([0, 2]))
        with pytest.raises(WorkerError, match=rf"environment 1 failed in step with action 2:(.|\n)*{error.__name__}"):
            environments.receive()
    finally:
        signal.signal(signal.SIGINT, before)


def linger(what: str, action: Any, seed: Any) -> None:
    """A worker that leaves behind a process which holds its pipe open, and dies."""
    if action == 2:
        if os.fork() == 0:
            time.sleep(3)
            os._exit(0)
        os._exit(1)


def test_a_dead_worker_whose_pipe_stays_open_is_reported(vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LIVENESS_PERIOD", 0.1)
    environments = vectors(lambda: Toy(trouble=linger), 2, "async")
    environments.reset(everyone(2), np.arange(2))
    environments.send(np.array([2, 0]))
    start = time.monotonic()
    with pytest.raises(WorkerError, match="environment 0: its worker process died"):
        environments.receive()
    assert time.monotonic() - start < 2.5


def running_workers() -> list[Any]:
    return sorted((p for p in multiprocessing.active_children() if "Worker" in p.name), key=lambda p: p.name)


@pytest.mark.parametrize("when", ["before send", "after send", "before reset"])
def test_a_killed_worker_is_reported(vectors: Vectors, when: str) -> None:
    environments = vectors(cartpole, 3, "async")
    environments.reset(everyone(3), np.arange(3))
    victim = running_workers()[1]
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
    for process in running_workers():
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
    assert running_workers() == []
    monkeypatch.setattr(workers, "CLOSE_TIMEOUT", 0.3)
    stuck = vectors(lambda: Toy(trouble=lambda what, action, seed: time.sleep(60 if action == 1 else 0)), 2, "async")
    stuck.reset(everyone(2), np.arange(2))
    stuck.send(np.array([1, 0]))
    start = time.monotonic()
    stuck.close()
    assert running_workers() == []
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


ORPHANS = """
import multiprocessing, time
import numpy as np
from envs.gymnasium import GymnasiumConfig, plugin
from rlkit.types import Purpose

if __name__ == "__main__":
    multiprocessing.set_start_method({method!r})
    config = GymnasiumConfig(name="gymnasium", id="CartPole-v1", mode="async")
    if {hung}:
        from gymnasium.envs.classic_control import CartPoleEnv
        step = CartPoleEnv.step
        CartPoleEnv.step = lambda env, action: time.sleep(60) if action else step(env, action)
    environments = plugin.make(config, {num_envs}, Purpose.TRAIN)
    environments.reset(np.ones({num_envs}, dtype=np.bool_), np.arange({num_envs}))
    environments.send(np.zeros({num_envs}, dtype=np.int64))
    environments.receive()
    if {hung}:
        environments.send(np.ones({num_envs}, dtype=np.int64))
        time.sleep(0.2)
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
    ("method", "num_envs", "hung"),
    [("fork", 3, False), ("fork", 2, True), pytest.param("spawn", 2, False, marks=pytest.mark.slow)],
)  # every spawned worker imports torch anew
def test_workers_end_when_their_parent_is_killed(tmp_path: Path, method: str, num_envs: int, hung: bool) -> None:
    """As by a second Ctrl-C; a hung worker reads nothing from its pipe and ignores signals."""
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS.format(method=method, num_envs=num_envs, hung=hung))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == num_envs
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)
