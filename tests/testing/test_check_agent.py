"""check_agent must fail: one broken agent for each clause of the contract, each named by the message it gets."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from envs.gymnasium import plugin as gymnasium
from rlkit.agent import AgentContext
from rlkit.config.model import PluginConfig
from rlkit.pacing import Ratio
from rlkit.seeding import Streams
from rlkit.testing.agents import check_agent
from rlkit.testing.states import difference, flatten, snapshot
from rlkit.types import ActorOutput, ActorState, EnvSpec, Metrics, Mode, Observation, State, StepBatch

CARTPOLE = gymnasium.config(name="gymnasium", id="CartPole-v1")


class Sound:
    """Adds noise to a running sum of rewards, carries its age, and acts by both: small, but with all kinds of state."""

    def __init__(self, spec: EnvSpec, context: AgentContext) -> None:
        self.actions = spec.num_actions
        self.rng = context.streams.generator("noise")
        self.weight = torch.zeros(2)
        self.rewards = np.zeros(1)
        self.env_steps = 0
        self.updates = 0

    def initial_state(self, num_envs: int) -> ActorState:
        return {"age": np.zeros(num_envs, np.int64)}

    def greedy(self, observation: Observation) -> np.ndarray:
        return (observation.obs[:, 2] * 10 + self.weight[0].item() > 0).astype(np.int64)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        age = np.where(observation.first, 0, state["age"] + 1)
        action = self.greedy(observation)
        if mode is Mode.EXPLORE:
            action = np.where(rng.random(len(age)) < 0.5, rng.integers(self.actions, size=len(age)), action)
        return ActorOutput(action, {"age": age}, {"age": age})

    def observe(self, step: StepBatch) -> None:
        self.rewards += step.reward.sum()
        self.env_steps += len(step.action)

    def owed(self) -> int:
        return Ratio(0.5, 10).total(self.env_steps) - self.updates

    def learn(self) -> Metrics:
        for _ in range(self.owed()):
            self.weight = self.weight + torch.tensor([self.rng.normal(), self.rewards[0]])
            self.updates += 1
        return {"noise/weight": self.weight[0]}

    def gauges(self) -> Metrics:
        return {"noise/steps": float(self.env_steps)}

    def state_dict(self) -> State:
        return {
            "policy": {"weight": self.weight},
            "rng": self.rng.bit_generator.state,
            "rewards": self.rewards,
            "env_steps": self.env_steps,
            "updates": self.updates,
        }

    def load_state_dict(self, state: State) -> None:
        self.load_policy_state(state["policy"])
        self.rng.bit_generator.state = state["rng"]
        self.rewards = state["rewards"].copy()
        self.env_steps, self.updates = state["env_steps"], state["updates"]

    def load_policy_state(self, state: State) -> None:
        self.weight = state["weight"].clone()


class ActsUnseeded(Sound):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return super().act(observation, state, np.random.default_rng(), mode)


class CountsItsActs(Sound):
    acts = 0

    def greedy(self, observation: Observation) -> np.ndarray:
        self.acts += 1
        return np.full(len(observation.first), self.acts % 2)


class WritesToInputs(Sound):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        observation.obs[:] = 0
        return super().act(observation, state, rng, mode)


class ChangesInAct(Sound):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        self.rewards += 1
        return super().act(observation, state, rng, mode)


class ChangesInGauges(Sound):
    def gauges(self) -> Metrics:
        self.rewards += 1
        return {}


class GivesInt32(Sound):
    def greedy(self, observation: Observation) -> np.ndarray:
        return super().greedy(observation).astype(np.int32)


class GivesColumns(Sound):
    def greedy(self, observation: Observation) -> np.ndarray:
        return super().greedy(observation)[:, None]


class DropsItsState(Sound):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return replace(super().act(observation, state or self.initial_state(3), rng, mode), state={})


class GivesListsAsExtras(Sound):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return replace(super().act(observation, state, rng, mode), extras={"age": [0] * len(observation.first)})


class LearnsInObserve(Sound):
    def observe(self, step: StepBatch) -> None:
        super().observe(step)
        self.learn()


class GivesVectorsAsMetrics(Sound):
    def learn(self) -> Metrics:
        super().learn()
        return {"noise/weight": self.weight}


class ForgetsItsStream(Sound):
    def state_dict(self) -> State:
        return {name: value for name, value in super().state_dict().items() if name != "rng"}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict({**state, "rng": self.rng.bit_generator.state})


class UsesTheGlobalStream(Sound):
    def learn(self) -> Metrics:
        for _ in range(self.owed()):
            self.weight = self.weight + torch.randn(2)
            self.updates += 1
        return {}


class KeepsObjects(Sound):
    def state_dict(self) -> State:
        return {**super().state_dict(), "rates": {1, 2}}


class KeepsIntegerKeys(Sound):
    def state_dict(self) -> State:
        return {**super().state_dict(), "rates": {1: 2.0}}


class SharesWhatItLoads(Sound):
    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        self.rewards = state["rewards"]


class NoticesEvaluation(Sound):
    """Pure in one act, twice the same: only that evaluation happened at all leaves a trace."""

    noticed = 0

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        if mode is Mode.EVALUATE and observation.first.all():
            self.noticed = 1
        return super().act(observation, state, rng, mode)

    def observe(self, step: StepBatch) -> None:
        super().observe(step)
        if self.env_steps > 60:
            self.rewards += self.noticed


class PacesByCalls(Sound):
    def learn(self) -> Metrics:
        self.updates += 1
        return {}


class HidesFromThePolicy(Sound):
    """The policy's subtree lacks what greedy actions depend on."""

    def greedy(self, observation: Observation) -> np.ndarray:
        return (observation.obs[:, 2] * 10 + self.rewards[0] > 5).astype(np.int64)


class Plugin:
    config = PluginConfig

    def __init__(self, kind: type[Sound]) -> None:
        self.kind = kind

    def policy(self, config: PluginConfig, spec: EnvSpec, device: torch.device) -> Sound:
        return self.kind(spec, AgentContext(Streams(0), device))

    def agent(self, config: PluginConfig, spec: EnvSpec, context: AgentContext) -> Sound:
        return self.kind(spec, context)

    def describe(self, config: PluginConfig, spec: EnvSpec, env_steps: int) -> Mapping[str, str]:
        return {"policy": "noise"}


def check(kind: type[Sound]) -> None:
    check_agent(Plugin(kind), PluginConfig(name="toy"), gymnasium, CARTPOLE, steps=40)


def test_a_sound_agent_passes() -> None:
    check(Sound)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (ActsUnseeded, "equal streams and data"),
        (CountsItsActs, "with the same stream, twice: the actions differ"),
        (ChangesInAct, "changed the agent: agent/rewards"),
        (ChangesInGauges, "gauges changed the agent: agent/rewards"),
        (GivesInt32, "dtype int32, not int64"),
        (GivesColumns, "action has shape"),
        (DropsItsState, "the state's names changed"),
        (GivesListsAsExtras, "extras age is not an array"),
        (LearnsInObserve, "observe made updates"),
        (GivesVectorsAsMetrics, '"noise/weight" is neither a 0-dim tensor'),
        (ForgetsItsStream, "resumed after"),
        (UsesTheGlobalStream, "equal streams and data"),
        (KeepsObjects, "state agent/rates: set cannot be kept"),
        (KeepsIntegerKeys, "the key 1 is int, not str"),
        (SharesWhatItLoads, "goes on writing to the state"),
        (PacesByCalls, "environment steps make"),
        (HidesFromThePolicy, "a policy loaded from the agent's state acts otherwise"),
    ],
)
def test_a_broken_agent_fails_for_the_right_reason(kind: type[Sound], says: str) -> None:
    with pytest.raises(AssertionError) as error:
        check(kind)
    assert says in str(error.value)


def test_an_agent_that_writes_to_its_inputs_is_stopped() -> None:
    with pytest.raises(ValueError, match="read-only"):
        check(WritesToInputs)


def test_evaluation_that_leaves_a_trace_is_found() -> None:
    with pytest.raises(AssertionError, match="as evaluation does, changes training"):
        check(NoticesEvaluation)


def test_states_are_compared_bit_by_bit() -> None:
    state = {"a": {"b": torch.tensor([1.0, float("nan")]), "c": [1, True]}, "d": np.zeros(2), "e": {}, "f": None}
    assert difference(state, snapshot(state)) is None
    assert flatten(state).keys() == {"a/b", "a/c/#", "a/c/0", "a/c/1", "d", "e/", "f"}
    for path, other in [
        ("d", {**state, "d": np.zeros(2, np.float32)}),
        ("d", {**state, "d": -np.zeros(2)}),
        ("a/c/1", {**state, "a": {**state["a"], "c": [1, 1]}}),
        ("e/", {**state, "e": {"x": 1}}),
        ("f", {name: value for name, value in state.items() if name != "f"}),
    ]:
        assert str(difference(state, other)).startswith(path)
