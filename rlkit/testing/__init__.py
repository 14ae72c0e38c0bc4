"""Conformance suites for authors of plug-ins: call them in a test of your own."""

from rlkit.testing.agents import check_agent
from rlkit.testing.environments import check_env

__all__ = ["check_agent", "check_env"]
