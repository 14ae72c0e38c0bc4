"""Protocols: what a score depends on besides the agent; printed with every score."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NAME = "protocol"  # key of an environment's entries that names a published protocol


@dataclass(frozen=True, slots=True)
class Protocol:
    """Sticky actions, no-ops, life loss, time limit, evaluation epsilon ... in words, under a name."""

    name: str  # of a published protocol ("dopamine"), else of the environment
    entries: Mapping[str, str]

    @classmethod
    def of(cls, entries: Mapping[str, Any]) -> Protocol:
        """From the entries of a result file. Omits the step at which the run ended, which differs between runs."""
        plain = {key: re.sub(r", at \d+ steps$", "", str(value)) for key, value in entries.items()}
        return cls(plain.get(NAME) or plain.get("environment", "unnamed"), plain)

    @property
    def environment(self) -> str:
        return self.entries.get("environment", "unnamed")

    def key(self) -> tuple[tuple[str, str], ...]:
        """Equal if scores may be averaged."""
        return tuple(sorted(self.entries.items()))

    def text(self) -> str:
        return "; ".join(f"{key}: {value}" for key, value in self.entries.items() if key != NAME)

    def differences(self, other: Protocol) -> list[str]:
        """ "sticky actions 0.25 / none" for each entry in which the two differ."""
        keys = [key for key in dict.fromkeys([*self.entries, *other.entries]) if key != NAME]
        pairs = {key: (self.entries.get(key, "unstated"), other.entries.get(key, "unstated")) for key in keys}
        return [f"{key} {mine} / {theirs}" for key, (mine, theirs) in pairs.items() if mine != theirs]


def legend(protocols: Iterable[Protocol]) -> dict[str, Protocol]:
    """Mark → protocol, each protocol once. A mark is its name, numbered if different protocols have the same name."""
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
    """Each protocol in full, with its mark; a single one whose mark is the environment's name has none."""
    alone = len(marks) == 1
    return [
        f"Protocol{'' if alone and mark == protocol.environment else ' ' + mark}: {protocol.text()}."
        for mark, protocol in marks.items()
    ]


def mark_of(protocol: Protocol, marks: Mapping[str, Protocol]) -> str:
    return next(mark for mark, known in marks.items() if known.key() == protocol.key())


def numbered(played: Iterable[tuple[str, Protocol]]) -> dict[tuple[str, tuple[tuple[str, str], ...]], str]:
    """(environment, key of a protocol) → its mark: "" where an environment has one protocol, else "[1]", "[2]" ..."""
    found: dict[str, list[Protocol]] = {}
    for environment, protocol in played:
        protocols = found.setdefault(environment, [])
        if all(known.key() != protocol.key() for known in protocols):
            protocols.append(protocol)
    return {
        (environment, protocol.key()): f"[{number}]" if len(protocols) > 1 else ""
        for environment, protocols in found.items()
        for number, protocol in enumerate(protocols, 1)
    }
