"""What the dispatcher tells the sites of a stream whose plan it knows: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from markets.core.course import Course, pieces, power_at
from sites.core.intervals import Interval

FULL: Final = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One stream's course, and what of it the sites have taken up."""

    dispatch_id: str
    product: str
    window: Interval
    course: Course
    sign: int
    """+1: sizes go into the bus, -1: out of it, 0: the course's own sign."""
    firm_kw: float
    """What the sites hold of it for sure [kW]: the value is told in shares of that."""

    def value_at(self, at: datetime) -> float:
        """Return the value that is to be told, -1 to 1.

        More is granted to sites than is owed, against dropouts. So the value is what is owed over what they hold: as
        long as they hold more, the sum is what is owed, and once they hold less each gives all of its share.
        """
        owed_kw = power_at(self.course, self.window, at) * (self.sign or 1)
        if owed_kw == 0.0:
            return 0.0
        share = abs(owed_kw) / self.firm_kw if self.firm_kw > 0.0 else FULL
        return min(FULL, share) * (1.0 if owed_kw > 0.0 else -1.0)

    def next_change(self, at: datetime) -> datetime | None:
        """Return the next instant at which the course changes; None when it stays as it is to its end."""
        return next((part.starts_at for part, _ in pieces(self.course, self.window) if part.starts_at > at), None)

    def wait_s(self, at: datetime, period_s: float) -> float:
        """Return how long until the next value is due [s]: a period, or the next change if that is sooner."""
        change = self.next_change(at)
        due = at + timedelta(seconds=period_s)
        return max(0.0, ((min(due, change) if change is not None else due) - at).total_seconds())
