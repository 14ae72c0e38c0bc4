"""The training loop: act, send, learn, receive, observe; logs, evaluates and saves checkpoints when due."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from rlkit.agent import Agent
from rlkit.config.tables import EvaluationConfig, TrainConfig
from rlkit.errors import RlkitError, WorkerError
from rlkit.metrics.meters import FINAL, EpisodeMeter, Meters, Sink
from rlkit.metrics.visits import Visits
from rlkit.pacing import crossed
from rlkit.training.action_log import ActionLog
from rlkit.training.evaluation import EvaluationStopped, Scores
from rlkit.training.finite import nan_entries, nan_metrics
from rlkit.training.rewards import RewardWatch
from rlkit.training.rollout import Rollout
from rlkit.types import State, StepBatch


class Store(Protocol):
    """Saves checkpoints and policies."""

    def save_checkpoint(self, env_steps: int, state: State) -> None: ...
    def save_policy(self, name: str, state: State, env_steps: int) -> None: ...


@dataclass
class Stop:
    """A request to stop after the current step. Signal handlers set it; the loop reads it."""

    signal: int | None = None


@dataclass
class Trainer:
    """Trains one agent in one rollout for `train.steps` environment steps.

    The order within a step is fixed: the agent learns while the environments run. The policy therefore acts one step
    behind the newest update, whether learning and environments overlap or not.
    """

    agent: Agent
    rollout: Rollout
    action_log: ActionLog
    train: TrainConfig
    evaluation: EvaluationConfig
    evaluate: Callable[[int], Scores]  # number of episodes → scores of the current policy, or EvaluationStopped
    sinks: Sequence[Sink]
    store: Store
    visits: Visits | None = None
    stop: Stop = field(default_factory=Stop)
    on_progress: Callable[[Trainer], None] = lambda trainer: None
    on_step: Callable[[Trainer, StepBatch], bool | None] | None = None  # if it returns true, training ends here
    on_evaluation: Callable[[Trainer, Mapping[str, float]], bool | None] | None = None  # with its scores
    ended: bool = False  # one of them asked to end training
    env_steps: int = 0
    best: float | None = None  # best mean return of an evaluation
    curve: list[dict[str, float]] = field(default_factory=list)  # one row per evaluation
    advice: str = ""  # what can be done about rewards that are all equal
    owes_evaluation: bool = False  # a request to stop interrupted the evaluation that was due at env_steps

    def __post_init__(self) -> None:
        self.meters, self.rewards = Meters(), RewardWatch()
        self.episodes = EpisodeMeter(self.train.num_envs)
        self.seconds = 0.0  # of training, without evaluation; includes earlier processes
        self.processor_seconds = 0.0  # the same, over all threads; of processes of environments nothing
        self.saved_at: int | None = None  # env_steps of the newest checkpoint
        self._clock, self._processor_clock = time.perf_counter(), time.process_time()
        self._clock_steps = self._clock_updates = 0

    def start(self) -> None:
        self.rollout.start(self.agent)
        self._start_clock()

    def run(self) -> Scores | None:
        """Trains to the end. Returns the final scores, or None if it was stopped; saves a checkpoint in both cases."""
        if self.owes_evaluation:
            self.evaluate_now()
            due = crossed(self.train.checkpoint_every, self.env_steps - self.train.num_envs, self.env_steps)
            if self.owes_evaluation or (due and self.env_steps < self.train.steps):
                self.save_checkpoint()
            if self.owes_evaluation:
                return None
        while self.env_steps < self.train.steps and not self.solved and not self.ended:
            before = self.env_steps
            self.step()
            self.at_due_times(before)
            if self.stop.signal is not None:
                self.save_checkpoint()
                return None
        if self.env_steps != self.saved_at:
            self.save_checkpoint()
        # a checkpoint never contains the last learn, or a finished run that is extended would differ from a longer one
        if not self.solved:  # the policy that solved the task is kept: one more update can change it
            self._learn()
        return self.finish()

    @property
    def solved(self) -> bool:
        """Whether the condition for stopping early is met."""
        stop = self.evaluation.stop
        return stop is not None and stop.solved(self.curve)

    def step(self) -> None:
        """One step of all environments."""
        self.rollout.act(self.agent)
        self.rollout.send()
        self._learn()
        try:
            step = self.rollout.receive()
            self.agent.observe(step if self.train.reward_scale == 1.0 else self._scaled(step))
            self.rollout.reset_ended()
        except WorkerError as error:
            raise WorkerError(f"at step {self.env_steps + self.train.num_envs}: {error}{self._kept()}") from error
        self.env_steps += self.train.num_envs
        self.rewards.add(step)
        for row in self.episodes.add(step):
            self.meters.add(row)
        if self.visits is not None:
            self.visits.observe(step)
        if self.on_step is not None and self.on_step(self, step):
            self.ended = True

    def _scaled(self, step: StepBatch) -> StepBatch:
        """The step as the agent sees it; metrics have the raw reward."""
        return replace(step, reward=step.reward * np.float32(self.train.reward_scale))

    def _learn(self) -> None:
        if metrics := self.agent.learn():
            self.meters.add(metrics)
            self._refuse_nan(nan_metrics(metrics))

    def _refuse_nan(self, names: Iterable[str]) -> None:
        """Raises RlkitError if there are any names."""
        if found := list(names):
            where = f"at step {self.env_steps}, update {self.agent.updates}"
            advice = "try a lower learning rate or a limit on the gradient"
            raise RlkitError(f"{where}: {', '.join(found[:5])} is not a number; {advice}{self._kept()}")

    def _require_sound(self) -> None:
        """Raises RlkitError if the policy or a measurement is NaN: nothing must be saved or scored with it."""
        self._refuse_nan(self.meters.nan())
        self._refuse_nan(f"policy/{path}" for path in nan_entries(self.agent.state_dict()["policy"]))

    def _kept(self) -> str:
        return "" if self.saved_at is None else f"; the checkpoint of step {self.saved_at} is sound and kept"

    def at_due_times(self, before: int) -> None:
        """Logs, evaluates and saves a checkpoint if a multiple of the period lies in (before, env_steps]."""
        now = self.env_steps
        if 3 * now >= self.train.steps and not (self.rewards.differs or self.rewards.said) and self.train.reward_scale:
            warnings.warn(f"{self.rewards.note(now)}{self.advice}", stacklevel=2)
        if crossed(self.train.log_every, before, now):
            self.log()
        if crossed(self.evaluation.every, before, now):
            self.evaluate_now()
        if crossed(self.train.checkpoint_every, before, now) and now < self.train.steps:
            self.save_checkpoint()

    def log(self) -> None:
        row = {**self.meters.take(), **self._gauges(), **self._speed()}
        self._write(row)
        self._refuse_nan(name for name, value in row.items() if value != value)
        self.on_progress(self)

    def _gauges(self) -> dict[str, Any]:
        meters = Meters()
        meters.add(self.agent.gauges())
        return {
            **meters.take(),
            "progress/updates": float(self.agent.updates),
            "progress/episodes": self.episodes.episodes,
            **({"progress/restarts": self.action_log.restarts} if self.action_log.restarts else {}),
        }

    def _speed(self) -> dict[str, float]:
        """Metrics under "time/", which differ between a run and its repetition."""
        elapsed = max(time.perf_counter() - self._clock, 1e-9)
        row = {
            "time/env_steps_per_second": (self.env_steps - self._clock_steps) / elapsed,
            "time/updates_per_second": (self.agent.updates - self._clock_updates) / elapsed,
            "time/hours": (self.seconds + elapsed) / 3600,
        }
        self._restart_clock()
        return row

    def _restart_clock(self) -> None:
        self.seconds += time.perf_counter() - self._clock
        self.processor_seconds += time.process_time() - self._processor_clock
        self._start_clock()

    def _start_clock(self) -> None:
        self._clock, self._processor_clock = time.perf_counter(), time.process_time()
        self._clock_steps, self._clock_updates = self.env_steps, self.agent.updates

    def evaluate_now(self) -> None:
        clock, processor = time.perf_counter(), time.process_time()
        try:
            self._evaluate()
        finally:  # the time of training is without evaluations
            self._clock += time.perf_counter() - clock
            self._processor_clock += time.process_time() - processor

    def _evaluate(self) -> None:
        self._require_sound()
        try:
            summary = self.evaluate(self.evaluation.episodes).summary()
        except EvaluationStopped:
            self.owes_evaluation = True
            return
        self.owes_evaluation = False
        self.curve.append({"env_steps": self.env_steps, **summary})
        self._write({f"evaluation/{name}": value for name, value in summary.items()} | self._picture())
        if self.best is None or summary["return_mean"] > self.best:
            self.best = summary["return_mean"]
            self.store.save_policy("best", self.agent.state_dict()["policy"], self.env_steps)
        if self.on_evaluation is not None and self.on_evaluation(self, summary):
            self.ended = True

    def finish(self) -> Scores | None:
        """Exports the policy and evaluates it; the row includes the measurements since the last log.

        Closes the training environments first: of some simulators only one instance may exist. None if it was stopped.
        """
        self._restart_clock()
        self._require_sound()
        self.store.save_policy("final", self.agent.state_dict()["policy"], self.env_steps)
        self.rollout.close()
        try:
            scores = self.evaluate(self.evaluation.final_episodes)
        except EvaluationStopped:
            return None
        final = {f"{FINAL}{name}": value for name, value in scores.summary().items()}
        self._write({**self.meters.take(), **final, **self._picture()})
        return scores

    def _picture(self) -> dict[str, Any]:
        return {} if self.visits is None else {"train/visits": self.visits.image()}

    def _write(self, row: dict[str, Any]) -> None:
        for sink in self.sinks:
            sink.write(self.env_steps, row)

    def save_checkpoint(self) -> None:
        self._require_sound()
        self.store.save_checkpoint(self.env_steps, self.state_dict())
        self.saved_at = self.env_steps

    def state_dict(self) -> State:
        """Everything that the rest of the run and its metrics depend on."""
        return {
            "agent": self.agent.state_dict(),
            "rollout": self.rollout.state_dict(),
            "tape": self.action_log.state_dict(),
            "meters": self.meters.state_dict(),
            "episodes": self.episodes.state_dict(),
            "env_steps": self.env_steps,
            "best": self.best,
            "curve": self.curve,
            "owes_evaluation": self.owes_evaluation,
            "rewards": self.rewards.state_dict(),
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "visits": None if self.visits is None else self.visits.counts.copy(),
        }

    def load_state_dict(self, state: State, device: Any) -> None:
        """Loads a state_dict except for the part "rollout"; call `play_back` with it afterwards."""
        self.agent.load_state_dict(state["agent"])
        self.action_log.load_state_dict(state["tape"])
        self.meters.load_state_dict(state["meters"], device)
        self.episodes.load_state_dict(state["episodes"])
        self.env_steps, self.best, self.curve = state["env_steps"], state["best"], list(state["curve"])
        self.owes_evaluation = state.get("owes_evaluation", False)
        if "rewards" in state:  # not in earlier checkpoints
            self.rewards.load_state_dict(state["rewards"])
        self.saved_at = self.env_steps
        if self.visits is not None and state["visits"] is not None:
            self.visits.counts[...] = state["visits"]
        self.seconds = state["seconds"]
        self.processor_seconds = state.get("processor_seconds", 0.0)  # not in version 0.1.0

    def play_back(self, state: State) -> bool:
        """Restores the environments by replaying their actions; state: the part "rollout" of a state_dict.

        Returns False if they cannot be restored; training then continues with new episodes.
        """
        exact = self.rollout.resume(state, self.action_log)
        if not exact:
            self.episodes.forget()
            self.rollout.start(self.agent)
        self._start_clock()
        return exact
