"""A bonus as an input of its agent: how new a state is in its episode (SOFE, Castanyer et al. 2023).

A bonus that depends on the past of an episode makes rewards depend on something that the observation does not show. A
bonus with an `EpisodeInput` gives the agent one byte beside each observation. The agent inside `observing` plays with
observations that are rows of both, in replay and trajectory too; the counts are kept in the actor state.

    seen = seen_spec(config.bonus, spec)                             the agent is built for this spec,
    bonus = build_seen_bonus(config.bonus, spec, ...)                its bonus for that of the environment
    return observing(agent, config.bonus, spec)                      a policy: observing_policy
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rlkit.agent import Agent, HasScores, HasWarmStart, Policy, ScoreFunction
from rlkit.errors import ConfigError, SpecError
from rlkit.exploration.bonus import BonusConfig, paid
from rlkit.exploration.protocol import Bonus, BonusAround, EpisodeInput, NoBonus
from rlkit.nn.beside import BESIDE
from rlkit.replay import Replay, Trajectory
from rlkit.seeding import Streams
from rlkit.structure import Structure
from rlkit.types import ActorOutput, ActorState, EnvSpec, Metrics, Mode, Observation, State, StepBatch

KEPT = "input/"  # prefix of what is kept for the byte, in actor state and extras
NOW = KEPT + "byte"
BYTE = spaces.Box(0, 255, (1,), np.uint8)


def seen_spec(config: BonusConfig | None, spec: EnvSpec) -> EnvSpec:
    """The spec of what the agent observes: that of the environment, or with the bonus's byte beside it.

    Stacks are rows then, each of which is stored whole.
    """
    if config is None or not config.observed:
        return spec
    structure = _structure(spec)
    return replace(spec, observation_space=structure.space, structure=structure, stack=None)


def _structure(spec: EnvSpec) -> Structure:
    """Of an environment's observations, and the byte as its last part."""
    whole = [("observation", spec.observation_space)]
    parts = whole if spec.structure is None else [(part.name, part.space) for part in spec.structure.parts]
    return Structure.of(spaces.Dict(OrderedDict([*parts, (BESIDE, BYTE)])))


def build_seen_bonus(
    config: BonusConfig | None, spec: EnvSpec, streams: Streams, replay: Replay | Trajectory | None, warm_up: int
) -> Bonus:
    """As `build_bonus`, for an agent that observes what `seen_spec` says; spec: of the environment."""
    if config is None:
        return NoBonus()
    bonus = paid(config, config.build(spec, streams, replay, warm_up), spec)
    return UnseenBonus(bonus, spec) if config.observed else bonus


def observing(agent: Agent, config: BonusConfig | None, spec: EnvSpec) -> Agent:
    """The agent in the environment of `spec`, if it was built for `seen_spec`."""
    given = None if config is None else config.build_input(spec)
    return agent if given is None else ObservingAgent(agent, given, _structure(spec))


def observing_policy(policy: Policy, config: BonusConfig | None, spec: EnvSpec) -> Policy:
    """As `observing`, of a policy."""
    given = None if config is None else config.build_input(spec)
    return policy if given is None else ObservingPolicy(policy, given, _structure(spec))


class ObservingPolicy:
    """A policy that sees rows of an observation and its byte, and keeps in the actor state what the byte depends on."""

    def __init__(self, policy: Policy, given: EpisodeInput, structure: Structure) -> None:
        self.policy = policy
        self._given = given
        self._structure = structure

    def initial_state(self, num_envs: int) -> ActorState:
        return {**self.policy.initial_state(num_envs), **_kept(self._given.initial_state(num_envs))}

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        byte, given = self._given(observation, _own(state))
        others = {name: rows for name, rows in state.items() if not name.startswith(KEPT)}
        output = self.policy.act(joined(observation, byte, self._structure), others, rng, mode)
        kept = _kept(given)
        told = {**kept, NOW: byte} if mode is Mode.EXPLORE else {}
        return ActorOutput(output.action, {**output.state, **kept}, {**output.extras, **told})

    def score_functions(self, observation: Observation, state: ActorState) -> Sequence[ScoreFunction]:
        """Those of the policy inside, with the byte as a constant of the step; see `HasScores`."""
        if not isinstance(self.policy, HasScores):
            raise SpecError("the policy offers no network to look into; it lacks the method score_functions")
        byte, _ = self._given(observation, _own(state))
        return self.policy.score_functions(joined(observation, byte, self._structure), state)

    def load_policy_state(self, state: State) -> None:
        self.policy.load_policy_state(state)


class ObservingAgent:
    """An agent whose policy sees rows, as of `ObservingPolicy`, and which learns from the same rows."""

    def __init__(self, agent: Agent, given: EpisodeInput, structure: Structure) -> None:
        self.agent = agent
        self._given = given
        self._structure = structure
        self._policy = ObservingPolicy(agent, given, structure)

    @property
    def updates(self) -> int:
        return self.agent.updates

    def initial_state(self, num_envs: int) -> ActorState:
        return self._policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return self._policy.act(observation, state, rng, mode)

    def observe(self, step: StepBatch) -> None:
        byte, _ = self._given(step.after, _own(step.extras))
        self.agent.observe(
            replace(
                step,
                before=joined(step.before, step.extras[NOW], self._structure),
                after=joined(step.after, byte, self._structure),
                extras={name: rows for name, rows in step.extras.items() if not name.startswith(KEPT)},
            )
        )

    def learn(self) -> Metrics:
        return self.agent.learn()

    def gauges(self) -> Metrics:
        return self.agent.gauges()

    def state_dict(self) -> State:
        return self.agent.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.agent.load_state_dict(state)

    def warm_start(self, state: State, parts: Collection[str]) -> None:
        """As of `HasWarmStart`. Raises ConfigError if the agent inside cannot."""
        if not isinstance(self.agent, HasWarmStart):
            raise ConfigError("this agent cannot begin with the policy of another run")
        self.agent.warm_start(state, parts)

    def load_policy_state(self, state: State) -> None:
        self.agent.load_policy_state(state)


class UnseenBonus(BonusAround):
    """A bonus of an agent that observes rows: it is given the observations of the environment, as it expects."""

    def __init__(self, bonus: Bonus, spec: EnvSpec) -> None:
        super().__init__(bonus)
        self._space = spec.observation_space

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        return self.bonus.observe(replace(step, before=self._parted(step.before), after=self._parted(step.after)))

    def _parted(self, observation: Observation) -> Observation:
        shape = self._space.shape or ()
        obs = observation.obs[:, :-1].reshape(len(observation.obs), *shape)
        return replace(observation, obs=obs.astype(self._space.dtype, copy=False))


def joined(observation: Observation, byte: NDArray[np.uint8], structure: Structure) -> Observation:
    """The observation as rows: its numbers, and the byte (N,) last.

    Raises SpecError for fractions where rows hold whole numbers, as of observations that are attacked.
    """
    count = len(observation.obs)
    if observation.obs.dtype.kind == "f" != structure.space.dtype.kind:
        raise SpecError(
            f"a policy with bonus.observe_counts reads these observations as {structure.space.dtype}, which has no "
            "changes smaller than 1: it cannot be attacked"
        )
    rows = np.empty((count, *structure.space.shape), structure.space.dtype)
    rows[:, :-1] = observation.obs.reshape(count, -1)
    rows[:, -1] = byte
    return replace(observation, obs=rows)


def _kept(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {KEPT + name: rows for name, rows in arrays.items()}


def _own(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(KEPT): rows for name, rows in arrays.items() if name.startswith(KEPT)}
