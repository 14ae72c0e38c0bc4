"""Runs on other machines: a Ray cluster of several nodes on this one, one of which is killed; submitit's executor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.command import call
from rlkit.errors import ConfigError, RlkitError
from rlkit.runs.cluster.executors import executor_for
from rlkit.runs.cluster.reach import SharedFolder, sees
from rlkit.runs.directory import RunDirectory
from rlkit.runs.launcher import Job, make_jobs, plan
from rlkit.runs.runner import LOSSES, Lost, Runner, start_process


@pytest.mark.parametrize(
    ("on", "words"),
    [
        ("moon", "expected ray, ray://HOST:PORT, or slurm"),
        ("ray://nowhere", "expected ray"),
        ("ray://127.0.0.1:9", "nothing answers at 127.0.0.1:9"),
        ("ray://127.0.0.1:99999", "nothing answers at 127.0.0.1:9"),
    ],
)
def test_a_place_that_is_none(place: Path, on: str, words: str) -> None:
    done = call("train", "small.toml", "--seeds", "0", "--on", on)
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert "\n" not in done.output.strip().removeprefix("1 run: 1 to train\n")
    assert not (place / "runs").exists()


@pytest.mark.parametrize(("on", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_is_named(on: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"--on {on} needs {package}, .*\[cluster\]"):
        executor_for(on, None, 1, 1.0)


def test_another_machine_must_see_the_folder(tmp_path: Path) -> None:
    shared = SharedFolder()
    token = shared.mark(tmp_path / "a")
    assert sees(tmp_path / "a", token)
    assert not sees(tmp_path, token)
    assert not sees(tmp_path / "a", "other")
    shared.remove()
    assert not list((tmp_path / "a").iterdir())


class Flaky:
    """A run whose machine is lost `losses` times, and which then ends with 0."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.starts = 0

    def limit(self, job: Job) -> int:
        return 1

    def start(self, job: Job, *, resume: bool) -> Flaky:
        self.starts += 1
        return self

    def poll(self) -> int | None:
        if self.starts <= self.losses:
            raise Lost("the node died")
        return 0

    def send_signal(self, number: int) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize("losses", [2, LOSSES, LOSSES + 1])
def test_a_lost_run_is_started_again(place: Path, losses: int) -> None:
    found = plan(make_jobs("small.toml", {}, [0], Path("runs"), None))
    flaky = Flaky(losses)
    outcome = Runner(flaky, every=0).run(found)
    assert flaky.starts == min(losses, LOSSES) + 1
    if losses > LOSSES:
        assert outcome.failed == {"small-seed0": "its machine was lost 6 times, lastly: the node died"}
    else:
        assert [job.name for job in outcome.finished] == ["small-seed0"]


def test_a_lost_run_waits_for_its_old_process(place: Path) -> None:
    """Which may still write its checkpoint; a process whose parent is killed is told to."""
    (job,) = make_jobs("small.toml", {}, [0], Path("runs"), None)
    job.run.mkdir(parents=True)
    flaky = Flaky(1)
    runner = Runner(flaky, every=0)
    runner.start(job)
    with (job.run / "lock").open("w") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        assert [runner.wait() for _ in range(3)] == [[], [], []]
        assert flaky.starts == 1
        assert list(runner.running) == [job.name]
    assert [ended.finished for _ in range(3) for ended in runner.wait()] == [True]
    assert flaky.starts == 2


STEPS = 100_000


@pytest.fixture
def long(place: Path) -> None:
    """small.toml takes longer, and has checkpoints."""
    text = (place / "small.toml").read_text().replace("every = 100\n", "")
    text = text.replace("log_every = 50", "log_every = 500\ncheckpoint_every = 2_000")
    (place / "small.toml").write_text(text.replace("steps = 200", f"steps = {STEPS}"))


def command(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rlkit.cli", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(done: Any, seconds: float = 200, process: subprocess.Popen[str] | None = None) -> None:
    """process: whose output explains why it did not come so far."""
    deadline = time.monotonic() + seconds
    while not done():
        if process is not None and (process.poll() is not None or time.monotonic() > deadline):
            process.kill()
            raise AssertionError(process.communicate()[0])
        assert time.monotonic() < deadline
        time.sleep(0.1)


def reached(run: Path) -> int:
    return max(RunDirectory(run).checkpoints.steps(), default=0)


def without_times(path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "time/" not in key and key != "check"} for row in rows]


@pytest.mark.slow
@pytest.mark.extra
def test_runs_on_ray_survive_a_killed_node_exactly(place: Path, long: None, cluster: Any) -> None:
    process = command("train", "small.toml", "--seeds", "0-1", "--on", f"ray://{cluster.address}", "--memory", "0.2")
    runs = [place / "runs" / f"small-seed{seed}" for seed in (0, 1)]
    wait_for(lambda: all(reached(run) >= 4_000 for run in runs), process=process)
    cluster.remove_node(cluster.workers[0], allow_graceful=False)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert not list((place / "runs").glob("*.log"))
    call("train", "small.toml", "--seed", "1", "--run", "whole")
    call("train", "small.toml", "--seed", "0", "--run", "whole0")
    assert without_times(runs[1]) == without_times(place / "whole")
    assert without_times(runs[0]) == without_times(place / "whole0")


@pytest.mark.slow
@pytest.mark.extra
def test_ctrl_c_stops_runs_on_ray_with_checkpoints(place: Path, long: None, cluster: Any) -> None:
    arguments = ("train", "small.toml", "--seeds", "0-2", "--on", f"ray://{cluster.address}", "--memory", "0.2")
    process = command(*arguments)
    runs = [place / "runs" / f"small-seed{seed}" for seed in (0, 1)]
    wait_for(lambda: all(reached(run) >= 2_000 for run in runs), process=process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "stopped with 0 of 3 runs finished" in output
    assert all(reached(run) % 2_000 for run in runs), "a checkpoint of the step at which each was stopped"


@pytest.mark.slow
@pytest.mark.extra
def test_runs_on_submitit(place: Path, long: None) -> None:
    """Its local executor; one run is stopped by a signal, and resumed by the same command."""
    pytest.importorskip("submitit", reason="needs the extra `cluster`: run `make test-extras`")
    jobs = make_jobs("small.toml", {}, [0, 1], Path("runs"), None)
    runner = Runner(executor_for("slurm-local", 2, 1, 0.5), every=0.2)
    stopper = threading.Thread(
        target=lambda: (wait_for(lambda: reached(jobs[0].run) >= 2_000), os.kill(os.getpid(), signal.SIGINT))
    )
    stopper.start()
    outcome = runner.run(plan(jobs))
    stopper.join()
    assert outcome.stopped_by == signal.SIGINT
    assert 0 < reached(jobs[0].run) < STEPS
    again = Runner(executor_for("slurm-local", 2, 1, 0.5), every=0.2).run(plan(jobs))
    assert [job.name for job in again.finished] == [job.name for job in jobs], again.failed
    call("train", "small.toml", "--seed", "0", "--run", "whole")
    assert without_times(jobs[0].run) == without_times(place / "whole")


def test_slurm_is_missing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    submitit = pytest.importorskip("submitit", reason="needs the extra `cluster`: run `make test-extras`")
    monkeypatch.setattr(submitit.AutoExecutor, "which", staticmethod(lambda: "local"))
    with pytest.raises(RlkitError, match="there is no command srun on this machine"):
        executor_for("slurm", None, 1, 1.0)


def test_a_run_gets_the_signals_that_its_starter_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's workers block SIGINT, and a process inherits what its parent blocks."""
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: popen(["sleep", "60"], **options))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = start_process("", tmp_path / "run", 1, tmp_path, resume=False, dies_with_parent=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_run_ends_with_the_process_that_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys, time; from pathlib import Path; from rlkit.runs import runner; import subprocess;"
        "popen = subprocess.Popen; subprocess.Popen = lambda command, **options: popen(['sleep', '60'], **options);"
        f"print(runner.start_process('', Path({str(tmp_path / 'run')!r}), 1, Path({str(tmp_path)!r}), resume=False,"
        "dies_with_parent=True).pid, flush=True); time.sleep(60)"
    )
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": root})  # fmt: skip
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait_for(
        lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2], 10
    )
