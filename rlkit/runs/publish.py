"""Passes files that were made after training on to the trackers of a run, such as a video of its policy."""

from __future__ import annotations

from pathlib import Path

from rlkit import plugins
from rlkit.metrics.sinks import Guarded, SinkContext
from rlkit.runs.directory import RunDirectory
from rlkit.runs.identity import of_run


def publish_video(path: Path, file: Path, protocol: dict[str, str], env_steps: int) -> list[str]:
    """Adds a video to the run in each of its sinks that takes videos, and that knows the run. Returns their names.

    A sink that fails is left out, with a warning.
    """
    run = RunDirectory.open(path)
    config = run.config()
    taken = []
    for name in config.train.sinks:
        factory = plugins.load(plugins.SINKS, name)
        if hasattr(factory, "add_video") and (not hasattr(factory, "knows") or factory.knows(path)):
            sink = Guarded(name, factory, SinkContext(path, config, of_run(config.tables()), protocol, env_steps))
            sink.add_video("evaluation/video", file)
            sink.close()
            taken.append(name)
    return taken
