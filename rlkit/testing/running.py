"""Runs an agent as the engine does, and repeats recorded runs without environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch

from rlkit import plugins
from rlkit.agent import Agent, AgentContext, AgentPlugin, HasPacing, Policy
from rlkit.environments import Environments, EnvPlugin
from rlkit.seeding import Streams
from rlkit.testing.states import snapshot
from rlkit.types import ActorOutput, ActorState, EnvSpec, Metrics, Mode, Observation, Purpose, StepBatch

ROOT = 20_150_226  # the root seed of all random streams here; its value has no meaning

T = TypeVar("T")


def copied(value: T) -> T:
    """A deep copy of a value of `rlkit.types`, or of a mapping of such values; mappings become dicts."""
    copy: Any
    if is_dataclass(value) and not isinstance(value, type):
        copy = replace(value, **{part.name: copied(getattr(value, part.name)) for part in fields(value)})
    elif isinstance(value, Mapping):
        copy = {name: copied(item) for name, item in value.items()}
    else:
        copy = snapshot(value)
    result: T = copy
    return result


def plain(value: Any) -> Any:
    """Values of `rlkit.types` as nested dicts, which are compared as states are; shares memory with `value`."""
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(getattr(value, part.name)) for part in fields(value)}
    return {name: plain(item) for name, item in value.items()} if isinstance(value, Mapping) else value


def try_act(policy: Policy, observation: Observation, state: ActorState, seed: int, mode: Mode) -> dict[str, Any]:
    """The output of `act`, given copies and a new random stream, and that stream afterwards ("stream"), by name."""
    rng = np.random.default_rng(seed)
    output = policy.act(copied(observation), copied(state), rng, mode)
    return {**plain(copied(output)), "stream": rng.bit_generator.state}


@dataclass(frozen=True, slots=True)
class LoopStep:
    """One step of the training loop: what the agent received and returned."""

    observation: Observation
    state: ActorState  # given to act
    output: ActorOutput
    metrics: Metrics  # of learn
    step: StepBatch
    updates: Mapping[str, int]  # after "act", "learn" and "observe"


@dataclass
class Runner:
    """An agent with its random stream and actor state, as the engine holds them."""

    agent: Agent
    rng: np.random.Generator
    actor: ActorState
    exchanged: list[tuple[Any, Any]] = field(default_factory=list)  # what the agent got or returned: copy, original

    def run_step(self, observation: Observation, answer: Callable[[ActorOutput], StepBatch]) -> LoopStep:
        """Act, learn, observe, in the engine's order. The agent gets copies, so it cannot write to the arguments."""
        state, seen, updates = copied(self.actor), copied(observation), {}
        output = self.agent.act(seen, self.actor, self.rng, Mode.EXPLORE)
        kept, updates["act"] = copied(output), self.agent.updates
        metrics, updates["learn"] = copied(self.agent.learn()), self.agent.updates
        step = answer(kept)
        observed = copied(step)
        self.agent.observe(observed)
        updates["observe"] = self.agent.updates
        self.exchanged += [(observation, seen), (state, self.actor), (kept, output), (step, observed)]
        self.actor = output.state
        return LoopStep(observation, state, kept, metrics, step, updates)

    def repeat(self, recorded: LoopStep) -> LoopStep:
        """A step with the observation and the answer of a recorded one, whatever the agent does now."""
        return self.run_step(recorded.observation, lambda output: recorded.step)

    def state(self) -> dict[str, Any]:
        """A copy of everything that influences the future."""
        whole = {"agent": self.agent.state_dict(), "actor": self.actor, "rng": self.rng.bit_generator.state}
        copy: dict[str, Any] = snapshot(whole)
        return copy

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.actor, self.rng.bit_generator.state = state["actor"], state["rng"]


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a run, after one more learn than there were steps."""

    metrics: Metrics  # of the last learn
    updates: int
    state: dict[str, Any]
    gauges: Metrics

    @classmethod
    def of(cls, runner: Runner) -> Ending:
        metrics = copied(runner.agent.learn())
        return cls(metrics, runner.agent.updates, runner.state(), copied(runner.agent.gauges()))


@dataclass(frozen=True, slots=True)
class Recording:
    """A run of some steps of the training loop."""

    steps: list[LoopStep]
    ending: Ending
    exchanged: list[tuple[Any, Any]]

    @property
    def updates(self) -> list[int]:
        """The number of updates after each learn; learn number i, from 0, follows the observation of i steps."""
        return [*(step.updates["learn"] for step in self.steps), self.ending.updates]

    @property
    def learned_at(self) -> list[int]:
        """The numbers of observed steps after which learn made updates."""
        updates = self.updates
        return [number for number, before in enumerate([0, *updates[:-1]]) if updates[number] != before]


@dataclass
class Case:
    """The plug-ins of an agent and of environments with their configs, under test."""

    plugin: AgentPlugin[Any]
    config: Any
    env_plugin: EnvPlugin[Any]
    env_config: Any
    num_envs: int
    num_steps: int

    @property
    def pacing(self) -> str:
        return self.plugin.pacing if isinstance(self.plugin, HasPacing) else "environment steps"

    @cached_property
    def spec(self) -> EnvSpec:
        environments = self._environments(self.num_envs)
        environments.close()
        return environments.spec

    @cached_property
    def recording(self) -> Recording:
        return self.play(self.num_steps, self.num_envs)

    def runner(self, spec: EnvSpec | None = None) -> Runner:
        """A fresh agent; all have equal random streams."""
        spec = spec or self.spec
        streams = Streams(ROOT)
        agent = self.plugin.agent(self.config, spec, AgentContext(streams.child("agent"), torch.device("cpu")))
        plugins.check_agent_parts(agent, self.config.name)
        return Runner(agent, streams.generator("act"), agent.initial_state(spec.num_envs))

    def trained(self) -> Runner:
        """A fresh agent that has loaded the state at the end of the recording."""
        runner = self.runner()
        runner.load_state(snapshot(self.recording.ending.state))
        return runner

    def policy(self, agent: Agent) -> Policy:
        """A bare policy that has loaded the subtree "policy" of the agent's state."""
        policy = self.plugin.policy(self.config, self.spec, torch.device("cpu"))
        policy.load_policy_state(snapshot(agent.state_dict()["policy"]))
        return policy

    def play(self, steps: int, num_envs: int) -> Recording:
        """Runs a fresh agent in fresh environments."""
        environments = self._environments(num_envs)
        try:
            runner = self.runner(environments.spec)
            seeds = np.array([Streams(ROOT).seed("env", env) for env in range(num_envs)], dtype=np.int64)
            observation = copied(environments.reset(np.ones(num_envs, dtype=np.bool_), seeds))
            recorded: list[LoopStep] = []
            for _ in range(steps):
                recorded.append(_play_step(runner, environments, observation))
                observation, ended = recorded[-1].step.after, recorded[-1].step.ended
                if ended.any():
                    begun = copied(environments.reset(ended, np.full(num_envs, -1, dtype=np.int64)))
                    last = observation.last_action, observation.last_reward
                    observation = replace(begun, last_action=last[0], last_reward=last[1])
            return Recording(recorded, Ending.of(runner), runner.exchanged)
        finally:
            environments.close()

    def _environments(self, num_envs: int) -> Environments:
        return self.env_plugin.make(self.env_config, num_envs, Purpose.TRAIN)


def _play_step(runner: Runner, environments: Environments, observation: Observation) -> LoopStep:
    spec = environments.spec

    def answer(output: ActorOutput) -> StepBatch:
        assert_action(output.action, spec.num_envs, spec.num_actions, "act returned the action")
        environments.send(output.action)
        raw = copied(environments.receive())
        return StepBatch(
            before=observation,
            action=output.action,
            reward=raw.reward,
            discount=raw.discount,
            terminated=raw.terminated,
            truncated=raw.truncated,
            after=replace(raw.after, last_action=output.action, last_reward=raw.reward),
            extras=output.extras,
        )

    return runner.run_step(observation, answer)


def assert_action(action: Any, num_envs: int, num_actions: int, what: str) -> None:
    """Raises AssertionError unless environments can take the action; an invalid one makes some of them hang."""
    expected = f"expected an array of {num_envs} int64 in 0..{num_actions - 1}"
    assert isinstance(action, np.ndarray), f"{what} as {type(action).__name__}; {expected}"
    valid = action.shape == (num_envs,) and action.dtype == np.int64 and ((action >= 0) & (action < num_actions)).all()
    assert valid, f"{what} {action}, {action.dtype} of shape {action.shape}; {expected}"
