"""One learner, many actors: rollouts of remote policies, joined to steps of all environments.

Each actor has a rollout and a policy. It is asked for a chunk of steps with the newest parameters, and two chunks at a
time are outstanding: a slow learner holds the actors back. The t-th steps of all actors make one `StepBatch`, so the
agent sees every environment's steps once and in their order, as with local environments. What differs is the age of the
policy that acted, and, since actors do not wait for each other, which parameters acted when.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit import plugins
from rlkit.agent import Agent, Policy
from rlkit.config.tables import ActorsConfig, Config
from rlkit.runs.runner import Lost
from rlkit.seeding import Streams
from rlkit.training.action_log import ActionLog
from rlkit.training.evaluation import EpisodeSeeds
from rlkit.training.rollout import Rollout
from rlkit.types import EnvSpec, Metrics, Mode, Observation, Purpose, State, StepBatch

OUTSTANDING = 2  # chunks that each actor is asked for ahead


class Playing:
    """On an actor: its environments and its policy."""

    def __init__(self, config: Config, number: int, generation: int, folder: str = "") -> None:
        """number: of the actor. generation: actors of this number before it. folder: to work in, if given."""
        if folder:
            enter(folder)
        torch.set_num_threads(1)
        count = config.train.num_envs // (config.train.actors or ActorsConfig()).count
        self._environments = plugins.load(plugins.ENVS, config.env.name).make(config.env, count, Purpose.TRAIN)
        plugin = plugins.load(plugins.AGENTS, config.agent.name)
        self._policy: Policy = plugin.policy(config.agent, self._environments.spec, torch.device("cpu"))
        streams = Streams(config.train.seed).child(f"actor {number} {generation}")
        seeds = EpisodeSeeds(streams, count)
        self._rollout = Rollout(self._environments, seeds, streams.generator("act"), Mode.EXPLORE)
        self._started = False

    def play(self, state: State, steps: int) -> list[StepBatch]:
        self._policy.load_policy_state(state)
        if not self._started:
            self._rollout.start(self._policy)
            self._started = True
        played = []
        for _ in range(steps):
            self._rollout.act(self._policy)
            self._rollout.send()
            played.append(self._rollout.receive())
            self._rollout.reset_ended()
        return played

    def close(self) -> None:
        self._environments.close()


def enter(folder: str) -> None:
    """Works in a folder, whose modules may be named by a config. For processes of other machines."""
    os.chdir(folder)
    plugins.add_working_folder()


class Fleet(Protocol):
    """Remote actors by number."""

    def begin(self, number: int) -> None:
        """Starts an actor, also one that was lost."""

    def put(self, state: State) -> Any:
        """Makes a policy's state readable for all actors; a copy."""

    def request(self, number: int, state: Any, steps: int) -> Any: ...

    def collect(self, request: Any) -> list[StepBatch]:
        """Waits for the steps of a request. Raises Lost if its actor has died."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Chunk:
    request: Any
    updates: int  # that the policy's parameters had


class RemoteRollout:
    """Looks to the trainer like a `Rollout` of all environments; the actors act and reset by themselves."""

    def __init__(self, fleet: Fleet, actors: ActorsConfig, spec: EnvSpec, report: Callable[[Metrics], None]) -> None:
        """report: called with the age of the policy, at each step."""
        self._fleet, self._actors, self._spec, self._report = fleet, actors, spec, report
        self._asked: list[deque[_Chunk]] = [deque() for _ in range(actors.count)]
        self._played: list[deque[tuple[StepBatch, int]]] = [deque() for _ in range(actors.count)]
        self._states: list[Any] = []  # of the newest parameters, one for each actor
        self._updates = -1  # that they had
        self._rows = 0

    def start(self, agent: Agent) -> None:
        self._push(agent)
        for number in range(self._actors.count):
            self._begin(number)

    def act(self, agent: Agent) -> None:
        """Makes the newest parameters those of the next requests, every `push_every` steps."""
        self._agent_updates = agent.updates
        self._rows += 1
        if self._rows % self._actors.push_every == 0 and agent.updates != self._updates:
            self._push(agent)

    def send(self) -> None:
        """Nothing: the actors are on their way."""

    def receive(self) -> StepBatch:
        rows = [self._next(number) for number in range(self._actors.count)]
        age = np.mean([self._agent_updates - updates for _, updates in rows])
        self._report({"time/policy_age": float(age)})
        return joined([step for step, _ in rows])

    def reset_ended(self) -> None:
        """Nothing: the actors have done it."""

    def _next(self, number: int) -> tuple[StepBatch, int]:
        """The next step of an actor, and the updates of the policy that acted.

        The newest step is held back: if the actor dies, its episode ends there, truncated.
        """
        played = self._played[number]
        while len(played) < 2:
            chunk = self._asked[number].popleft()
            try:
                played.extend((step, chunk.updates) for step in self._fleet.collect(chunk.request))
            except Lost:
                if played:
                    step, updates = played.pop()
                    played.append((replace(step, truncated=step.truncated | ~step.terminated), updates))
                self._begin(number)
            else:
                self._request(number)
        return played.popleft()

    def _begin(self, number: int) -> None:
        self._asked[number].clear()
        self._fleet.begin(number)
        for _ in range(OUTSTANDING):
            self._request(number)

    def _request(self, number: int) -> None:
        state = self._states[number % len(self._states)]
        request = self._fleet.request(number, state, self._actors.push_every)
        self._asked[number].append(_Chunk(request, self._updates))

    def _push(self, agent: Agent) -> None:
        state = agent.state_dict()["policy"]
        self._updates = self._agent_updates = agent.updates
        ladder = self._actors.epsilons()
        if not ladder or not isinstance(state.get("epsilon"), float):
            self._states = [self._fleet.put(state)]
        else:
            self._states = [self._fleet.put({**state, "epsilon": epsilon}) for epsilon in ladder]

    def close(self) -> None:
        self._fleet.close()

    def state_dict(self) -> State:
        """Nothing: the actors begin new episodes when the run is resumed."""
        return {}

    def resume(self, state: State, action_log: ActionLog) -> bool:
        return False


def joined(steps: Sequence[StepBatch]) -> StepBatch:
    """One step of the environments of all actors, in their order."""

    def rows(of: Callable[[StepBatch], NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([of(step) for step in steps])

    def tables(of: Callable[[StepBatch], Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate([of(step)[name] for step in steps]) for name in of(steps[0])}

    def observation(of: Callable[[StepBatch], Observation]) -> Observation:
        return Observation(
            rows(lambda step: of(step).obs), tables(lambda step: of(step).signals), rows(lambda step: of(step).first)
        )

    return StepBatch(
        before=observation(lambda step: step.before),
        action=rows(lambda step: step.action),
        reward=rows(lambda step: step.reward),
        discount=rows(lambda step: step.discount),
        terminated=rows(lambda step: step.terminated),
        truncated=rows(lambda step: step.truncated),
        after=observation(lambda step: step.after),
        extras=tables(lambda step: step.extras),
    )


@dataclass
class NoEnvironments:
    """In place of local environments where all are on actors: the spec alone."""

    spec: EnvSpec

    def close(self) -> None:
        """Nothing is open."""
