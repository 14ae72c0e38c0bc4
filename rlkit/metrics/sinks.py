"""The sinks of rlkit: TensorBoard and image files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import PIL.Image

from rlkit.config.tables import Config
from rlkit.files import write
from rlkit.metrics.layout import LAYOUT, SCORES
from rlkit.metrics.meters import Row, Sink
from rlkit.types import Histogram, Image


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What a sink is built from."""

    folder: Path  # the run directory
    config: Config
    settings: Mapping[str, Any]  # by dotted key: the values in which runs differ, including the seed
    protocol: Mapping[str, str]
    resumed_at: int  # env_steps of the checkpoint that the run is resumed from; 0 for a new run


class TensorBoardSink:
    """Event files in RUN/tensorboard; the x-axis is environment steps."""

    def __init__(self, context: SinkContext) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        purge = context.resumed_at + 1 if context.resumed_at else None
        self._writer: Any = SummaryWriter(str(context.folder / "tensorboard"), purge_step=purge)
        if not context.resumed_at:
            self._describe(context)

    def _describe(self, context: SinkContext) -> None:
        from torch.utils.tensorboard.summary import hparams

        self._writer.add_text("config", f"```toml\n{context.config.to_toml()}```")
        protocol = "\n".join(f"| {key} | {value} |" for key, value in context.protocol.items())
        self._writer.add_text("protocol", f"| | |\n|---|---|\n{protocol}")
        self._writer.add_custom_scalars({title: {name: ["Multiline", tags] for name, tags in charts.items()}
                                         for title, charts in LAYOUT.items()})  # fmt: skip
        values = {
            key: value if isinstance(value, str | bool | int | float) else str(value)
            for key, value in context.settings.items()
        }
        # TensorBoard shows the newest value of the scalar of that name
        for summary in hparams(values, dict.fromkeys(SCORES, 0.0)):  # type: ignore[no-untyped-call]
            self._writer.file_writer.add_summary(summary)

    def write(self, env_steps: int, row: Row) -> None:
        for name, value in row.items():
            if isinstance(value, Histogram):
                self._writer.add_histogram(name, value.values, env_steps)
            elif isinstance(value, Image):
                self._writer.add_image(name, value.pixels, env_steps, dataformats="HWC")
            else:
                self._writer.add_scalar(name, value, env_steps)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class ImageSink:
    """Writes the newest image of each name to RUN/images/GROUP-NAME.png."""

    def __init__(self, context: SinkContext) -> None:
        self._folder = context.folder / "images"

    def write(self, env_steps: int, row: Row) -> None:
        for name, value in row.items():
            if isinstance(value, Image):
                self._folder.mkdir(exist_ok=True)
                path = self._folder / f"{name.replace('/', '-')}.png"
                write(path, partial(PIL.Image.fromarray(value.pixels).save, format="png"))

    def close(self) -> None:
        """Nothing is open."""


class Guarded:
    """A sink whose failures end nothing: after the first one it is left out, with a warning."""

    def __init__(self, name: str, factory: Callable[[SinkContext], Sink], context: SinkContext) -> None:
        self._name = name
        self._sink: Any = None
        self._attempt(lambda: self._open(factory, context))

    def _open(self, factory: Callable[[SinkContext], Sink], context: SinkContext) -> None:
        self._sink = factory(context)

    def write(self, env_steps: int, row: Row) -> None:
        self._attempt(lambda: None if self._sink is None else self._sink.write(env_steps, row))

    def add_video(self, name: str, file: Path) -> None:
        """Passes a video on, if the sink takes any."""
        if hasattr(self._sink, "add_video"):
            self._attempt(lambda: self._sink.add_video(name, file))

    def close(self) -> None:
        self._attempt(lambda: None if self._sink is None else self._sink.close())

    def _attempt(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # a server that does not answer, a full disk: whatever a library raises
            self._sink = None
            first = (str(error).strip().splitlines() or [""])[0]
            warnings.warn(
                f"the sink {self._name} failed and is left out: {type(error).__name__}: {first:.200}; training goes "
                "on, and metrics.jsonl has every scalar",
                stacklevel=2,
            )
