"""Runs as TensorBoard shows them: each under its own name, with the settings that differ, and the final scores."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlkit.errors import RlkitError
from rlkit.metrics.layout import SCORES
from rlkit.report.labels import UNSET
from rlkit.report.page import names_of
from rlkit.report.results import candidates
from rlkit.runs.directory import RunDirectory
from rlkit.runs.identity import SEED, of_run

SETTINGS = (
    "events.out.tfevents.0.settings"  # sorts before the run's own files, and TensorBoard keeps what it reads first
)


@dataclass
class Board:
    """A log folder for TensorBoard that links to the event files of run directories."""

    runs: Sequence[Path]  # run directories, or folders of them
    folder: Path
    keys: list[str] = field(default_factory=list)  # the settings that differed when the board was made
    names: dict[Path, str] = field(default_factory=dict)

    def update(self) -> None:
        """Adds runs and event files that are new. The first call decides which settings are shown."""
        found = [run for path in self.runs for run in candidates(path) if (run / "tensorboard").is_dir()]
        settings = {run: tables for run in found if run not in self.names and (tables := _settings(run)) is not None}
        if not self.names:
            self.keys = differing(list(settings.values()))
        known = set(self.names.values())
        for run, name in names_of([*self.names, *settings]).items():
            self.names.setdefault(run, name if name not in known else str(run))
        for run, values in settings.items():
            place = self.folder / self.names[run]
            place.mkdir(parents=True)
            write_settings(place / SETTINGS, self.names[run], {key: values.get(key, UNSET) for key in self.keys})
        for run, name in self.names.items():
            for file in run.glob("tensorboard/events.*"):
                link = self.folder / name / file.name
                if not link.is_symlink():
                    link.symlink_to(file.resolve())


def _settings(run: Path) -> dict[str, Any] | None:
    """The settings of a run by dotted key; None if its config cannot be read."""
    try:
        return of_run(RunDirectory.open(run).tables())
    except RlkitError:
        return None


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values differ, the seed first."""
    keys = dict.fromkeys([SEED, *(key for values in settings for key in values)])
    return [key for key in keys if key == SEED or len({str(values.get(key, UNSET)) for values in settings}) > 1]


def write_settings(file: Path, name: str, values: Mapping[str, Any]) -> None:
    """An event file with one row of TensorBoard's table of settings, and with the scores that stand beside it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.summary.writer.record_writer import RecordWriter

    plain = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in values.items()}
    columns = [summary_v2.HParam(key) for key in plain]
    scores = [summary_v2.Metric(tag, display_name=tag) for tag in SCORES]
    summaries = (summary_v2.hparams_config_pb(columns, scores), summary_v2.hparams_pb(plain, trial_id=name))
    now = time.time()
    with file.open("wb") as opened:
        writer = RecordWriter(opened)
        for event in (Event(wall_time=now, file_version="brain.Event:2"),
                      *(Event(wall_time=now, step=0, summary=summary) for summary in summaries)):  # fmt: skip
            writer.write(event.SerializeToString())
        writer.flush()
