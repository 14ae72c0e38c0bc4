"""The steps of training, made again from the action log of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.config.tables import Config
from rlkit.environments import Environments, reset
from rlkit.errors import RunError
from rlkit.runs.directory import RunDirectory
from rlkit.runs.pieces import parsed
from rlkit.seeding import MAX_SEED, Streams
from rlkit.training.parts import parts
from rlkit.types import Observation, StepBatch


@dataclass(frozen=True, slots=True)
class LoggedPart:
    """The actions (T,) of one environment since a seed."""

    env: int
    first: int  # row of the first action: actions of this environment before it
    seed: int
    actions: NDArray[np.int64]

    @property
    def end(self) -> int:
        return self.first + len(self.actions)


def logged_parts(run: RunDirectory, config: Config) -> list[LoggedPart]:
    """The open parts of the newest checkpoint's action log, and the closed ones of the steps up to it.

    A killed run may have closed parts of later steps. Raises RunError if the run has no parts, or if they cannot be of
    one run.
    """
    steps = run.checkpoints.steps()
    opened, rows = [], None
    if steps:
        tape = run.checkpoints.load(steps[-1], "tape")
        with run.naming_versions("the action log"):
            opened, rows = _open_parts(tape, config), tape["dropped"] + len(tape["actions"])
    found = [part for part in _closed_parts(run) if rows is None or part.end <= rows] + opened
    if not found:
        raise RunError(f"{run.path} has no action log: neither tapes/ nor a checkpoint; its episodes cannot be played")
    _refuse_unfit(found, run, config.train.num_envs)
    return found


def _closed_parts(run: RunDirectory) -> Iterator[LoggedPart]:
    for part in parts(run.tapes) if run.tapes.is_dir() else ():
        try:
            actions = parsed(part.path.read_bytes())
            if actions.ndim != 1 or not len(actions) or actions.dtype.kind != "i":
                raise ValueError(f"expected integers (T,), got {actions.dtype} {actions.shape}")
        except (ValueError, EOFError, SyntaxError, TypeError) as error:
            raise RunError(f"{part.path} is damaged: {error}; without the file its episodes are not listed") from error
        yield LoggedPart(part.env, part.first, part.seed, actions.astype(np.int64))


def _refuse_unfit(found: Sequence[LoggedPart], run: RunDirectory, num_envs: int) -> None:
    """Raises RunError for an environment that there is not, a seed that none has, and parts that overlap."""
    for part in found:
        if part.env >= num_envs or part.seed > MAX_SEED:
            raise RunError(f"{run.path}: its action log is of environment {part.env} with seed {part.seed}; "
                           f"there are {num_envs}, with seeds up to {MAX_SEED}")  # fmt: skip
    for before, after in pairwise(sorted(found, key=lambda part: (part.env, part.first))):
        if before.env == after.env and before.end > after.first:
            raise RunError(
                f"{run.path}: two parts of its action log have step {after.first} of environment {after.env}"
            )


def _open_parts(tape: Mapping[str, Any], config: Config) -> list[LoggedPart]:
    streams = Streams(config.train.seed).child("rollout")
    opened = []
    for env, (start, resets) in enumerate(zip(tape["start"].tolist(), tape["resets"].tolist(), strict=True)):
        if not 0 <= start <= len(tape["actions"]):
            raise ValueError(f"environment {env} begins at row {start} of {len(tape['actions'])}")
        seed = streams.seed("environment", env, resets)
        opened.append(LoggedPart(env, tape["dropped"] + start, seed, np.asarray(tape["actions"][start:, env])))
    return opened


def is_complete(found: Sequence[LoggedPart], num_envs: int) -> bool:
    """Whether the parts of each environment follow one another from the first row to the same last one."""
    ends = set()
    for env in range(num_envs):
        mine = sorted((part for part in found if part.env == env), key=lambda part: part.first)
        gaps = any(before.end != after.first for before, after in pairwise(mine))
        if not mine or mine[0].first != 0 or gaps:
            return False
        ends.add(mine[-1].end)
    return len(ends) == 1


def play_back(
    environments: Environments,
    found: Sequence[LoggedPart],
    on_step: Callable[[int, StepBatch, list[LoggedPart | None]], None],
) -> None:
    """Makes all logged steps again, row by row; an environment without a part at a row does anything.

    on_step(row, step, active): the part that the step of each environment belongs to, None if it is no logged one.
    Raises RunError for an action that the environment lacks.
    """
    num_envs, num_actions = environments.spec.num_envs, environments.spec.num_actions
    if any(len(each.actions) and not 0 <= each.actions.min() <= each.actions.max() < num_actions for each in found):
        raise RunError(f"the action log has actions that this environment lacks; it has 0 to {num_actions - 1}")
    begins: dict[int, list[LoggedPart]] = {}
    for each in found:
        begins.setdefault(each.first, []).append(each)
    active: list[LoggedPart | None] = [None] * num_envs
    observation = environments.reset(np.ones(num_envs, np.bool_), np.zeros(num_envs, np.int64))
    row, last = min(begins), max(each.end for each in found)
    while row < last:
        observation = _begun(environments, begins.get(row, []), active, observation)
        if all(part is None for part in active):
            row = min(start for start in begins if start > row)
            continue
        action = np.array([0 if part is None else part.actions[row - part.first] for part in active], np.int64)
        environments.send(action)
        raw = environments.receive()
        step = StepBatch(observation, action, raw.reward, raw.discount, raw.terminated, raw.truncated, raw.after, {})
        on_step(row, step, active)
        row += 1
        observation = raw.after
        active = [part if part is not None and part.end > row else None for part in active]
        if step.ended.any():
            unseeded = np.full(num_envs, -1, np.int64)  # only those without a part may crash
            observation = reset(environments, step.ended, unseeded, lambda _: np.zeros(num_envs, np.int64))


def _begun(
    environments: Environments, beginning: list[LoggedPart], active: list[LoggedPart | None], observation: Observation
) -> Observation:
    """Resets the environments whose parts begin, with their seeds; those without a logged step begin anew, too."""
    if not beginning:
        return observation
    seeds, mask = np.full(len(active), -1, np.int64), np.zeros(len(active), np.bool_)
    for part in beginning:
        active[part.env] = part
        seeds[part.env], mask[part.env] = part.seed, True
    after = environments.reset(mask, seeds)
    first = after.first | observation.first
    return Observation(after.obs, after.signals, first)
