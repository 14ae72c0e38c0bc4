"""Faults in how agents act, each found by the check made for it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.faults import Fault
from helpers.noise_agent import NoiseAgent, NoisePlugin
from rlkit.config.model import PluginConfig
from rlkit.testing import acting
from rlkit.testing.agents import CHECKS
from rlkit.types import ActorOutput, ActorState, EnvSpec, Mode, Observation, StepBatch


class GivesInt32(NoiseAgent):
    def greedy(self, observation: Observation) -> np.ndarray:
        return super().greedy(observation).astype(np.int32)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output = super().act(observation, state, rng, mode)
        return replace(output, action=output.action.astype(np.int32))


class GivesColumns(NoiseAgent):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output = super().act(observation, state, rng, mode)
        return replace(output, action=output.action[:, None])


class LeavesTheRange(NoiseAgent):
    def greedy(self, observation: Observation) -> np.ndarray:
        return super().greedy(observation) - 1


class EvaluatesInFloats(NoiseAgent):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output = super().act(observation, state, rng, mode)
        return output if mode is Mode.EXPLORE else replace(output, action=output.action.astype(np.float64))


class DropsItsState(NoiseAgent):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return replace(
            super().act(observation, state or self.initial_state(len(observation.first)), rng, mode), state={}
        )


class ChangesDtype(NoiseAgent):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output = super().act(observation, state, rng, mode)
        return replace(output, state={"age": output.state["age"].astype(np.float32)})


class GivesListsAsExtras(NoiseAgent):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return replace(super().act(observation, state, rng, mode), extras={"age": [0] * len(observation.first)})


class GivesOneRow(NoiseAgent):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return replace(super().act(observation, state, rng, mode), extras={"mean age": np.zeros(1)})


class WritesToItsObservation(NoiseAgent):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        observation.obs[:] = 0
        return super().act(observation, state, rng, mode)


class WritesToItsStep(NoiseAgent):
    def observe(self, step: StepBatch) -> None:
        step.reward[:] = np.clip(step.reward, -0.5, 0.5)
        super().observe(step)


class WritesToItsActorState(NoiseAgent):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output = super().act(observation, state, rng, mode)
        state["age"][:] = output.state["age"]
        return output


class ReusesItsActions(NoiseAgent):
    """Returns the same array from every act."""

    buffer = None

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output = super().act(observation, state, rng, mode)
        self.buffer = output.action if self.buffer is None else self.buffer
        self.buffer[:] = output.action
        return replace(output, action=self.buffer)


class ChangesInAct(NoiseAgent):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        self.rewards += 1
        return super().act(observation, state, rng, mode)


class CountsItsActs(NoiseAgent):
    acts = 0

    def greedy(self, observation: Observation) -> np.ndarray:
        self.acts += 1
        return np.full(len(observation.first), self.acts % 2)


class EvaluatesUnseeded(NoiseAgent):
    numbers = itertools.count()  # as the time of day: another one at every call, whatever the random stream

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output = super().act(observation, state, rng, mode)
        unseeded = np.full(len(output.action), next(self.numbers) % self.actions)
        return output if mode is Mode.EXPLORE else replace(output, action=unseeded)


class NeverBeginsAnew(NoiseAgent):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return super().act(replace(observation, first=np.zeros_like(observation.first)), state, rng, mode)


class EvaluatesByMore(NoiseAgent):
    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output = super().act(observation, state, rng, mode)
        return output if mode is Mode.EXPLORE or not self.env_steps else replace(output, action=1 - output.action)


class BeginsAlone(NoisePlugin):
    """The bare policy begins with another actor state than the agent."""

    def policy(self, config: PluginConfig, spec: EnvSpec, device: torch.device) -> NoiseAgent:
        policy = super().policy(config, spec, device)
        policy.initial_state = lambda num_envs: {"age": np.ones(num_envs, np.int64)}
        return policy


class ExploresByMore(NoiseAgent):
    def epsilon(self) -> float:
        return 0.5 if self.env_steps < 60 else 0.1


UNPLAYABLE = " ".join(check.__name__ for check in CHECKS if check.__name__ not in ("description", "actor_outputs"))
FAULTS = [
    Fault(NoisePlugin(GivesInt32), "actor_outputs", "int32 of shape (3,); expected an array of 3 int64", UNPLAYABLE),
    Fault(NoisePlugin(GivesColumns), "actor_outputs", "of shape (3, 1); expected an array of 3 int64", UNPLAYABLE),
    Fault(NoisePlugin(LeavesTheRange), "actor_outputs", "expected an array of 3 int64 in 0..1", UNPLAYABLE),
    Fault(NoisePlugin(EvaluatesInFloats), "actor_outputs", "act in Mode.EVALUATE returned the action"),
    Fault(NoisePlugin(DropsItsState), "actor_outputs", "has the names []; expected those of initial_state, ['age']"),
    Fault(NoisePlugin(ChangesDtype), "actor_outputs", "(3,) float32; expected (3,) int64", "episodes_begin_anew"),
    Fault(NoisePlugin(GivesListsAsExtras), "actor_outputs", "extras 'age' is list; expected an array"),
    Fault(NoisePlugin(GivesOneRow), "actor_outputs", "has shape (1,); expected a row for each of 3 environments"),
    Fault(NoisePlugin(WritesToItsObservation), "inputs_unchanged", "obs is"),
    Fault(NoisePlugin(WritesToItsStep), "inputs_unchanged", "reward is"),
    Fault(NoisePlugin(WritesToItsActorState), "inputs_unchanged", "age is", "loaded_state_is_copied"),
    Fault(NoisePlugin(ReusesItsActions), "inputs_unchanged", "action is"),
    Fault(NoisePlugin(ChangesInAct), "act_is_pure", "agent/rewards is", "evaluation_leaves_no_trace"),
    Fault(NoisePlugin(CountsItsActs), "act_is_pure", "gave two outputs for one random stream", "episodes_begin_anew"),
    Fault(
        NoisePlugin(EvaluatesUnseeded),
        "act_is_pure",
        "act in Mode.EVALUATE gave two outputs for one random stream: action is",
        "episodes_begin_anew evaluating_from_policy_state",
    ),
    Fault(NoisePlugin(NeverBeginsAnew), "episodes_begin_anew", "expected as from initial_state: state/age is"),
    Fault(NoisePlugin(EvaluatesByMore), "evaluating_from_policy_state", "acts differently in Mode.EVALUATE: action is"),
    Fault(
        BeginsAlone(),
        "evaluating_from_policy_state",
        "initial_state of a bare policy is not that of the agent: age is 1 at [0]; expected 0",
        "exploring_from_policy_state",
    ),
    Fault(NoisePlugin(ExploresByMore), "exploring_from_policy_state", "acts differently in Mode.EXPLORE: action is"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_planted_fault_fails_its_check(fault: Fault) -> None:
    fault.assert_found()


def test_every_check_has_a_planted_fault() -> None:
    checks = {check.__name__ for check in CHECKS if check.__module__ == acting.__name__}
    assert checks == {fault.check for fault in FAULTS}
