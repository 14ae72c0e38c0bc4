"""Protocols: what a score depends on besides the agent, as a named object that is printed with every score."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NAME = "protocol"  # where an environment's own entries carry the name of a published protocol


@dataclass(frozen=True, slots=True)
class Protocol:
    """Sticky actions, no-ops, life loss, time limit, evaluation epsilon ... in words, under a name."""

    name: str  # a published protocol's ("dopamine"), else the environment's
    entries: Mapping[str, str]

    @classmethod
    def of(cls, entries: Mapping[str, Any]) -> Protocol:
        """From the entries of a result file. At which step a run ended is the run's, and no part of it."""
        plain = {key: re.sub(r", at \d+ steps$", "", str(value)) for key, value in entries.items()}
        return cls(plain.get(NAME) or plain.get("environment", "unnamed"), plain)

    @property
    def environment(self) -> str:
        return self.entries.get("environment", "unnamed")

    def key(self) -> tuple[tuple[str, str], ...]:
        """Equal where scores may be averaged."""
        return tuple(sorted(self.entries.items()))

    def text(self) -> str:
        return "; ".join(f"{key}: {value}" for key, value in self.entries.items() if key != NAME)

    def differences(self, other: Protocol) -> list[str]:
        """ "sticky actions 0.25 / none" for each entry in which the two differ."""
        keys = [key for key in dict.fromkeys([*self.entries, *other.entries]) if key != NAME]
        pairs = {key: (self.entries.get(key, "unstated"), other.entries.get(key, "unstated")) for key in keys}
        return [f"{key} {mine} / {theirs}" for key, (mine, theirs) in pairs.items() if mine != theirs]


def legend(protocols: Iterable[Protocol]) -> dict[str, Protocol]:
    """Mark → protocol, each protocol once: its name, with a number where two differ under one name."""
    marks: dict[str, Protocol] = {}
    for protocol in protocols:
        if any(known.key() == protocol.key() for known in marks.values()):
            continue
        mark, number = protocol.name, 1
        while mark in marks:
            number += 1
            mark = f"{protocol.name} ({number})"
        marks[mark] = protocol
    return marks


def sentences(marks: Mapping[str, Protocol]) -> list[str]:
    """Each protocol in full, by its mark; the mark is left out where it is the only one, and the environment's name."""
    alone = len(marks) == 1
    return [
        f"Protocol{'' if alone and mark == protocol.environment else ' ' + mark}: {protocol.text()}."
        for mark, protocol in marks.items()
    ]


def mark_of(protocol: Protocol, marks: Mapping[str, Protocol]) -> str:
    return next(mark for mark, known in marks.items() if known.key() == protocol.key())
