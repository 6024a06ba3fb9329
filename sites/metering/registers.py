"""Intervals from the cumulative registers that somebody else's meter tells: pure, exact in whole uWh.

The end of a minute has the register that was read last within that minute; a minute without a reading makes the next
interval longer. A register loses nothing to a reading that is missing or late: what it counted comes with the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

GRID_MS: Final = 60_000
LONGEST_MS: Final = 86_400_000
"""A longer time without a reading is a hole: an interval over it would prove nothing of any day."""


@dataclass(frozen=True, slots=True)
class Base:
    """Registers at the end of a minute, from which the next interval goes on."""

    at_ms: int
    into_uwh: int = 0
    from_uwh: int = 0


@dataclass(frozen=True, slots=True)
class Derived:
    """One interval between two readings of the registers."""

    starts: Base
    ends: Base

    @property
    def into_uwh(self) -> int:
        """Energy into the bus [uWh]."""
        return self.ends.into_uwh - self.starts.into_uwh

    @property
    def from_uwh(self) -> int:
        """Energy out of the bus [uWh]."""
        return self.ends.from_uwh - self.starts.from_uwh

    @property
    def is_long(self) -> bool:
        """Whether it spans minutes without a reading."""
        return self.ends.at_ms - self.starts.at_ms > GRID_MS


@dataclass(frozen=True, slots=True)
class Found:
    """What some readings made."""

    intervals: tuple[Derived, ...]
    base: Base | None
    """From which the next goes on; None while nothing was read."""
    holes: int
    """Times between readings that make no interval: a register ran backward or faster than its asset can, or a day."""


def derive(
    readings: Mapping[str, Iterable[tuple[int, int]]], *, base: Base | None, most_kw: float, until_ms: int
) -> Found:
    """Return the intervals that end up to an instant.

    ``readings`` has (instant [ms], register [uWh]) in order of time for ``into``, ``from`` or both: a way that the
    meter does not tell counts nothing. ``most_kw`` is what the asset can move at most.
    """
    ends: dict[str, dict[int, int]] = {}
    for way, rows in readings.items():
        # Later readings of a minute take the place of earlier ones.
        ends[way] = {-(-at_ms // GRID_MS) * GRID_MS: value for at_ms, value in rows}
    common = set.intersection(*(set(of_way) for of_way in ends.values())) if ends else set()
    intervals, holes = [], 0
    for at_ms in sorted(common):
        if at_ms > until_ms or (base is not None and at_ms <= base.at_ms):
            continue
        now = Base(at_ms, ends.get("into", {}).get(at_ms, 0), ends.get("from", {}).get(at_ms, 0))
        if base is not None:
            found = Derived(base, now)
            # kW x ms: 1 kW for 3.6e6 ms is 1e9 uWh.
            most_uwh = most_kw * (at_ms - base.at_ms) * 1e9 / 3.6e6
            is_sound = min(found.into_uwh, found.from_uwh) >= 0 and max(found.into_uwh, found.from_uwh) <= most_uwh
            if is_sound and at_ms - base.at_ms <= LONGEST_MS:
                intervals.append(found)
            else:
                holes += 1
        base = now
    return Found(tuple(intervals), base, holes)
