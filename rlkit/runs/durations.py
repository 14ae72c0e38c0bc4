"""Durations in words."""

from __future__ import annotations

DAY = 86_400  # seconds


def duration(seconds: float) -> str:
    """ "40 seconds", "3 minutes", "24 hours", "5 days"."""
    for unit, length in (("days", 172_800), ("hours", 7200), ("minutes", 120)):
        if seconds >= length:
            size = {"days": 86_400, "hours": 3600, "minutes": 60}[unit]
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1, round(seconds))} seconds"
