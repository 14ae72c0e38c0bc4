"""Conformance suites for authors of plug-ins, to be run in tests of their own."""

from rlkit.testing.agents import agent_checks, check_agent
from rlkit.testing.environments import check_env, env_checks

__all__ = ["agent_checks", "check_agent", "check_env", "env_checks"]
