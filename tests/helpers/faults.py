"""Faults planted in agents, and what the conformance suite must say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envs.gymnasium import plugin as gymnasium
from rlkit.testing import agent_checks

CARTPOLE = gymnasium.config(name="gymnasium", id="CartPole-v1")


@dataclass(frozen=True)
class Fault:
    plugin: Any  # NoisePlugin or A2CPlugin of an agent
    check: str  # the first check that fails
    says: str  # in its message
    also: str = ""  # the other checks that fail, for faults that cannot be seen by one alone

    def __str__(self) -> str:
        return f"{self.check}-{self.plugin.kind.__name__}"

    def assert_found(self) -> None:
        """The suite fails in the named checks and in no other."""
        found = failures(self.plugin)
        assert found.keys() == {self.check, *self.also.split()}
        assert next(iter(found)) == self.check
        assert found[self.check].startswith(f"agent 'planted' fails the check '{self.check}': ")
        assert self.says in found[self.check]


def failures(plugin: Any, num_envs: int = 3) -> dict[str, str]:
    """The messages of the checks that fail, by name, in the order of the suite."""
    found = {}
    config = plugin.config(name="planted")
    for name, check in agent_checks(plugin, config, gymnasium, CARTPOLE, num_envs=num_envs, steps=24):
        try:
            check()
        except AssertionError as error:
            found[name] = str(error)
    return found
