"""Episodes of a saved policy, step by step, with what its score functions need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlkit import plugins
from rlkit.agent import HasScores, Policy, ScoreFunction
from rlkit.errors import ConfigError, SpecError
from rlkit.runs.evaluator import Evaluator
from rlkit.runs.policy import LoadedPolicy, load_policy
from rlkit.training.evaluation import Scores
from rlkit.types import ActorOutput, ActorState, Mode, Observation, Purpose, State, StepBatch


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of environment 0."""

    observation: Observation  # one row
    before: ActorState  # of the policy, before it acted
    state: ActorState  # after
    action: int
    episode: int
    step: int  # 0 is the first of the episode
    total: float  # the return before the step
    reward: float
    ended: bool


def load_for_looking(run: Path, checkpoint: str = "last", overrides: Mapping[str, Any] | None = None) -> LoadedPolicy:
    """A policy that offers score functions, to be played in one environment. Raises SpecError for any other."""
    loaded = load_policy(run, checkpoint, overrides={"evaluation.num_envs": 1, **(overrides or {})})
    require_scores(loaded)
    return loaded


def require_scores(loaded: LoadedPolicy) -> HasScores:
    """The policy as one with score functions. Raises SpecError if it lacks the method."""
    if not isinstance(loaded.policy, HasScores):
        raise SpecError(
            f'agent "{loaded.config.agent.name}": its policy offers no network to look into; it lacks the method '
            "score_functions (rlkit.HasScores, docs/look-inside.md)"
        )
    return loaded.policy


def play(
    loaded: LoadedPolicy,
    episodes: int,
    on_moment: Callable[[Moment], None],
    *,
    render: bool,
    policy: Policy | None = None,
) -> Scores:
    """Plays the evaluation episodes of the run in one environment; `on_moment` receives every step.

    render: the observations have the signal "screen". policy: acts instead of the loaded one. Raises ConfigError if the
    environment cannot be rendered.
    """
    config = loaded.config
    evaluator = Evaluator(config)
    if render:
        evaluator.environments = rendered(loaded)
    watched = _Watched(policy or loaded.policy, on_moment)
    try:
        return evaluator(watched, episodes, watched.on_step)
    finally:
        evaluator.close()


def rendered(loaded: LoadedPolicy) -> Any:
    """One environment with the signal "screen". Raises ConfigError if there are no pictures of it."""
    config = loaded.config
    plugin = plugins.load(plugins.ENVS, config.env.name)
    try:
        return plugin.make(config.evaluation_env, 1, Purpose.RENDER)
    except ConfigError as error:
        raise ConfigError(f"this environment has no pictures to draw on: {error}") from error


class _Watched:
    """Acts as a policy and reports every step of environment 0."""

    def __init__(self, policy: Policy, on_moment: Callable[[Moment], None]) -> None:
        self._policy, self._on_moment = policy, on_moment
        self._seen: tuple[Observation, ActorState, ActorState]
        self._episode, self._step, self._total = 0, 0, 0.0

    def initial_state(self, num_envs: int) -> ActorState:
        return self._policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output = self._policy.act(observation, state, rng, mode)
        self._seen = observation, state, output.state
        return output

    def load_policy_state(self, state: State) -> None:
        self._policy.load_policy_state(state)

    def on_step(self, step: StepBatch) -> None:
        observation, before, after = self._seen
        reward, ended = float(step.reward[0]), bool(step.ended[0])
        self._on_moment(
            Moment(
                observation, before, after, int(step.action[0]), self._episode, self._step, self._total, reward, ended
            )
        )
        self._step, self._total = self._step + 1, self._total + reward
        if ended:
            self._episode, self._step, self._total = self._episode + 1, 0, 0.0


def scored(policy: HasScores, moment: Moment) -> list[tuple[ScoreFunction, int]]:
    """The policy's score functions at a moment, each with the output that acting took; that of actions comes first."""
    functions = policy.score_functions(moment.observation, moment.before)
    first, *others = [(function, int(function.chosen[0])) for function in functions]
    return [(first[0], moment.action), *others]
