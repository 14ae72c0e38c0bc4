"""Runs on a Ray cluster: each is an actor with its cores and memory declared, which starts the run's process."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rlkit.config.tables import Config
from rlkit.errors import ConfigError, RlkitError, WorkerError
from rlkit.extras import needed
from rlkit.runs.cluster.actors import Playing, enter
from rlkit.runs.cluster.reach import SharedFolder, require_reachable, sees
from rlkit.runs.launcher import Job
from rlkit.runs.runner import Lost, start_process
from rlkit.types import State, StepBatch

GIB = 2**30
PATIENCE = 15.0  # seconds in which a node must answer when it is asked to end a run


class RunActor:
    """On a node of the cluster: the process of one run, which ends (with a checkpoint) if this actor dies."""

    def __init__(self, config: str, run: str, threads: int, token: str, folder: str, resume: bool) -> None:
        import socket

        self._process: subprocess.Popen[bytes] | None = None
        self._configs = tempfile.TemporaryDirectory()
        self._problem = ""
        path = Path(run)
        if Path(folder).is_dir():
            enter(folder)
        if not sees(path.parent, token):
            self._problem = f"the machine {socket.gethostname()} does not share the folder {path.parent} with this one"
            return
        self._process = start_process(
            config, path, threads, Path(self._configs.name), resume=resume, dies_with_parent=True
        )

    def poll(self) -> tuple[int | None, str]:
        """(exit code or None, what is wrong with this machine or "")."""
        return None if self._process is None else self._process.poll(), self._problem

    def send_signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)


class RayProcess:
    """A run elsewhere, seen from the head. Signals are passed on at the next `poll`: a handler must not call Ray."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self._asked: Any = actor.poll.remote()
        self._answered = False
        self._signals: list[int] = []

    def poll(self) -> int | None:
        if self._signals and not self._answered:  # it waits for a free node
            ready, _ = self._ray.wait([self._asked], timeout=0)
            if not ready:
                self._ray.kill(self._actor)
                return 128 + self._signals[-1]
        while self._signals:
            self._actor.send_signal.remote(self._signals.pop(0))
        ready, _ = self._ray.wait([self._asked], timeout=0)
        if not ready:
            return None
        try:
            code, problem = self._ray.get(self._asked)
        except self._ray.exceptions.RayError as error:
            raise Lost(str(error).strip().splitlines()[0]) from error
        if problem:
            raise RlkitError(f"--on ray: {problem}")
        self._answered = True
        self._asked = None if code is not None else self._actor.poll.remote()
        if code is not None:
            self._ray.kill(self._actor)  # frees its cores
        return None if code is None else int(code)

    def send_signal(self, number: int) -> None:
        self._signals.append(number)


def connected(address: str | None, here: int | None, what: str) -> tuple[Any, bool]:
    """(Ray, connected to a cluster; whether this call connected it).

    Without an address, the cluster that runs here, else one of this machine alone, with `here` cores (None: all).
    Raises ConfigError if there is none at `address`.
    """
    ray = needed("ray", what, "cluster")
    if ray.is_initialized():
        return ray, False
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        try:
            ray.init(address=address or "auto", **quiet)
        except ConnectionError:
            if address is not None:
                raise
            ray.init(num_cpus=here, include_dashboard=False, **quiet)
    except Exception as error:  # of many kinds
        first = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(f"{what}: the cluster cannot be used: {type(error).__name__}: {first:.200}") from error
    return ray, True


class RayExecutor:
    """Runs on the nodes of a Ray cluster; without an address on one that runs here, or on this machine alone."""

    def __init__(self, address: str | None, limit: int | None, here: int, memory: float) -> None:
        """here: cores of this machine to use if no cluster runs. Raises ConfigError if there is none at `address`."""
        self._ray, self._own = connected(address, here, "--on ray")
        self._limit, self._memory, self._shared = limit, memory, SharedFolder()

    def limit(self, job: Job) -> int:
        if self._limit is not None:
            return self._limit
        return max(1, int(self._ray.cluster_resources().get("CPU", 0)) // job.config.train.threads)

    def start(self, job: Job, *, resume: bool) -> RayProcess:
        train, run = job.config.train, job.run.absolute()
        remote = self._ray.remote(
            num_cpus=train.threads, num_gpus=int(train.device.startswith("cuda")), memory=int(self._memory * GIB),
            max_restarts=0,
        )(RunActor)  # fmt: skip
        token = self._shared.mark(run.parent)
        folder = str(Path.cwd())
        actor = remote.remote(job.config.to_toml(), str(run), train.threads, token, folder, resume)
        return RayProcess(self._ray, actor)

    def close(self) -> None:
        self._shared.remove()
        if self._own:
            self._ray.shutdown()


class RayFleet:
    """Actors of one learner on a Ray cluster."""

    def __init__(self, config: Config) -> None:
        assert config.train.actors is not None
        self._config, self._actors = config, config.train.actors
        if self._actors.address is not None:
            require_reachable(self._actors.address, "train.actors.address")
        self._ray, self._own = connected(self._actors.address, None, "train.actors")
        self._made: dict[int, Any] = {}
        self._generation: dict[int, int] = {}

    def begin(self, number: int) -> None:
        generation = self._generation[number] = self._generation.get(number, -1) + 1
        remote = self._ray.remote(num_cpus=self._actors.cpus, max_restarts=0)(Playing)
        self._made[number] = remote.remote(self._config, number, generation, str(Path.cwd()))

    def put(self, state: State) -> Any:
        return self._ray.put(state)

    def request(self, number: int, state: Any, steps: int) -> Any:
        return self._made[number].play.remote(state, steps)

    def collect(self, request: Any) -> list[StepBatch]:
        try:
            played: list[StepBatch] = self._ray.get(request)
        except self._ray.exceptions.RayTaskError as error:  # the environment or the policy raised it
            raise WorkerError(f"an actor failed:\n{error}") from error
        except self._ray.exceptions.RayError as error:
            if "creation task" in str(error):
                raise WorkerError(f"an actor cannot be started:\n{error}") from error
            raise Lost(str(error).strip().splitlines()[0]) from error
        return played

    def close(self) -> None:
        for actor in self._made.values():
            self._ray.kill(actor)
        self._made = {}
        if self._own:
            self._ray.shutdown()
            self._own = False
