"""The partitions that a long-running command is told."""

from __future__ import annotations

from django.core.management.base import CommandError

from sites.wire.topics import PARTITIONS


def parse_partitions(text: str) -> tuple[int, ...]:
    """Return the partitions of a list such as ``0-15,32`` or ``none``; raise CommandError naming what is accepted."""
    if text == "none":
        return ()
    found: set[int] = set()
    for part in text.split(","):
        first, sign, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last if sign else first)
        except ValueError:
            low, high = -1, -1
        if not 0 <= low <= high < PARTITIONS:
            raise CommandError(f"--partitions: {part!r}, accepted: numbers and ranges within 0-{PARTITIONS - 1}")
        found.update(range(low, high + 1))
    return tuple(sorted(found))
