"""Named checks: how both conformance suites list, skip and report what they check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from unittest import SkipTest

from rlkit.plugins import raised_in

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class NamedCheck:
    """One check of one plug-in. Raises AssertionError with the plug-in's and the check's name in front."""

    subject: str  # "agent 'dqn'"
    name: str
    run: Check
    skip_reason: str | None

    def __call__(self) -> None:
        if self.skip_reason is not None:
            raise SkipTest(f"{self.subject}, check {self.name!r}: {self.skip_reason}")
        fails = f"{self.subject} fails the check {self.name!r}:"
        try:
            self.run()
        except AssertionError as error:
            error.args = (f"{fails} {error}",)
            raise
        except Exception as error:  # whatever the plug-in's code raises
            raised = f"{type(error).__name__}: {error}{raised_in(error)}"
            raise AssertionError(f"{fails} {raised}") from error


def named_checks(subject: str, checks: Mapping[str, Check], skip: Mapping[str, str] | None) -> list[tuple[str, Check]]:
    """(name, check) pairs; a check named in `skip` raises unittest.SkipTest with the reason given there.

    Raises ValueError where `skip` names an unknown check.
    """
    reasons = skip or {}
    unknown = sorted(reasons.keys() - checks.keys())
    if unknown:
        raise ValueError(f"skip names unknown checks: {', '.join(unknown)}; the known ones are {', '.join(checks)}")
    return [(name, NamedCheck(subject, name, check, reasons.get(name))) for name, check in checks.items()]


def run_all(checks: Iterable[tuple[str, Check]]) -> None:
    """Runs the checks in order; the first failure is raised, skipped checks are passed over."""
    for _, check in checks:
        with suppress(SkipTest):
            check()
