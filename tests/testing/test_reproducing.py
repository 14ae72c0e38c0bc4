"""Faults in how runs are repeated, saved and resumed, each found by the check made for it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch

from helpers.a2c import A2CAgent, A2CPlugin
from helpers.faults import Fault, failures
from helpers.noise_agent import NoiseAgent, NoisePlugin
from rlkit.testing import reproducing
from rlkit.testing.agents import CHECKS
from rlkit.types import ActorOutput, ActorState, Metrics, Mode, Observation, State, StepBatch


class KeepsObjects(NoiseAgent):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "rates": {1, 2}}


class KeepsIntegerKeys(NoiseAgent):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "rates": {1: 2.0}}


class HasNoPolicy(NoiseAgent):
    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        return {**state.pop("policy"), **state}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict({**state, "policy": {"weight": state["weight"]}})


class ChangesInGauges(NoiseAgent):
    def gauges(self) -> Metrics:
        self.rewards += 1
        return {}


class UsesTheGlobalStream(NoiseAgent):
    def update(self) -> None:
        self.weight = self.weight + torch.randn(2)
        self.updates += 1


class MeasuresUnseeded(NoiseAgent):
    def learn(self) -> Metrics:
        return {**super().learn(), "noise/now": float(np.random.default_rng().random())}


class NoticesEvaluation(NoiseAgent):
    """Each act by itself is pure; that an evaluation happened changes what is learned later."""

    noticed = 0

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        if mode is Mode.EVALUATE and observation.first.all():
            self.noticed = 1
        return super().act(observation, state, rng, mode)

    def observe(self, step: StepBatch) -> None:
        super().observe(step)
        if self.env_steps > 60:
            self.rewards += self.noticed


class ForgetsItsLatestReward(NoiseAgent):
    """Each observe overwrites it, so a resumed run does not show the loss."""

    latest = 0.0

    def observe(self, step: StepBatch) -> None:
        super().observe(step)
        self.latest = float(step.reward.sum())

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "latest": self.latest}


class SharesWhatItLoads(NoiseAgent):
    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        self.rewards = state["rewards"]


class ForgetsItsStream(NoiseAgent):
    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name != "rng"}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict({**state, "rng": self.rng.bit_generator.state})


class ForgetsAMetric(NoiseAgent):
    total = 0.0

    def learn(self) -> Metrics:
        self.total += 1
        return {**super().learn(), "noise/calls": self.total}


class LosesItsRollout(A2CAgent):
    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name != "filled"}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict({**state, "filled": 0})


class LosesAFullRollout(A2CAgent):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "filled": self.filled % self.config.rollout_steps}


class LosesAHalfFilledRollout(A2CAgent):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "filled": self.filled // self.config.rollout_steps}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict({**state, "filled": state["filled"] * self.config.rollout_steps})


POLICY = "evaluating_from_policy_state exploring_from_policy_state"
COMPARING = (
    "act_is_pure gauges_are_pure determinism evaluation_leaves_no_trace state_round_trip loaded_state_is_copied resume"
)
UNREPEATABLE = "evaluation_leaves_no_trace resume"
FAULTS = [
    Fault(NoisePlugin(KeepsObjects), "state_types", "state rates: a checkpoint cannot hold set; expected", COMPARING),
    Fault(NoisePlugin(KeepsIntegerKeys), "state_types", "state rates: the key 1 is int; expected str", COMPARING),
    Fault(NoisePlugin(HasNoPolicy), "state_types", "expected 'policy' among them", POLICY),
    Fault(
        NoisePlugin(ChangesInGauges), "gauges_are_pure", "gauges changed the agent; expected no change: agent/rewards"
    ),
    Fault(NoisePlugin(UsesTheGlobalStream), "determinism", "differ; metrics of learn at step", UNREPEATABLE),
    Fault(NoisePlugin(MeasuresUnseeded), "determinism", "metrics of learn at step 0: noise/now is", UNREPEATABLE),
    Fault(NoisePlugin(NoticesEvaluation), "evaluation_leaves_no_trace", "change training; expected no change:"),
    Fault(NoisePlugin(ForgetsItsLatestReward), "state_round_trip", "latest is 0.0; expected 3.0"),
    Fault(
        NoisePlugin(SharesWhatItLoads), "loaded_state_is_copied", "wrote to the state that it loaded; expected a copy"
    ),
    Fault(
        NoisePlugin(ForgetsItsStream), "resume", "the agent saved after 12 of 24 steps, and resumed, differs; metrics"
    ),
    Fault(NoisePlugin(ForgetsAMetric), "resume", "metrics of learn at step 12: noise/calls is 1.0; expected 13.0"),
    Fault(NoisePlugin(ForgetsAMetric), "resume", "what the future depends on besides (an optimizer, a bonus, a "),
    Fault(A2CPlugin(LosesItsRollout), "resume", "saved after 8 of 24 steps, with a full rollout, and resumed, differs"),
    Fault(A2CPlugin(LosesAFullRollout), "resume", "saved after 8 of 24 steps, with a full rollout, and resumed"),
    Fault(A2CPlugin(LosesAHalfFilledRollout), "resume", "saved after 12 of 24 steps, with a rollout half filled, and"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_planted_fault_fails_its_check(fault: Fault) -> None:
    fault.assert_found()


def test_every_check_has_a_planted_fault() -> None:
    checks = {check.__name__ for check in CHECKS if check.__module__ == reproducing.__name__}
    assert checks == {fault.check for fault in FAULTS}


class MeasuresTime(NoiseAgent):
    def learn(self) -> Metrics:
        return {**super().learn(), "time/learn": time.perf_counter()}


def test_metrics_of_time_may_differ() -> None:
    assert failures(NoisePlugin(MeasuresTime)) == {}
