"""Reads for the market desk: events and their answers, runs and their differences, a share's rows of the meter book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Q, QuerySet

from markets import evidence, queries
from markets.core.run_differences import PINS, RunDifference, run_difference
from markets.models import MarketEvent, Obligation, Statement
from markets.offers.models import Offer
from markets.settled_shares import shares_of
from sites.metering.models import HighRateRecord, MeterInterval

MAX_ROWS: Final = 2_000
"""Of one share's rows that are shown, each kind."""


def event_versions(*, search: str = "") -> QuerySet[MarketEvent]:
    """Return every version of every event with its answer, newest first; the raw bytes stay in the database."""
    rows = MarketEvent.objects.select_related("program").prefetch_related("obligations").defer("raw")
    text = search.strip()[:100]
    if text:
        rows = rows.filter(
            Q(event_id__icontains=text)
            | Q(vtn_id__icontains=text)
            | Q(reason__icontains=text.replace(" ", "_"))
            | Q(program__name__icontains=text)
        )
    return rows.order_by("-received_at", "-pk")


def versions_of(event: MarketEvent) -> QuerySet[MarketEvent]:
    """Return all versions of one event, the latest modification first."""
    return event_versions().filter(vtn_id=event.vtn_id, event_id=event.event_id).order_by("-modification_number")


def obligations(*, search: str = "") -> QuerySet[Obligation]:
    """Return what the fleet owed and owes with what it came to, newest start first."""
    rows = Obligation.objects.select_related("program", "event").defer("event__raw").prefetch_related("statements")
    text = search.strip()[:100]
    if text:
        rows = rows.filter(
            Q(dispatch_id__icontains=text) | Q(program__name__icontains=text) | Q(status__icontains=text)
        )
    return rows.order_by("-starts_at", "-pk")


def offers() -> QuerySet[Offer]:
    """Return every offer with what was taken of it and what was declared since, newest window first."""
    rows = Offer.objects.select_related("unit__program", "obligation")
    return rows.prefetch_related("awards", "redeclarations").order_by("-starts_at", "-pk")


def statements() -> QuerySet[Statement]:
    """Return every settlement run, the newest first."""
    rows = Statement.objects.select_related("obligation", "obligation__program")
    return rows.order_by("-settled_at", "-pk")


def difference_of(*, dispatch_id: str, run: int) -> RunDifference | None:
    """Return what a run changed against the one before; None for the first and for one that is not booked."""
    if run < 2:
        return None
    before, now = (queries.fleet_entry_facts(dispatch_id=dispatch_id, run=number) for number in (run - 1, run))
    return None if before is None or now is None else run_difference(before, now)


@dataclass(frozen=True, slots=True)
class TracedRows:
    """The rows of the meter book that one asset's share was computed from."""

    share: dict[str, Any]
    intervals: list[MeterInterval]
    records: list[HighRateRecord]
    is_cut: bool
    """There are more than are listed; the share's spans name all of them."""


def traced_rows(*, dispatch_id: str, run: int, site_id: str) -> TracedRows | None:
    """Return a share's rows in the revision that it used; None where the site had no share in the run."""
    share = next((row for row in shares_of(dispatch_id=dispatch_id, run=run) if row["site_id"] == site_id), None)
    if share is None:
        return None
    of_kind = {kind: _spans(share[kind]) for kind in PINS}
    # A share without a row has an empty filter, which would match everything.
    intervals = (
        list(
            MeterInterval.objects.filter(
                of_kind["intervals"], asset__site__site_id=site_id, asset__name=evidence.BATTERY
            ).order_by("number")[: MAX_ROWS + 1]
        )
        if share["intervals"]
        else []
    )
    records = (
        list(
            HighRateRecord.objects.filter(of_kind["records"], site__site_id=site_id)
            .defer("samples")
            .order_by("number")[: MAX_ROWS + 1]
        )
        if share["records"]
        else []
    )
    is_cut = max(len(intervals), len(records)) > MAX_ROWS
    return TracedRows(share, intervals[:MAX_ROWS], records[:MAX_ROWS], is_cut)


def _spans(spans: list[list[int]]) -> Q:
    wanted = Q()
    for first, last, revision in spans:
        wanted |= Q(number__gte=first, number__lte=last, revision=revision)
    return wanted
