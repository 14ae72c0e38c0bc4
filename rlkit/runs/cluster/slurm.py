"""Runs on Slurm, by submitit: each is a job that starts the run's process; messages go through the shared folder."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from rlkit.errors import ConfigError
from rlkit.extras import needed
from rlkit.runs.cluster.reach import SharedFolder, sees
from rlkit.runs.directory import RunDirectory
from rlkit.runs.launcher import Job
from rlkit.runs.runner import Lost, start_process

EVERY = 1.0  # seconds between two looks for a message
HOURS = 24  # time limit of a job; then, and when it is preempted, it writes a checkpoint and is queued again
NO_FOLDER = 97  # exit code of a job that does not see the folder of the runs


class RunJob:
    """What a job does: runs one process to its end, and passes on the signals that RUN.signal names."""

    def __init__(self, config: str, run: Path, threads: int, token: str) -> None:
        self._config, self._run, self._threads, self._token = config, run, threads, token
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        if not sees(self._run.parent, self._token):
            return NO_FOLDER
        resume = bool(RunDirectory(self._run).checkpoints.steps())
        with tempfile.TemporaryDirectory() as folder:
            self._process = process = start_process(
                self._config, self._run, self._threads, Path(folder), resume=resume, dies_with_parent=True
            )
            while process.poll() is None:
                time.sleep(EVERY)
                if (file := message(self._run)).exists():
                    number = int(file.read_text() or signal.SIGTERM)
                    file.unlink(missing_ok=True)
                    process.send_signal(number)
            return process.returncode

    def checkpoint(self) -> Any:
        """Called by submitit before the time limit and when the job is preempted: stops the run; it goes on later."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
        again = RunJob(self._config, self._run, self._threads, self._token)
        return needed("submitit.helpers", "--on slurm", "cluster").DelayedSubmission(again)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None}


def message(run: Path) -> Path:
    """The file that tells a job which signal to pass on."""
    return run.with_name(f"{run.name}.signal")


class SlurmProcess:
    """A run on Slurm, seen from the head."""

    def __init__(self, job: Any, run: Path) -> None:
        self._job, self._run = job, run
        self._signal: int | None = None

    def poll(self) -> int | None:
        if not self._job.done():
            if self._signal is not None and self._job.state in ("PENDING", "UNKNOWN"):
                self._job.cancel()
                return 128 + self._signal
            return None
        try:
            code = int(self._job.result())
        except Exception as error:  # the job ended without a result: its node failed, or it was cancelled
            raise Lost(f"Slurm job {self._job.job_id} ended without a result ({self._job.state})") from error
        finally:
            message(self._run).unlink(missing_ok=True)
        if code == NO_FOLDER:
            raise ConfigError(f"--on slurm: a node does not share the folder {self._run.parent} with this machine")
        return code

    def send_signal(self, number: int) -> None:
        self._signal = number
        message(self._run).write_text(str(number))


class SlurmExecutor:
    """Submits each run to Slurm. `cluster` = "local" runs the jobs as processes here, to try it without Slurm."""

    def __init__(self, cluster: str, limit: int | None, memory: float) -> None:
        """Raises ConfigError if there is no Slurm."""
        self._submitit = needed("submitit", "--on slurm", "cluster")
        if cluster == "slurm" and self._submitit.AutoExecutor.which() != "slurm":
            raise ConfigError(
                "--on slurm: there is no command srun on this machine; submit from a machine of the cluster"
            )
        self._cluster, self._limit, self._memory = cluster, limit, memory
        self._shared = SharedFolder()

    def limit(self, job: Job) -> int:
        return self._limit or 1000  # Slurm's queue holds what does not fit

    def start(self, job: Job, *, resume: bool) -> SlurmProcess:
        run, train = job.run.absolute(), job.config.train
        executor = self._submitit.AutoExecutor(folder=run.parent / "slurm", cluster=self._cluster)
        executor.update_parameters(
            name=job.name, cpus_per_task=train.threads, mem_gb=self._memory, timeout_min=60 * HOURS,
            gpus_per_node=int(train.device.startswith("cuda")),
        )  # fmt: skip
        message(run).unlink(missing_ok=True)
        token = self._shared.mark(run.parent)
        return SlurmProcess(executor.submit(RunJob(job.config.to_toml(), run, train.threads, token)), run)

    def close(self) -> None:
        self._shared.remove()
