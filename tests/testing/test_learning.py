"""Faults in when agents learn and in what they measure, each found by the check made for it."""

from __future__ import annotations

import pytest

from envs.gymnasium import plugin as gymnasium
from helpers.a2c import A2CAgent, A2CConfig, A2CPlugin
from helpers.faults import CARTPOLE, Fault, failures
from helpers.noise_agent import NoiseAgent, NoisePlugin
from rlkit.agent import AgentContext
from rlkit.testing import agent_checks, learning
from rlkit.testing.agents import CHECKS
from rlkit.types import EnvSpec, Metrics, StepBatch


class GivesVectorsAsMetrics(NoiseAgent):
    def learn(self) -> Metrics:
        super().learn()
        return {"noise/weight": self.weight}


class GivesMetricsWithoutGroups(NoiseAgent):
    def gauges(self) -> Metrics:
        return {"steps": float(self.env_steps)}


class LearnsInObserve(NoiseAgent):
    def observe(self, step: StepBatch) -> None:
        super().observe(step)
        self.learn()


class CountsFromOne(NoiseAgent):
    def __init__(self, spec: EnvSpec, context: AgentContext) -> None:
        super().__init__(spec, context)
        self.updates = 1


class PacesByCalls(NoiseAgent):
    def learn(self) -> Metrics:
        self.updates += 1
        return {}


class PacesByVectorSteps(NoiseAgent):
    """Owes updates for steps of the loop, not of environments."""

    def observe(self, step: StepBatch) -> None:
        self.rewards += step.reward.sum()
        self.env_steps += 1


class LearnsFromItsRolloutAgain(A2CAgent):
    """Repeats the update whenever learn is called with an empty rollout."""

    def learn(self) -> Metrics:
        if self.filled == 0 and self.updates:
            self.updates += 1
            return self.update()
        return super().learn()


class DropsTheStepInFlight(A2CAgent):
    dropping = False

    def observe(self, step: StepBatch) -> None:
        if not self.dropping:
            super().observe(step)
        self.dropping = False

    def learn(self) -> Metrics:
        metrics = super().learn()
        self.dropping = bool(metrics)
        return metrics


class LearnsWhereEpisodesEnd(A2CAgent):
    def learn(self) -> Metrics:
        if self.filled and self.rollout["ended"][self.filled - 1].any():
            self.filled = self.config.rollout_steps
        return super().learn()


class CountsAllSteps(A2CAgent):
    """A rollout holds a number of steps of all environments together."""

    def __init__(self, config: A2CConfig, spec: EnvSpec) -> None:
        super().__init__(config.model_copy(update={"rollout_steps": 12 // spec.num_envs}), spec)


class UndeclaredPacing(A2CPlugin):
    pacing = "environment steps"


class UnknownPacing(NoisePlugin):
    pacing = "episodes"


FAULTS = [
    Fault(NoisePlugin(GivesVectorsAsMetrics), "metrics", "expected a 0-dim tensor, a float, a Histogram or an Image"),
    Fault(
        NoisePlugin(GivesMetricsWithoutGroups), "metrics", "gauges returned the metric 'steps'; expected a name with"
    ),
    Fault(NoisePlugin(LearnsInObserve), "updates_only_in_learn", "observe made 1 updates at step 3; expected none"),
    Fault(NoisePlugin(CountsFromOne), "updates_only_in_learn", "updates of a fresh agent is 1; expected 0"),
    Fault(NoisePlugin(PacesByCalls), "second_learn_makes_no_update", "made 1 updates; expected none", "pacing"),
    Fault(A2CPlugin(LearnsFromItsRolloutAgain), "second_learn_makes_no_update", "made 1 updates; expected none"),
    Fault(
        NoisePlugin(PacesByVectorSteps), "pacing", "12 environment steps make 0 updates with 3 environments and 1 with"
    ),
    Fault(A2CPlugin(DropsTheStepInFlight), "pacing", "after [8, 17] steps of all environments; expected [8, 16, 24]"),
    Fault(A2CPlugin(LearnsWhereEpisodesEnd), "pacing", "once for each full rollout"),
    Fault(
        A2CPlugin(CountsAllSteps), "pacing", "[4, 8, 12, 16, 20, 24] steps of 3 environments and after [12, 24] steps"
    ),
    Fault(UndeclaredPacing(), "pacing", "or pacing = 'rollouts' on a plug-in"),
    Fault(UnknownPacing(), "pacing", "declares the pacing 'episodes'; expected 'environment steps' or 'rollouts'"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_planted_fault_fails_its_check(fault: Fault) -> None:
    fault.assert_found()


def test_every_check_has_a_planted_fault() -> None:
    checks = {check.__name__ for check in CHECKS if check.__module__ == learning.__name__}
    assert checks == {fault.check for fault in FAULTS}


def test_rollouts_of_all_steps_together_are_paced_by_environment_steps() -> None:
    assert failures(UndeclaredPacing(CountsAllSteps)) == {}


def test_too_few_rollouts_to_check_are_an_error() -> None:
    plugin = A2CPlugin()
    checks = dict(agent_checks(plugin, plugin.config(name="a2c"), gymnasium, CARTPOLE, steps=15))
    with pytest.raises(
        AssertionError, match=r"the agent's `updates` rose 1 times in 15 steps of 3 environments; .* two full"
    ):
        checks["pacing"]()
