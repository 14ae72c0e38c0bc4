"""The conformance suite for agents as its users call it: by pytest, by check_agent, with checks skipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import SkipTest

import pytest

from envs.gymnasium import plugin as gymnasium
from helpers.a2c import A2CPlugin
from helpers.faults import CARTPOLE, Fault, failures
from helpers.noise_agent import NoiseAgent, NoisePlugin
from rlkit.config.model import PluginConfig
from rlkit.testing import agent_checks, check_agent
from rlkit.types import EnvSpec, Metrics, StepBatch

pytest_plugins = ["pytester"]
CONFIG = PluginConfig(name="toy")


@pytest.mark.parametrize("plugin", [NoisePlugin(), A2CPlugin()], ids=["by steps", "by rollouts"])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_agents_that_keep_the_contract_pass(plugin: Any, num_envs: int) -> None:
    assert failures(plugin, num_envs) == {}


class DescribesInNumbers(NoisePlugin):
    def describe(self, config: PluginConfig, spec: EnvSpec, env_steps: int) -> Mapping[str, Any]:
        return {"actions": spec.num_actions}


def test_a_description_holds_texts() -> None:
    Fault(DescribesInNumbers(), "description", "describe returned 'actions': 2; expected str by str").assert_found()


def test_check_agent_raises_the_first_failure() -> None:
    class Broken(NoiseAgent):
        def gauges(self) -> Metrics:
            self.rewards += 1
            return {"rewards": float(self.rewards[0])}

    assert list(failures(NoisePlugin(Broken))) == ["metrics", "gauges_are_pure"]
    with pytest.raises(AssertionError, match="agent 'toy' fails the check 'metrics': gauges returned the metric"):
        check_agent(NoisePlugin(Broken), CONFIG, gymnasium, CARTPOLE, steps=24)
    with pytest.raises(AssertionError, match="agent 'toy' fails the check 'gauges_are_pure': "):
        check_agent(NoisePlugin(Broken), CONFIG, gymnasium, CARTPOLE, steps=24, skip={"metrics": "old names"})


def test_an_error_of_the_agent_names_the_check() -> None:
    class Crashes(NoiseAgent):
        def observe(self, step: StepBatch) -> None:
            raise KeyError("reward")

    message = "agent 'toy' fails the check 'actor_outputs': KeyError: 'reward'"
    with pytest.raises(AssertionError, match=message) as error:
        check_agent(NoisePlugin(Crashes), CONFIG, gymnasium, CARTPOLE)
    assert isinstance(error.value.__cause__, KeyError)


def test_a_skipped_check_gives_its_reason() -> None:
    checks = dict(agent_checks(NoisePlugin(), CONFIG, gymnasium, CARTPOLE, skip={"resume": "not yet"}))
    with pytest.raises(SkipTest, match="not yet"):
        checks["resume"]()


def test_unknown_names_in_skip_are_refused() -> None:
    with pytest.raises(ValueError, match=r"skip names unknown checks: resuming; the known ones are description, act"):
        agent_checks(NoisePlugin(), CONFIG, gymnasium, CARTPOLE, skip={"resuming": "not yet"})


def test_pytest_parametrises_the_checks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest
        from envs.gymnasium import plugin as gymnasium
        from helpers.noise_agent import NoiseAgent, NoisePlugin
        from rlkit.testing import agent_checks

        class Broken(NoiseAgent):
            def gauges(self):
                return {"rewards": 1.0}

        config = NoisePlugin.config(name="toy")
        cartpole = gymnasium.config(name="gymnasium", id="CartPole-v1")
        CHECKS = agent_checks(NoisePlugin(Broken), config, gymnasium, cartpole, steps=24, skip={"resume": "not yet"})

        @pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
        def test_conformance(name, check):
            check()
    """)
    result = pytester.runpytest_inprocess("-rsf", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=16, skipped=1, failed=1)
    result.stdout.fnmatch_lines(["SKIPPED*check 'resume': not yet", "FAILED*test_conformance[[]metrics[]]*"])
