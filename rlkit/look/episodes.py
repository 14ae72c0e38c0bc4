"""Training episodes, played again from the action log: their returns, and videos of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit import plugins
from rlkit.config.tables import Config
from rlkit.errors import ConfigError, RunError
from rlkit.exploration.bonus import build_bonus
from rlkit.exploration.count.bonus import CountBonus
from rlkit.exploration.count.config import CountConfig
from rlkit.learning.rollouts import RolloutConfig
from rlkit.look.explain import Progress
from rlkit.look.played_again import LoggedPart, is_complete, logged_parts, play_back
from rlkit.metrics.line_log import read_rows
from rlkit.runs.directory import RunDirectory
from rlkit.runs.video import VideoFile, beside, frames_per_second
from rlkit.seeding import Streams
from rlkit.types import SCREEN, EnvSpec, Purpose, StepBatch


@dataclass(frozen=True, slots=True)
class Episode:
    """A finished training episode."""

    env: int
    seed: int  # with which its environment was reset at the beginning of `part`
    part: int  # row of the first action since that seed
    first: int  # row of its own first action
    length: int
    total: float  # undiscounted raw return
    env_steps: int  # of the run when it ended
    intrinsic: float | None  # sum of the bonuses of its steps when they were made; None: not known
    codes: int | None  # distinct codes of the states after its steps; None: not known


@dataclass(frozen=True, slots=True)
class Listing:
    """The episodes of a run, in the order of their ends."""

    episodes: list[Episode]
    complete: bool  # whether the action log holds all steps of the run
    agreeing: int  # rows of metrics whose mean return is that of the episodes that ended in their interval
    differing: int  # the other rows; rows are compared only if the log is complete

    def to_dict(self) -> dict[str, Any]:
        return {
            "complete": self.complete,
            "rows_that_agree_with_the_log": self.agreeing,
            "rows_that_differ": self.differing,
            "episodes": [
                {"number": number, "return": values.pop("total"), **values}
                for number, values in enumerate(map(asdict, self.episodes))
            ],
        }

    def summary(self) -> str:
        """The highest return: how many episodes have it, and which was the first."""
        if not self.episodes:
            return "no episode has ended yet"
        highest = max(episode.total for episode in self.episodes)
        reached = [number for number, episode in enumerate(self.episodes) if episode.total == highest]
        step = self.episodes[reached[0]].env_steps
        return f"highest return {highest:g}: {len(reached):,} episodes, first {reached[0]:,}, at step {step:,}"

    def chosen(self, which: str) -> tuple[int, Episode]:
        """(number, episode) for "best" (of equals the newest), "last", or a number. Raises ConfigError for others."""
        last = len(self.episodes) - 1
        if last < 0:
            raise ConfigError(f"--play {which}: no episode has ended yet")
        if which == "best":
            number = max(range(last + 1), key=lambda index: (self.episodes[index].total, index))
        elif which == "last":
            number = last
        elif which.isdecimal() and len(which) <= 18 and int(which) <= last:
            number = int(which)
        else:
            raise ConfigError(f"--play {which}: give best, last, or a number from 0 to {last}")
        return number, self.episodes[number]


class _Tracker:
    """Collects episodes from steps, with the bonus that they got."""

    def __init__(self, num_envs: int, bonus: CountBonus | None) -> None:
        self.episodes: list[Episode] = []
        self._bonus, self._num_envs = bonus, num_envs
        self._total, self._length = np.zeros(num_envs), np.zeros(num_envs, np.int64)
        self._codes: list[set[int]] = [set() for _ in range(num_envs)]

    def add(self, row: int, step: StepBatch, part_of: Sequence[LoggedPart | None]) -> None:
        self._total += step.reward
        self._length += 1
        intrinsic = self._observed(step)
        for env in np.flatnonzero(step.ended).tolist():
            part = part_of[env]
            if part is not None:
                length = int(self._length[env])
                known = intrinsic is not None
                self.episodes.append(
                    Episode(
                        env, part.seed, part.first, row + 1 - length, length, float(self._total[env]),
                        (row + 1) * self._num_envs, float(intrinsic[env]) if intrinsic is not None else None,
                        len(self._codes[env]) if known else None,
                    )
                )  # fmt: skip
            self.forget(env)

    def _observed(self, step: StepBatch) -> NDArray[np.float64] | None:
        """(N,) the bonuses of the running episodes so far."""
        if self._bonus is None:
            return None
        self._bonus.learn()
        self._bonus.observe(step)
        for codes, code in zip(self._codes, self._bonus.visits.latest.tolist(), strict=True):
            codes.add(code)
        return self._bonus.intrinsic_return

    def forget(self, env: int) -> None:
        self._total[env], self._length[env] = 0.0, 0
        self._codes[env].clear()


def list_episodes(run: RunDirectory, config: Config, progress: Progress) -> Listing:
    """Plays the whole action log again. Raises RunError if there is none, or if an episode did not end."""
    found, num_envs = logged_parts(run, config), config.train.num_envs
    complete = is_complete(found, num_envs)
    environments = plugins.load(plugins.ENVS, config.env.name).make(config.env, num_envs, Purpose.TRAIN)
    bonus = count_bonus(config, environments.spec) if complete else None
    tracker = _Tracker(num_envs, bonus)
    last, begins = max(part.end for part in found), {(part.env, part.first) for part in found}

    def on_step(row: int, step: StepBatch, active: list[LoggedPart | None]) -> None:
        for env in range(num_envs):
            if (env, row) in begins:
                tracker.forget(env)
        tracker.add(row, step, active)
        progress(row + 1, last)

    try:
        play_back(environments, found, on_step)
    finally:
        environments.close()
    agreeing, differing = _compared(tracker.episodes, run, last * num_envs) if complete else (0, 0)
    return Listing(tracker.episodes, complete, agreeing, differing)


def _compared(episodes: Sequence[Episode], run: RunDirectory, env_steps: int) -> tuple[int, int]:
    """(agreeing, differing): rows of metrics against the mean return of the episodes that ended in their interval.

    Rows after `env_steps`, which a killed run has, are not compared.
    """
    counts, before = [0, 0], 0
    for line in read_rows(run.metrics) if run.metrics.is_file() else []:
        now = int(line["env_steps"])
        if "progress/updates" not in line or now > env_steps:
            continue  # of an evaluation, or of a later step
        ended = [episode.total for episode in episodes if before < episode.env_steps <= now]
        if "episode/return" in line:
            same = bool(ended) and np.isclose(np.mean(ended), line["episode/return"], rtol=1e-4, atol=1e-6)
            counts[0 if same else 1] += 1
        before = now
    return counts[0], counts[1]


def count_bonus(config: Config, spec: EnvSpec) -> CountBonus | None:
    """The count bonus of the config's agent, as at the start of the run; None if it has none that can be rebuilt.

    A bonus whose codes are learned needs the replay of training.
    """
    agent: Any = config.agent
    holder = agent if hasattr(agent, "bonus") else getattr(agent, "controller", None)
    table = getattr(holder, "bonus", None)
    if not isinstance(table, CountConfig):
        return None
    warm_up = getattr(holder, "learning_starts", None)
    if warm_up is None:
        warm_up = agent.length(spec.num_envs) * spec.num_envs if isinstance(agent, RolloutConfig) else 0
    try:
        built = build_bonus(table, spec, Streams(config.train.seed).child("agent").child("bonus"), None, warm_up)
    except ConfigError:
        return None
    return built if isinstance(built, CountBonus) else None


def film_episode(run: RunDirectory, config: Config, episode: Episode, path: Path, progress: Progress) -> None:
    """Plays an episode again at full resolution into a video.

    Raises RunError if its return or length is not that of the action log, ConfigError if there are no pictures.
    """
    part = next(
        part
        for part in logged_parts(run, config)
        if (part.env, part.first, part.seed) == (episode.env, episode.part, episode.seed)
    )
    try:
        environments = plugins.load(plugins.ENVS, config.env.name).make(config.env, 1, Purpose.RENDER)
    except ConfigError as error:
        raise ConfigError(f"this environment has no pictures to draw on: {error}") from error
    spec, everyone = environments.spec, np.ones(1, np.bool_)
    names = spec.action_names or tuple(f"action {number}" for number in range(spec.num_actions))
    start, end = episode.first - part.first, episode.first - part.first + episode.length
    total, ended = 0.0, False
    try:
        with VideoFile(path, frames_per_second(spec)) as video:
            observation = environments.reset(everyone, np.array([part.seed]))
            for row in range(end):
                action = int(part.actions[row])
                if row >= start:
                    lines = [f"return  {total:g}", f"step  {row - start:,}"]
                    video.write(beside(observation.signals[SCREEN][0], lines, names, None, action))
                environments.send(np.array([action], np.int64))
                raw = environments.receive()
                observation, ended = raw.after, bool(raw.terminated[0] | raw.truncated[0])
                if row >= start:
                    total += float(raw.reward[0])
                if ended and row + 1 < end:
                    if row >= start:
                        break
                    observation = environments.reset(everyone, np.array([-1]))
                progress(row + 1, end)
            lines = [f"return  {total:g}", f"step  {episode.length:,}"]
            video.write(beside(observation.signals[SCREEN][0], lines, names, None, None))
    finally:
        environments.close()
    if not ended or not np.isclose(total, episode.total, rtol=1e-5, atol=1e-6):
        raise RunError(
            f"{run.path}: the episode played again has the return {total:g}, in training it had {episode.total:g}; "
            "other versions of the packages play another game"
        )
