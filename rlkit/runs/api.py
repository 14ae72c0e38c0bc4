"""Train a config, resume a run, evaluate it: what the command line does, for Python."""

from __future__ import annotations

import json
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rlkit import plugins
from rlkit.config.keys import flat
from rlkit.config.load import load
from rlkit.config.tables import Config
from rlkit.devices import choose_device
from rlkit.errors import ConfigError, RlkitError, RunError
from rlkit.metrics.line_log import read_rows
from rlkit.metrics.meters import summarise
from rlkit.runs.assemble import Evaluator, Session, assemble
from rlkit.runs.checkpoint import write_text
from rlkit.runs.directory import RunDirectory, free_name, machine, today, versions
from rlkit.runs.earlier import upgraded
from rlkit.runs.identity import differences, digest, of_checkpoint, understood
from rlkit.runs.policy import load_policy
from rlkit.runs.video import Recording, VideoFile, frames_per_second
from rlkit.training.evaluation import Scores, bootstrap_interval
from rlkit.training.trainer import Stop, Trainer
from rlkit.types import Purpose

Progress = Callable[[Trainer], None]


class Stopped(RlkitError):
    """A signal ended the run after a checkpoint was written; `exit_code` is the shell's for that signal."""

    def __init__(self, run: RunDirectory, env_steps: int, number: int) -> None:
        super().__init__(f"stopped at step {env_steps}; go on with: rlkit resume {run.path}")
        self.run = run
        self.exit_code = 128 + number


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """SIGINT and SIGTERM ask for a stop after the current step; a second one ends the process at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: Any) -> None:
        os.write(2, b"\nstopping after this step or evaluation; once more ends at once, without a checkpoint\n")
        stop.signal = number
        signal.signal(number, signal.SIG_DFL)

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    config: Config | str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    run: str | Path | None = None,
    on_progress: Progress = lambda trainer: None,
) -> RunDirectory:
    """Trains a config (a file, a packaged one's name, or an object) to its end.

    `overrides` are dotted keys, {"train.steps": 1000}. The run lies in `run`, by default runs/NAME-seedS or the next
    free name. Raises ConfigError before anything is written, Stopped after a signal.
    """
    if not isinstance(config, Config):
        config = load(config, overrides)
    elif overrides:
        raise ConfigError("overrides go with a config's name or file; this one is resolved already")
    name = config.label.replace("/", "-")
    path = Path(run) if run is not None else free_name(Path("runs") / f"{name}-seed{config.train.seed}")

    def create(device: torch.device) -> RunDirectory:
        return RunDirectory.create(path, config, run_info(config, device))

    with _threads(config.train.threads), stop_on_signals() as stop:
        session = assemble(config, create, stop=stop, on_progress=on_progress)
        try:
            with session.run.lock():
                session.trainer.start()
                return _finish(session, config, session.trainer.run())
        finally:
            session.close()


def run_info(config: Config, device: torch.device) -> dict[str, Any]:
    """What run.json says of how a run was made."""
    return {
        "experiment": config.label,
        "digest": digest(config),
        "seed": config.train.seed,
        "device": str(device),
        "threads": config.train.threads,
        "versions": versions(),
        "machine": machine(),
        "date": today(),
        "approximate": [],
    }


def resume(path: str | Path, steps: int | None = None, *, on_progress: Progress = lambda trainer: None) -> RunDirectory:
    """Goes on with a run from its newest sound checkpoint, as if nothing had happened; `steps` is a new total.

    Warns where a checkpoint is damaged (an older one is taken), where versions changed, and where the environments do
    not play back (the run goes on with fresh episodes and is marked as approximate). Raises RunError where nothing
    can be resumed.
    """
    run = RunDirectory.open(Path(path))
    config = run.config({} if steps is None else {"train.steps": steps})
    with run.lock():
        env_steps = _where_to_go_on(run, steps, config)
        with _threads(config.train.threads), stop_on_signals() as stop:
            session = assemble(config, lambda device: run, resumed_at=env_steps, stop=stop, on_progress=on_progress)
            try:
                exact = _restore(session, env_steps)
                write_text(run.path / "config.toml", config.to_toml())
                run.amend(digest=digest(config))
                _warn_of_changes(run, config, env_steps)
                if not exact:
                    _mark_approximate(run, env_steps)
                return _finish(session, config, session.trainer.run())
            finally:
                session.close()


def _where_to_go_on(run: RunDirectory, steps: int | None, config: Config) -> int:
    """The step of the newest sound checkpoint. Raises RunError where there is none, or nothing to do from there."""
    env_steps, problems = run.checkpoints.newest_sound()
    if env_steps is None:
        raise RunError("; ".join(problems) or f"{run.path} has no checkpoint yet; train it anew")
    for problem in problems:
        warnings.warn(f"{problem}; going on from step {env_steps} instead", stacklevel=3)
    if steps is not None and steps < env_steps:
        raise RunError(f"{run.path} is at step {env_steps} already; --steps is a total, and {steps} is less")
    result = run.result()
    # a result of fewer steps is of before an extension
    if result is not None and result["env_steps"] >= env_steps and env_steps >= config.train.steps:
        more = f"'rlkit resume {run.path} --steps N' with N above {env_steps} extends it"
        raise RunError(f"{run.path} is finished at step {env_steps}; {more}")
    _refuse_another(run, config, run.checkpoints.load(env_steps, "config"))
    return env_steps


def _restore(session: Session, env_steps: int) -> bool:
    """Loads a checkpoint; False if the environments did not play back to where they were.

    Nothing else refers to its state, and it is freed on return, so a replay of up to half the memory can be resumed.
    """
    with session.run.naming_versions("the checkpoint"):
        state = upgraded(session.run.checkpoints.load(env_steps))
        session.trainer.load_state_dict(state, session.device)
    return session.trainer.play_back(state["rollout"])


def _mark_approximate(run: RunDirectory, env_steps: int) -> None:
    run.amend(approximate=[*run.info()["approximate"], env_steps])
    warnings.warn(
        f"{run.path}: the environments did not play back to where they were at step {env_steps}; "
        "the run goes on with fresh episodes and is marked as approximate",
        stacklevel=3,
    )


def _refuse_another(run: RunDirectory, config: Config, made_under: Mapping[str, Any]) -> None:
    """Raises RunError where the checkpoint was made under another agent, environment, seed or number of them."""
    tables = config.tables()
    then = understood({**tables, **made_under, "train": {**tables["train"], **made_under["train"]}})
    changed = differences(flat(of_checkpoint(then)), flat(of_checkpoint(tables)))
    if changed:
        raise RunError(f"{run.path}: config.toml is not the one its checkpoints were made under: {'; '.join(changed)}")


def _warn_of_changes(run: RunDirectory, config: Config, env_steps: int) -> None:
    """Notes in run.json, and says, where the second half of a run differs from the first in what numbers depend on."""
    info, now = run.info(), versions()
    changed = [f"{name} {old} → {now.get(name)}" for name, old in info["versions"].items() if now.get(name) != old]
    device = str(choose_device(config.train.device))
    if device != info["device"]:
        changed.append(f"device {info['device']} → {device}")
    if config.train.threads != info["threads"]:
        changed.append(f"threads {info['threads']} → {config.train.threads}")
    if changed:
        run.amend(changed={**info.get("changed", {}), str(env_steps): changed})
        warnings.warn(f"{run.path}: resumed with {', '.join(changed)}; the numbers may differ slightly", stacklevel=3)


def _finish(session: Session, config: Config, scores: Scores | None) -> RunDirectory:
    trainer, run = session.trainer, session.run
    if scores is None:
        raise Stopped(run, trainer.env_steps, trainer.stop.signal or signal.SIGINT)
    protocol = session.evaluator.protocol(config.evaluation.final_episodes, f"final, at {trainer.env_steps} steps")
    result = {
        "format": 1,
        "library": "rlkit",
        **run.info(),
        "env_steps": trainer.env_steps,
        "updates": trainer.agent.updates,
        "train_seconds": round(trainer.seconds, 1),
        "frame_skip": session.environments.spec.frame_skip,
        "reference_scores": plugins.load(plugins.ENVS, config.env.name).reference_scores(config.env),
        "config": config.tables(),
        "protocol": protocol,
        "curve": trainer.curve,
        "training": summarise(read_rows(run.metrics)),
        "final": {"episodes": len(scores.returns), **scores.episodes()},
    }
    write_text(run.path / "result.json", json.dumps(result) + "\n")
    return run


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores with what they depend on."""

    scores: Scores
    protocol: dict[str, str]
    env_steps: int

    def to_dict(self) -> dict[str, Any]:
        low, high = bootstrap_interval(self.scores.returns)
        return {
            "protocol": self.protocol,
            "env_steps": self.env_steps,
            **self.scores.summary(),
            "return_iqm_interval_95": [low, high],
            **self.scores.episodes(),
        }


def evaluate_run(
    path: str | Path,
    *,
    checkpoint: str = "last",
    overrides: Mapping[str, Any] | None = None,
    video: Path | None = None,
) -> Evaluation:
    """Scores a run's policy in fresh environments, `evaluation.final_episodes` episodes. Writes nothing else.

    `video`: an .mp4 file of the first of these episodes, environment 0's.
    """
    loaded = load_policy(path, checkpoint, overrides=overrides)
    evaluation = loaded.config.evaluation
    evaluator = Evaluator(loaded.config)
    try:
        with _threads(loaded.config.train.threads):
            if video is None:
                scores = evaluator(loaded.policy, evaluation.final_episodes)
            else:
                plugin = plugins.load(plugins.ENVS, loaded.config.env.name)
                shown = evaluator.environments = plugin.make(loaded.config.env, evaluation.num_envs, Purpose.RENDER)
                with VideoFile(video, frames_per_second(shown.spec)) as file:
                    recording = Recording(loaded.policy, shown.spec, file)
                    scores = evaluator(recording, evaluation.final_episodes, recording.on_step)
    finally:
        evaluator.close()
    protocol = evaluator.protocol(evaluation.final_episodes, f"{checkpoint}, at {loaded.env_steps} steps")
    return Evaluation(scores, protocol, loaded.env_steps)
