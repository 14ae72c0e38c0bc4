"""Sinks for Weights & Biases and MLflow, beside rlkit's own; offline modes included.

Servers, projects and modes come from their own environment variables: WANDB_MODE, WANDB_PROJECT, WANDB_DIR;
MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME. A resumed run continues the tracked one (`rlkit.metrics.tracked`).
"""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path
from typing import Any

from rlkit.extras import needed
from rlkit.metrics.meters import Row
from rlkit.metrics.sinks import SinkContext
from rlkit.metrics.tracked import Tracked
from rlkit.types import Histogram, Image

PROJECT = "rlkit"  # where the environment names none
BATCH = 100  # parameters that MLflow takes at a time
LONGEST = 500  # characters of a parameter in MLflow


class WandbSink:
    """A run in Weights & Biases; the x-axis is environment steps. Files are in WANDB_DIR, by default ./wandb."""

    @staticmethod
    def require() -> Any:
        """The package. Raises ConfigError if it is not installed."""
        return needed("wandb", 'the sink "wandb"', "wandb")

    @staticmethod
    def knows(folder: Path) -> bool:
        """Whether this account has tracked the run of a directory."""
        return Tracked(folder).read("wandb") is not None

    def __init__(self, context: SinkContext) -> None:
        self._wandb = wandb = self.require()
        tracked = Tracked(context.folder)
        identifier = (tracked.read("wandb") if context.resumed_at else None) or secrets.token_hex(6)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=context.folder.resolve().name,
            group=context.config.label,
            dir=os.environ.get("WANDB_DIR", "."),
            id=identifier,
            resume="allow",
            config={**context.settings, "protocol": dict(context.protocol)},
            settings=wandb.Settings(silent=True, console="off", init_timeout=60),
        )
        self._run.define_metric("*", step_metric="env_steps")
        tracked.write("wandb", identifier)

    def write(self, env_steps: int, row: Row) -> None:
        values: dict[str, Any] = {"env_steps": env_steps}
        for name, value in row.items():
            if isinstance(value, Histogram):
                values[name] = self._wandb.Histogram(_numbers(value))
            elif isinstance(value, Image):
                values[name] = self._wandb.Image(value.pixels)
            else:
                values[name] = float(value)
        self._run.log(values)

    def add_video(self, name: str, file: Path) -> None:
        self._run.log({name: self._wandb.Video(str(file), format=file.suffix[1:])})

    def close(self) -> None:
        self._run.finish()


class MLflowSink:
    """A run in MLflow. By default in ./mlflow.db and ./mlruns; MLFLOW_TRACKING_URI names a server or another file."""

    @staticmethod
    def require() -> Any:
        """The package. Raises ConfigError if it is not installed, or lacks what a local file needs."""
        needed("sqlalchemy", 'the sink "mlflow"', "mlflow")
        return needed("mlflow", 'the sink "mlflow"', "mlflow")

    @staticmethod
    def knows(folder: Path) -> bool:
        """Whether this account has tracked the run of a directory."""
        return Tracked(folder).read("mlflow") is not None

    def __init__(self, context: SinkContext) -> None:
        mlflow = self.require()
        self._entities: Any = mlflow.entities
        self._client: Any = mlflow.MlflowClient()
        tracked = Tracked(context.folder)
        known = tracked.read("mlflow") if context.resumed_at else None
        self._run = known or self._created(context)
        if known:
            self._client.update_run(known, status="RUNNING")
        tracked.write("mlflow", self._run)

    def _created(self, context: SinkContext) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        tags = {f"protocol.{_plain(key)}": text for key, text in context.protocol.items()}
        tags["experiment"] = context.config.label
        run = str(self._client.create_run(experiment, run_name=context.folder.resolve().name, tags=tags).info.run_id)
        settings = [self._entities.Param(_plain(key), str(value)[:LONGEST]) for key, value in context.settings.items()]
        for first in range(0, len(settings), BATCH):
            self._client.log_batch(run, params=settings[first : first + BATCH])
        self._client.log_text(run, context.config.to_toml(), "config.toml")
        return run

    def write(self, env_steps: int, row: Row) -> None:
        now = int(time.time() * 1000)
        metrics = [
            self._entities.Metric(_plain(name), float(value), now, env_steps)
            for name, value in row.items()
            if not isinstance(value, Histogram | Image)
        ]
        self._client.log_batch(self._run, metrics=metrics)
        for name, value in row.items():
            if isinstance(value, Image):
                file = f"images/{_plain(name).replace('/', '-')}-{env_steps:012d}.png"
                self._client.log_image(self._run, value.pixels, artifact_file=file)

    def add_video(self, name: str, file: Path) -> None:
        self._client.log_artifact(self._run, str(file), artifact_path=name)

    def close(self) -> None:
        self._client.set_terminated(self._run)


def _numbers(histogram: Histogram) -> Any:
    values = histogram.values
    return values if not hasattr(values, "detach") else values.detach().cpu().numpy()


def _plain(name: str) -> str:
    """A name of the characters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", name)
