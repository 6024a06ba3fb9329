"""Which settled figures of the grid-support book late metering touches, by the rows that each settlement used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markets import evidence
from markets.core import settlement
from markets.core.lines import amounts_by_site
from markets.measuring import question_of, share_now
from markets.models import GridSupportEntry, Statement
from markets.settling import PINS
from sites.core.intervals import Interval
from sites.ledger.touched import Figure, Touched, changed_figures
from sites.metering.late import IN_FLIGHT, LateInterval, late_intervals
from sites.metering.models import HighRateRecord, MeterInterval


@dataclass(frozen=True, slots=True)
class LateSettlement:
    """One settled dispatch, the metering that came after it, and what it would change."""

    fleet_entry: GridSupportEntry
    intervals: tuple[LateInterval, ...]
    records: tuple[tuple[str, int], ...]
    """(site, number) of chunks of the high-rate record that the settlement did not have, or not in this revision."""
    touched: tuple[Touched, ...]
    """The assets' entries by site, then the fleet's."""


def late_settlements(*, period: Interval) -> list[LateSettlement]:
    """Return the settlements that share time with a period and that late metering touches, first window first."""
    found = []
    # The last run of each dispatch: what an earlier one said is reversed.
    anchors = Statement.objects.filter(
        obligation__starts_at__lt=period.ends_at, obligation__ends_at__gt=period.starts_at
    )
    last = {statement.obligation_id: statement.entry_hash for statement in anchors.order_by("run")}
    entries = GridSupportEntry.objects.filter(
        starts_at__lt=period.ends_at, ends_at__gt=period.starts_at, entry_hash__in=list(last.values())
    )
    for entry in entries.order_by("starts_at", "dispatch_id"):
        facts = json.loads(entry.body)["facts"]
        shares = {share["site_id"]: share for share in facts["shares"]}
        intervals, records = _late(entry, shares)
        late_sites = sorted({row.site_id for row in intervals} | {site_id for site_id, _ in records})
        question = question_of(facts)
        now = {site_id: share_now(shares[site_id], question) for site_id in late_sites}
        touched = _touched(entry, facts, now)
        if touched:
            found.append(LateSettlement(entry, tuple(intervals), tuple(records), tuple(touched)))
    return found


def _late(
    entry: GridSupportEntry, shares: Mapping[str, Mapping[str, Any]]
) -> tuple[list[LateInterval], list[tuple[str, int]]]:
    """Return the batteries' intervals and the records' chunks in the window that were not used as they are now."""
    pinned = {
        (site_id, evidence.BATTERY): {
            number: revision for first, last, revision in share["intervals"] for number in range(first, last + 1)
        }
        for site_id, share in shares.items()
    }
    rows = MeterInterval.objects.filter(
        asset__name=evidence.BATTERY, asset__site__site_id__in=list(shares),
        starts_at__lt=entry.ends_at, ends_at__gt=entry.starts_at,
    )  # fmt: skip
    intervals = late_intervals(rows=rows, booked_at=entry.booked_at, pinned=pinned)
    chunks = HighRateRecord.objects.filter(
        site__site_id__in=list(shares), rate_hz__gte=evidence.RATE_HZ,
        starts_at__lt=entry.ends_at, ends_at__gt=entry.starts_at, received_at__gt=entry.booked_at - IN_FLIGHT,
    )  # fmt: skip
    found = chunks.order_by("site__site_id", "number").values_list("site__site_id", "number", "revision")
    late = {
        (site_id, number): None
        for site_id, number, revision in found
        if not any(first <= number <= last and revision <= of for first, last, of in shares[site_id]["records"])
    }
    return intervals, list(late)


def _touched(entry: GridSupportEntry, facts: Mapping[str, Any], now: Mapping[str, dict[str, Any]]) -> list[Touched]:
    """Return the assets' entries that would say something else, then the fleet's.

    The total is taken as booked: what the operator owes needs the whole fleet's record computed again.
    """
    if not now:
        return []
    shares = facts["shares"]
    before = amounts_by_site(facts)
    after = amounts_by_site({**facts, "shares": [now.get(share["site_id"], share) for share in shares]})
    rows: Sequence[GridSupportEntry] = GridSupportEntry.objects.filter(
        kind=settlement.kind_of(settlement.ASSET_KIND, settlement.run_of(entry.kind)[1]), dispatch_id=entry.dispatch_id
    ).order_by("chain")  # type: ignore[assignment]
    by_site = {row.chain.partition("/")[0]: row for row in rows}
    touched = []
    for share in shares:
        site_id = share["site_id"]
        figures = tuple(row for row in changed_figures(share, now.get(site_id, share)) if row.name not in PINS)
        if before[site_id] != after[site_id]:
            figures += (Figure("amount", str(before[site_id]), str(after[site_id])),)
        if figures and site_id in by_site:
            touched.append(Touched(by_site[site_id], site_id, figures))
    if touched:
        named = [(row.site_id, figure) for row in touched for figure in row.figures if figure.name != "amount"]
        figures = tuple(Figure(f"{site_id}.{row.name}", row.booked, row.now) for site_id, row in named)
        touched.append(Touched(entry, "", figures))
    return touched
