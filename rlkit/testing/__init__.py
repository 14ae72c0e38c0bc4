"""Conformance suites for authors of plug-ins: call them in a test of your own."""

from rlkit.testing.agents import check_agent

__all__ = ["check_agent"]
