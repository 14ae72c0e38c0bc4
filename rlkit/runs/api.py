"""The Python interface: trains a config, resumes a run, evaluates it."""

from __future__ import annotations

import json
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from rlkit import plugins
from rlkit.config.keys import flat
from rlkit.config.load import load
from rlkit.config.tables import Config
from rlkit.devices import choose_device, threads_of_torch
from rlkit.errors import ConfigError, RlkitError, RunError
from rlkit.files import write_text
from rlkit.metrics.line_log import read_rows
from rlkit.metrics.meters import summarise
from rlkit.runs.assemble import Hooks, Session, assemble
from rlkit.runs.directory import RunDirectory, free_name, machine, today, versions
from rlkit.runs.earlier import upgraded
from rlkit.runs.evaluate import info_of
from rlkit.runs.evaluator import Evaluator
from rlkit.runs.identity import differences, digest, of_checkpoint, understood
from rlkit.runs.progress import progress_lines
from rlkit.runs.trial import trial
from rlkit.runs.trust import named_modules
from rlkit.runs.warm_start import pinned
from rlkit.training.evaluation import Scores
from rlkit.training.trainer import Stop, Trainer
from rlkit.types import StepBatch

TRIAL_STEPS, TRIAL_SECONDS = 50, 0.5  # of the random play before training, played twice within the time

Progress = Callable[[Trainer], None]
OnStep = Callable[[Trainer, StepBatch], bool | None]
OnEvaluation = Callable[[Trainer, Mapping[str, float]], bool | None]


class Stopped(RlkitError):
    """A signal stopped the run after it wrote a checkpoint. `exit_code` is that of a shell for the signal."""

    def __init__(self, run: RunDirectory, env_steps: int, number: int) -> None:
        super().__init__(f"stopped at step {env_steps}; to continue: rlkit resume {run.path}")
        self.run = run
        self.exit_code = 128 + number


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """SIGINT and SIGTERM request a stop after the current step; a second signal ends the process at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: Any) -> None:
        os.write(2, b"\nstopping after this step; a second signal stops at once, without a checkpoint\n")
        stop.signal = number
        signal.signal(number, signal.SIG_DFL)

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(
    config: Config | str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    run: str | Path | None = None,
    on_progress: Progress | None = None,
    on_step: OnStep | None = None,
    on_evaluation: OnEvaluation | None = None,
) -> RunDirectory:
    """Trains a config: a file, the name of a packaged config, or a resolved one.

    overrides: values by dotted key, {"train.steps": 1000}. run: the run directory, by default runs/NAME-seedS or the
    next free name. Plays some random steps first, and warns of what it sees. Raises ConfigError before anything is
    written, Stopped after a signal.

    on_progress(trainer) is called whenever metrics are logged; by default a line is written every few seconds if the
    standard error is a terminal. on_step(trainer, step) is called after each step of all environments,
    on_evaluation(trainer, scores) after each evaluation during training; if one returns true, training ends there, with
    the final evaluation. Both may log: `trainer.meters.add({"mine/speed": 3.0})`.
    """
    if not isinstance(config, Config):
        config = load(config, overrides)
    elif overrides:
        raise ConfigError("overrides need the name or the file of a config; this config is already resolved")
    config = pinned(config)
    seen = trial(config, TRIAL_STEPS, TRIAL_SECONDS)
    seen.check(config)
    for note in seen.notes(config):
        warnings.warn(note, stacklevel=2)
    follows_seeds = seen.differs_at is None
    path = Path(run) if run is not None else free_name(default_run(config))

    with threads_of_torch(config.train.threads), stop_on_signals() as stop, ExitStack() as held:

        def create(device: torch.device) -> RunDirectory:
            info = {**run_info(config, device), "follows_seeds": follows_seeds}
            return held.enter_context(RunDirectory.created(path, config, info))

        hooks = Hooks(on_progress or progress_lines(config.train.steps), on_step, on_evaluation)
        session = assemble(config, create, stop=stop, hooks=hooks, follows_seeds=follows_seeds)
        try:
            session.trainer.start()
            if config.train.warm_start is not None:
                session.trainer.save_checkpoint()  # from here on the other run is not needed
            return _finish(session, config, session.trainer.run())
        finally:
            session.close()


def default_run(config: Config) -> Path:
    """The run directory of a config that is trained for the first time."""
    return Path("runs") / f"{config.label.replace('/', '-')}-seed{config.train.seed}"


def run_info(config: Config, device: torch.device) -> dict[str, Any]:
    """The content of run.json: how a run is made."""
    return {
        "experiment": config.label,
        "digest": digest(config),
        "seed": config.train.seed,
        "device": str(device),
        "threads": config.train.threads,
        "versions": versions(),
        "machine": machine(),
        "date": today(),
        "protocol": Evaluator(config).protocol(config.evaluation.final_episodes, "unfinished"),
        "approximate": [0] if config.train.actors else [],  # the order of their data is not fixed
    }


def resume(
    path: str | Path,
    steps: int | None = None,
    *,
    device: str | None = None,
    on_progress: Progress | None = None,
    on_step: OnStep | None = None,
    on_evaluation: OnEvaluation | None = None,
) -> RunDirectory:
    """Continues a run from its newest sound checkpoint, exactly as if it had not stopped.

    Imports the modules that the run's config names; `rlkit resume` asks before it does.

    steps: a new total of environment steps. device: another train.device, "cpu" for a run that was made on a GPU. Warns
    if a checkpoint is damaged (then an older one is used), if versions changed, and if the environments cannot be
    restored (then the run continues with new episodes and is marked as approximate). Raises RunError if nothing can be
    resumed.
    """
    run = RunDirectory.open(Path(path))
    changes = {"train.steps": steps, "train.device": device}
    config = run.config({key: value for key, value in changes.items() if value is not None})
    with run.lock():
        env_steps = _step_to_resume_at(run, steps, config)
        with threads_of_torch(config.train.threads), stop_on_signals() as stop:
            session = assemble(
                config,
                lambda device: run,
                resumed_at=env_steps,
                stop=stop,
                hooks=Hooks(on_progress or progress_lines(config.train.steps), on_step, on_evaluation),
                follows_seeds=info_of(run.path).get("follows_seeds", True) is True,
            )
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


def _step_to_resume_at(run: RunDirectory, steps: int | None, config: Config) -> int:
    """The step of the newest sound checkpoint. Raises RunError if there is none, or if the run is finished there."""
    env_steps, problems = run.checkpoints.newest_sound()
    if env_steps is None:
        anew = f"'rlkit train {run.path / 'config.toml'} --run {run.path}' begins it anew"
        raise RunError("; ".join(problems) or f"{run.path} has no checkpoint; {anew}")
    for problem in problems:
        warnings.warn(f"{problem}; resuming from step {env_steps} instead", stacklevel=3)
    if steps is not None and steps < env_steps:
        raise RunError(f"{run.path} is already at step {env_steps}; --steps is a total, and {steps} is less")
    result = run.result()
    # a result of fewer steps is from before an extension
    if result is not None and result["env_steps"] >= env_steps and env_steps >= config.train.steps:
        more = f"'rlkit resume {run.path} --steps N' with N above {env_steps} extends it"
        raise RunError(f"{run.path} is finished at step {env_steps}; {more}")
    _refuse_another(run, config, run.checkpoints.load(env_steps, "config"))
    run.checkpoints.prune(env_steps, config.train.keep_checkpoints)
    return env_steps


def _restore(session: Session, env_steps: int) -> bool:
    """Loads a checkpoint. False if the environments could not be restored.

    The state is freed on return and nothing else refers to it: a replay of up to half the memory can be resumed.
    """
    with session.run.naming_versions("the checkpoint"):
        state = upgraded(session.run.checkpoints.load(env_steps))
        session.trainer.load_state_dict(state, session.device)
        return session.trainer.play_back(state["rollout"])


def _mark_approximate(run: RunDirectory, env_steps: int) -> None:
    run.amend(approximate=[*run.info()["approximate"], env_steps])
    warnings.warn(
        f"{run.path}: the environments could not be restored to their state at step {env_steps}; "
        "the run continues with new episodes and is marked as approximate",
        stacklevel=3,
    )


def _refuse_another(run: RunDirectory, config: Config, made_under: Mapping[str, Any]) -> None:
    """Raises RunError if the checkpoint was made with another agent, environment, seed or number of environments."""
    tables = config.tables()
    with run.naming_versions("the config of the checkpoint"):
        saved = {**tables, **made_under, "train": {**tables["train"], **made_under["train"]}}
        then = understood(saved, named_modules(tables))
    changed = differences(flat(of_checkpoint(then)), flat(of_checkpoint(tables)))
    if changed:
        raise RunError(f"{run.path}: config.toml differs from the config of its checkpoints: {'; '.join(changed)}")


def _warn_of_changes(run: RunDirectory, config: Config, env_steps: int) -> None:
    """Records in run.json, and warns of, changes since the start of the run that numbers depend on."""
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
        "train_processor_seconds": round(trainer.processor_seconds, 1),
        "frame_skip": session.environments.spec.frame_skip,
        "reference_scores": plugins.load(plugins.ENVS, config.env.name).reference_scores(config.env),
        "config": config.tables(),
        "protocol": protocol,
        "curve": trainer.curve,
        "training": summarise(read_rows(run.metrics)),
        "distinct_episodes": scores.distinct,
        **({"deciding_episodes": config.evaluation.episodes} if trainer.solved else {}),  # the first ones of "final"
        "final": {"episodes": len(scores.returns), **scores.episodes()},
    }
    write_text(run.path / "result.json", json.dumps(result) + "\n")
    return run
