"""Which closed figures of the carbon book late metering touches: closed periods computed again, and compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carbon.core import bodies
from carbon.models import CarbonEntry
from sites.core.intervals import Interval
from sites.ledger.touched import Figure, Touched, changed_figures
from sites.metering.late import LateInterval, late_intervals
from sites.metering.models import MeterInterval


@dataclass(frozen=True, slots=True)
class LateClosing:
    """One closing of the carbon book, the metering that came after it, and what it would change."""

    statement: CarbonEntry
    intervals: tuple[LateInterval, ...]
    touched: tuple[Touched, ...]
    """The sites' entries by chain, then the statement."""


def late_closings(*, period: Interval) -> list[LateClosing]:
    """Return the closings that share time with a period and that late metering touches, first period first.

    A late interval that changes no figure, such as one that repeats what stood, touches nothing.
    """
    found = []
    statements = CarbonEntry.objects.filter(
        chain=bodies.STATEMENT_CHAIN, starts_at__lt=period.ends_at, ends_at__gt=period.starts_at
    )
    for statement in statements.order_by("starts_at", "position"):
        late = _late(statement)
        touched = _touched(statement, {row.site_id for row in late}) if late else []
        if touched:
            sites = {entry.site_id for entry in touched}
            after = [row for row in late if row.site_id in sites and row.received_at > statement.booked_at]
            shown = after or [row for row in late if row.site_id in sites]
            found.append(LateClosing(statement, tuple(shown), (*touched, _statement(statement, touched))))
    return found


def _late(statement: CarbonEntry) -> list[LateInterval]:
    rows = MeterInterval.objects.filter(starts_at__gte=statement.starts_at, starts_at__lt=statement.ends_at)
    if not statement.facts().get("hole_s"):
        # A period without holes has no room for more intervals: only revisions touch it.
        rows = rows.filter(revision__gt=0)
    return late_intervals(rows=rows, booked_at=statement.booked_at)


def _touched(statement: CarbonEntry, site_ids: set[str]) -> list[Touched]:
    rows = CarbonEntry.objects.filter(
        starts_at=statement.starts_at, ends_at=statement.ends_at, dispatch_id=statement.dispatch_id
    ).exclude(chain=bodies.STATEMENT_CHAIN)
    entries = [row for row in rows.order_by("chain", "position") if row.chain.partition("/")[0] in site_ids]
    touched = []
    for entry, now in zip(entries, CarbonEntry.recalculated_bodies(entries), strict=True):
        figures = changed_figures(entry.facts(), (now or {}).get("facts", {}))
        if figures:
            touched.append(Touched(entry, entry.chain.partition("/")[0], figures))
    return touched


def _statement(statement: CarbonEntry, touched: list[Touched]) -> Touched:
    """Return the fleet's sums as they would be with what the sites' entries would say."""
    booked = statement.facts()
    off: dict[str, Any] = dict.fromkeys((name for name in booked if name.endswith(("_ug", "_uwh", "_ul", "_s"))), 0)
    for entry in touched:
        for figure in entry.figures:
            if figure.name in off and isinstance(figure.now, int) and isinstance(figure.booked, int):
                off[figure.name] += figure.now - figure.booked
    figures = tuple(Figure(name, booked[name], booked[name] + delta) for name, delta in sorted(off.items()) if delta)
    return Touched(statement, "", figures)
