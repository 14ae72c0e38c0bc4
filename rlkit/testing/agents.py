"""The conformance suite for agents: what the engine relies on, checked on real environments.

For authors of agents; one call in a test of theirs:

    check_agent(plugin, plugin.config(name="mine"), env_plugin, env_plugin.config(...), num_envs=4, steps=200)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.agent import Agent, AgentContext, AgentPlugin
from rlkit.environments import EnvPlugin
from rlkit.seeding import Streams
from rlkit.testing.states import difference, flatten, snapshot
from rlkit.types import (
    ActorOutput,
    ActorState,
    EnvSpec,
    Histogram,
    Image,
    Metrics,
    Mode,
    Observation,
    Purpose,
    StepBatch,
)

_ROOT = 20_150_226  # of all streams here; any number would do


@dataclass(frozen=True, slots=True)
class Turn:
    """What an agent saw and did in one step of the loop."""

    observation: Observation
    state: ActorState
    output: ActorOutput
    step: StepBatch


@dataclass
class Life:
    """An agent with its random stream and actor state, as the engine keeps them."""

    agent: Agent
    rng: np.random.Generator
    actor: ActorState

    def act(self, observation: Observation) -> ActorOutput:
        return self.agent.act(observation, self.actor, self.rng, Mode.EXPLORE)

    def state(self) -> dict[str, Any]:
        """A copy of everything that influences the future."""
        whole = {"agent": self.agent.state_dict(), "actor": self.actor, "rng": self.rng.bit_generator.state}
        copied: dict[str, Any] = snapshot(whole)
        return copied

    def follow(self, turn: Turn, when: str) -> None:
        """Lives through a recorded turn; the agent must do in it what was recorded."""
        output = self.act(turn.observation)
        _equal_outputs(turn.output, output, when)
        self.agent.learn()
        self.agent.observe(turn.step)
        self.actor = output.state


@dataclass
class Suite:
    """One agent and one kind of environment under test."""

    plugin: AgentPlugin[Any]
    config: Any
    env_plugin: EnvPlugin[Any]
    env_config: Any
    num_envs: int

    def life(self, spec: EnvSpec) -> Life:
        streams = Streams(_ROOT)
        agent = self.plugin.agent(self.config, spec, AgentContext(streams.child("agent"), torch.device("cpu")))
        return Life(agent, streams.generator("act"), agent.initial_state(spec.num_envs))

    def play(
        self, steps: int, *, num_envs: int | None = None, between: Callable[[Life, Observation], None] | None = None
    ) -> tuple[EnvSpec, Life, list[Turn]]:
        """A fresh agent lives through `steps` steps of fresh environments in the engine's order, with frozen arrays.

        `between` is called before each act. At the end stands one more learn, for the last step's updates.
        """
        count = num_envs or self.num_envs
        environments = self.env_plugin.make(self.env_config, count, Purpose.TRAIN)
        try:
            life = self.life(environments.spec)
            seeds = np.array([Streams(_ROOT).seed("env", env) for env in range(count)], dtype=np.int64)
            observation = _frozen(environments.reset(np.ones(count, dtype=np.bool_), seeds))
            turns: list[Turn] = []
            for _ in range(steps):
                if between is not None:
                    between(life, observation)
                turn = _turn(life, environments, observation)
                turns.append(turn)
                observation = turn.step.after
                if turn.step.ended.any():
                    no_seeds = np.full(count, -1, dtype=np.int64)
                    observation = _frozen(environments.reset(turn.step.ended, no_seeds))
            _check_metrics(life.agent.learn())
            return environments.spec, life, turns
        finally:
            environments.close()


def check_agent(
    plugin: AgentPlugin[Any],
    config: Any,
    env_plugin: EnvPlugin[Any],
    env_config: Any,
    *,
    num_envs: int = 3,
    steps: int = 60,
) -> None:
    """Raises AssertionError, with what went wrong, unless the agent keeps the engine's contract.

    Choose a config that learns within `steps * num_envs` environment steps, else the checks of learning see nothing.
    Checked are shapes and dtypes; that inputs are not changed and `act` is pure; that equal streams and data give equal
    agents; that a state goes through `state_dict` whole and a resumed agent is the uninterrupted one; that evaluation
    leaves no trace; that the number of updates does not depend on the number of environments; and that a policy can be
    made from the subtree "policy" alone.
    """
    suite = Suite(plugin, config, env_plugin, env_config, num_envs)
    spec, life, turns = suite.play(steps)
    _check_describe(suite, spec)
    _check_gauges(life)
    _check_round_trip(suite, spec, life)
    _check_determinism(suite, spec, life, turns)
    _check_purity(suite, steps, life)
    _check_resume(suite, spec, life, turns)
    _check_policy(suite, spec, life, turns)
    _check_pacing(suite, steps)


def _turn(life: Life, environments: Any, observation: Observation) -> Turn:
    """Act, send, learn, receive, observe: the engine's order."""
    actor = life.actor
    output = life.act(observation)
    _check_output(output, actor, len(observation.first), Mode.EXPLORE)
    environments.send(output.action)
    _check_metrics(life.agent.learn())
    raw = environments.receive()
    step = StepBatch(
        before=observation,
        action=_read_only(output.action),
        reward=_read_only(raw.reward),
        discount=_read_only(raw.discount),
        terminated=_read_only(raw.terminated),
        truncated=_read_only(raw.truncated),
        after=_frozen(raw.after),
        extras={name: _read_only(value) for name, value in output.extras.items()},
    )
    updates = life.agent.updates
    life.agent.observe(step)
    assert life.agent.updates == updates, "observe made updates; they belong into learn"
    life.actor = {name: _read_only(value) for name, value in output.state.items()}
    return Turn(observation, actor, output, step)


def _act_twice(life: Life, observation: Observation) -> None:
    """Both modes: shapes, dtypes, purity, and that the random stream alone decides."""
    for mode in Mode:
        before, start = life.state(), life.rng.bit_generator.state
        first = life.agent.act(observation, life.actor, life.rng, mode)
        life.rng.bit_generator.state = start
        second = life.agent.act(observation, life.actor, life.rng, mode)
        life.rng.bit_generator.state = start
        _check_output(first, life.actor, len(observation.first), mode)
        _equal_outputs(first, second, f"act in {mode} with the same stream, twice")
        _same(before, life.state(), f"act in {mode} changed the agent")


def _check_output(output: ActorOutput, state: ActorState, num_envs: int, mode: Mode) -> None:
    action = output.action
    assert isinstance(action, np.ndarray), f"act in {mode}: action is {type(action).__name__}, not an array"
    assert action.shape == (num_envs,), f"act in {mode}: action has shape {action.shape}, not {(num_envs,)}"
    assert action.dtype == np.int64, f"act in {mode}: action has dtype {action.dtype}, not int64"
    assert output.state.keys() == state.keys(), f"act in {mode}: the state's names changed to {sorted(output.state)}"
    for what, values in (("state", output.state), ("extras", output.extras)):
        for name, value in values.items():
            assert isinstance(value, np.ndarray), f"act in {mode}: {what} {name} is not an array"
            assert value.shape[:1] == (num_envs,), f"act in {mode}: {what} {name} has shape {value.shape}, not (N, ...)"
            if what == "state":
                same = value.shape == state[name].shape and value.dtype == state[name].dtype
                assert same, f"act in {mode}: state {name} changed its shape or dtype"


def _check_metrics(metrics: Metrics) -> None:
    for name, value in metrics.items():
        assert "/" in name, f'metric "{name}" has no group: "group/what"'
        single = value.ndim == 0 if isinstance(value, torch.Tensor) else isinstance(value, float | Histogram | Image)
        assert single, f'metric "{name}" is neither a 0-dim tensor, a float, a Histogram nor an Image'


def _check_describe(suite: Suite, spec: EnvSpec) -> None:
    described = suite.plugin.describe(suite.config, spec, 1000)
    texts = all(isinstance(name, str) and isinstance(text, str) for name, text in described.items())
    assert texts, "describe gives texts by name"


def _check_gauges(life: Life) -> None:
    before = life.state()
    _check_metrics(life.agent.gauges())
    _same(before, life.state(), "gauges changed the agent")


def _check_determinism(suite: Suite, spec: EnvSpec, life: Life, turns: list[Turn]) -> None:
    other = suite.life(spec)
    for number, turn in enumerate(turns):
        other.follow(turn, f"a second agent with equal streams and data, step {number}")
    other.agent.learn()
    _same(life.state(), other.state(), "two agents with equal streams and data differ")


def _check_resume(suite: Suite, spec: EnvSpec, life: Life, turns: list[Turn]) -> None:
    """k steps, saved and loaded into a fresh agent, m steps: the same as k + m steps."""
    half = len(turns) // 2
    first, second = suite.life(spec), suite.life(spec)
    for turn in turns[:half]:
        first.follow(turn, "before the checkpoint")
    saved = first.state()
    first.agent.learn()  # a checkpoint must be a value: what the old agent does afterwards cannot matter
    second.agent.load_state_dict(saved["agent"])
    second.rng.bit_generator.state = saved["rng"]
    second.actor = saved["actor"]
    untouched = snapshot(saved)
    for number, turn in enumerate(turns[half:], half):
        second.follow(turn, f"resumed after {half} steps, step {number}")
    second.agent.learn()
    _same(life.state(), second.state(), f"resumed after {half} of {len(turns)} steps, the agent differs")
    _same(untouched, saved, "an agent goes on writing to the state that it was loaded from")


def _check_round_trip(suite: Suite, spec: EnvSpec, life: Life) -> None:
    state = life.agent.state_dict()
    assert "policy" in state, 'state_dict has no subtree "policy"'
    flatten(state)  # raises where a key or a leaf is of a type that no checkpoint holds
    fresh = suite.life(spec)
    fresh.agent.load_state_dict(snapshot(state))
    _same(snapshot(state), snapshot(fresh.agent.state_dict()), "state_dict changed on its way through a fresh agent")
    assert fresh.agent.updates == life.agent.updates, "the number of updates is not in the state"


def _check_purity(suite: Suite, steps: int, life: Life) -> None:
    """Acting in between, in both modes, and evaluating with an actor state of its own: training must not notice."""

    def disturb(training: Life, observation: Observation) -> None:
        _act_twice(training, observation)
        everyone = np.ones_like(observation.first)
        actor = training.agent.initial_state(len(everyone))
        training.agent.act(replace(observation, first=everyone), actor, np.random.default_rng(7), Mode.EVALUATE)

    _, other, _ = suite.play(steps, between=disturb)
    _same(life.state(), other.state(), "acting in between, as evaluation does, changes training")


def _check_policy(suite: Suite, spec: EnvSpec, life: Life, turns: list[Turn]) -> None:
    policy = suite.plugin.policy(suite.config, spec, torch.device("cpu"))
    policy.load_policy_state(snapshot(life.agent.state_dict()["policy"]))
    actor, agents_actor = policy.initial_state(spec.num_envs), life.agent.initial_state(spec.num_envs)
    for number, turn in enumerate(turns):
        alone = policy.act(turn.observation, actor, np.random.default_rng(number), Mode.EVALUATE)
        rng = np.random.default_rng(number)
        whole = life.agent.act(turn.observation, agents_actor, rng, Mode.EVALUATE)
        same = np.array_equal(alone.action, whole.action)
        assert same, f"a policy loaded from the agent's state acts otherwise: {alone.action} and {whole.action}"
        actor, agents_actor = alone.state, whole.state


def _check_pacing(suite: Suite, steps: int) -> None:
    total = 4 * max(1, steps // 4)
    updates = {n: suite.play(total // n, num_envs=n)[1].agent.updates for n in (1, 4)}
    message = f"{total} environment steps make {updates[1]} updates with one environment and {updates[4]} with four"
    assert updates[1] == updates[4], message


def _equal_outputs(expected: ActorOutput, found: ActorOutput, when: str) -> None:
    same = np.array_equal(expected.action, found.action)
    assert same, f"{when}: the actions differ: {expected.action} and {found.action}"
    _same(dict(expected.state), dict(found.state), f"{when}: the actor states differ")
    _same(dict(expected.extras), dict(found.extras), f"{when}: the extras differ")


def _same(expected: Any, found: Any, message: str) -> None:
    where = difference(expected, found)
    assert where is None, f"{message}: {where}"


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to: an agent that changes its inputs fails at once."""
    view = array.view()
    view.flags.writeable = False
    return view


def _frozen(observation: Observation) -> Observation:
    signals = {name: _read_only(value) for name, value in observation.signals.items()}
    return Observation(_read_only(observation.obs), signals, _read_only(observation.first))
