"""Evaluates and shows the policies of runs, in environments of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlkit import plugins
from rlkit.devices import threads_of_torch
from rlkit.errors import ConfigError, RunError
from rlkit.runs.directory import BEST, RunDirectory
from rlkit.runs.evaluator import Evaluator
from rlkit.runs.policy import load_policy
from rlkit.runs.video import Recording, VideoFile, Viewer, frames_per_second
from rlkit.training.evaluation import Scores, bootstrap_interval
from rlkit.types import Purpose

OpenViewer = Callable[[int], AbstractContextManager[Viewer]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores, and the protocol they depend on."""

    scores: Scores
    protocol: dict[str, str]
    env_steps: int

    def to_dict(self) -> dict[str, Any]:
        low, high = bootstrap_interval(self.scores.returns)
        return {
            "protocol": self.protocol,
            "env_steps": self.env_steps,
            "distinct_episodes": self.scores.distinct,
            **self.scores.summary(),
            "return_iqm_interval_95": [low, high],
            **self.scores.episodes(),
        }


def info_of(path: Path) -> dict[str, Any]:
    """The content of run.json, which an exported policy may lack."""
    return RunDirectory(path).info() if (path / "run.json").exists() else {}


def evaluate_checkpoints(path: str | Path, *, overrides: Mapping[str, Any] | None = None) -> list[Evaluation]:
    """Evaluates the policy of every kept checkpoint of a run, in their order, each in the same episodes.

    `train.keep_checkpoints` is the number that a run keeps. Raises RunError if there is none.
    """
    steps = RunDirectory.open(Path(path)).checkpoints.steps()
    if not steps:
        raise RunError(f"{path} has no checkpoint")
    return [evaluate_run(path, checkpoint=str(step), overrides=overrides) for step in steps]


def evaluate_run(
    path: str | Path,
    *,
    checkpoint: str = "last",
    overrides: Mapping[str, Any] | None = None,
    video: Path | None = None,
    video_episodes: int = 1,
) -> Evaluation:
    """Evaluates a run's policy in fresh environments for `evaluation.final_episodes` episodes.

    Imports the modules that the run's config names; `rlkit evaluate` asks before it does. The best policy is
    evaluated in other episodes than those that chose it: in these its score would be too high.

    video: an .mp4 file of the first `video_episodes` of these that environment 0 plays. Writes nothing else. Raises
    ConfigError if it plays fewer.
    """
    viewer = None if video is None else lambda rate: VideoFile(video, rate)
    return _evaluated(path, checkpoint, overrides, viewer, video_episodes)


def watch(
    path: str | Path,
    viewer: OpenViewer,
    *,
    episodes: int = 1,
    checkpoint: str = "last",
    overrides: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Plays episodes of a run's policy, one after the other, and shows each step.

    Imports the modules that the run's config names. viewer: called with the pictures per second; opens a `Viewer`.
    """
    one = {"evaluation.final_episodes": episodes, "evaluation.num_envs": 1}
    return _evaluated(path, checkpoint, {**one, **(overrides or {})}, viewer, episodes)


def _evaluated(
    path: str | Path, checkpoint: str, overrides: Mapping[str, Any] | None, viewer: OpenViewer | None, shown: int
) -> Evaluation:
    """The evaluation; the first `shown` episodes of environment 0 are shown, if there is a viewer."""
    config = RunDirectory.open(Path(path)).config(dict(overrides or {}))
    evaluation = config.evaluation
    played = -(-evaluation.final_episodes // evaluation.num_envs)  # by environment 0
    if viewer is not None and shown > played:
        raise ConfigError(
            f"a video of {shown} episodes needs as many of environment 0, which plays {played} of the "
            f"{evaluation.final_episodes}: evaluate more episodes, or set evaluation.num_envs = 1"
        )
    info = info_of(Path(path))
    chosen = BEST in (checkpoint, info.get("packed"))
    evaluator = Evaluator(config, follows_seeds=info.get("follows_seeds", True) is True, chosen=chosen)
    try:
        if viewer is None:
            evaluator.start_workers()
        loaded = load_policy(path, checkpoint, overrides=overrides)
        with threads_of_torch(config.train.threads):
            if viewer is None:
                scores = evaluator(loaded.policy, evaluation.final_episodes)
            else:
                plugin = plugins.load(plugins.ENVS, config.env.name)
                screens = evaluator.environments = plugin.make(
                    config.evaluation_env, evaluation.num_envs, Purpose.RENDER
                )
                with viewer(frames_per_second(screens.spec)) as opened:
                    recording = Recording(loaded.policy, screens.spec, opened, shown)
                    scores = evaluator(recording, evaluation.final_episodes, recording.on_step)
    finally:
        evaluator.close()
    protocol = evaluator.protocol(evaluation.final_episodes, f"{checkpoint}, at {loaded.env_steps} steps")
    return Evaluation(scores, protocol, loaded.env_steps)
