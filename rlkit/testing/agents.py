"""The conformance suite for agents: named checks of everything that the engine relies on.

For authors of agents, in a test of their own:

    CHECKS = agent_checks(plugin, plugin.config(name="mine"), env_plugin, env_plugin.config(...))


    @pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
    def test_conformance(name, check):
        check()
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from rlkit.agent import AgentPlugin
from rlkit.environments import EnvPlugin
from rlkit.testing import acting, learning, reproducing
from rlkit.testing.checks import Check, named_checks, run_all
from rlkit.testing.running import Case


def agent_checks(
    plugin: AgentPlugin[Any],
    config: Any,
    env_plugin: EnvPlugin[Any],
    env_config: Any,
    *,
    num_envs: int = 3,
    steps: int = 60,
    skip: Mapping[str, str] | None = None,
) -> list[tuple[str, Check]]:
    """The conformance checks as (name, check) pairs, for `pytest.mark.parametrize`; nothing runs yet.

    A check takes no arguments and raises AssertionError, which says what is wrong and what is expected. `skip` maps
    names of checks to reasons; a skipped check raises unittest.SkipTest, which pytest reports as skipped.

    Choose a config that learns within `steps * num_envs` environment steps, or the checks of learning compare agents
    that have learned nothing. A plug-in with `pacing = "rollouts"` must fill at least two rollouts within `steps`
    steps of `num_envs` environments. The checks share one recorded run of the agent, made by the first that needs it.

    Raises ValueError where `skip` names an unknown check.
    """
    case = Case(plugin, config, env_plugin, env_config, num_envs, steps)
    checks = {check.__name__: partial(check, case) for check in CHECKS}
    return named_checks(f"agent {config.name!r}", checks, skip)


def check_agent(
    plugin: AgentPlugin[Any],
    config: Any,
    env_plugin: EnvPlugin[Any],
    env_config: Any,
    *,
    num_envs: int = 3,
    steps: int = 60,
    skip: Mapping[str, str] | None = None,
) -> None:
    """Runs all `agent_checks` in order and raises the first failure.

    The order is from simple to derived, so the first failure is usually the cause of later ones.
    """
    run_all(agent_checks(plugin, config, env_plugin, env_config, num_envs=num_envs, steps=steps, skip=skip))


def description(case: Case) -> None:
    """`describe` returns texts by name."""
    for name, text in case.plugin.describe(case.config, case.spec, 1000).items():
        texts = isinstance(name, str) and isinstance(text, str)
        assert texts, f"describe returned {name!r}: {text!r}; expected str by str"


CHECKS = (
    description,
    acting.actor_outputs,
    acting.inputs_unchanged,
    learning.metrics,
    learning.updates_only_in_learn,
    learning.second_learn_makes_no_update,
    reproducing.state_types,
    acting.act_is_pure,
    reproducing.gauges_are_pure,
    reproducing.determinism,
    reproducing.evaluation_leaves_no_trace,
    acting.episodes_begin_anew,
    reproducing.state_round_trip,
    reproducing.loaded_state_is_copied,
    reproducing.resume,
    acting.evaluating_from_policy_state,
    acting.exploring_from_policy_state,
    learning.pacing,
)
"""In the order in which they run; the name of a check is that of its function."""
