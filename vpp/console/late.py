"""What metering that came after a book was closed would change in it: both books, side by side."""

from __future__ import annotations

from dataclasses import dataclass

from carbon.late import late_closings
from markets.late import late_settlements
from sites.core.intervals import Interval
from sites.ledger.touched import Touched
from sites.metering.late import LateInterval


@dataclass(frozen=True, slots=True)
class LateData:
    """One closing or settlement that late metering touches."""

    book: str
    closed: str
    """The closing's own name: the dispatch it settled, or its period."""
    intervals: tuple[LateInterval, ...]
    records: tuple[tuple[str, int], ...]
    """(site, number) of chunks of the high-rate record that it did not have."""
    touched: tuple[Touched, ...]


def late_data(*, period: Interval) -> list[LateData]:
    """Return every closing of either book that shares time with a period and that late metering touches."""
    found = []
    for closing in late_closings(period=period):
        name = _name(closing.statement.dispatch_id, closing.statement.period)
        found.append(LateData("carbon", name, closing.intervals, (), closing.touched))
    for settled in late_settlements(period=period):
        name = _name(settled.fleet_entry.dispatch_id, settled.fleet_entry.period)
        found.append(LateData("grid support", name, settled.intervals, settled.records, settled.touched))
    return found


def _name(dispatch_id: str, period: Interval) -> str:
    return dispatch_id or f"{period.starts_at.isoformat()} to {period.ends_at.isoformat()}"
