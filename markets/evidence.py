"""What the meter book proves of one dispatch: reads, figures, and entries computed again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np

from markets.core import settlement
from markets.core.baselines.schedule import constant_schedule
from markets.core.delivery import (
    Delivery,
    FleetSum,
    SiteRecord,
    energy_uwh,
    response_time_s,
    site_delivery,
    worst_window,
)
from markets.core.products import Product, product_named
from markets.core.scores.neso import k_factor, worst_error_ratio
from markets.core.settlement import ContractedShare, FleetFigures, SiteFigures, ratio
from sites.core.curves import FloatArray
from sites.core.intervals import Interval
from sites.core.readings import Quality
from sites.metering.models import HighRateRecord, MeterInterval
from sites.registry.models import Site
from sites.wire.records import unpack_samples

RATE_HZ: Final = 100.0
"""Sample grid of the proof; a record at a lower rate proves nothing."""
BATTERY: Final = "battery"
_COLUMNS: Final = ("frequency_hz", "battery_kw", "switch_closed", "armed_kw")
_STREAM: Final = "stream_kw"
"""Column of what was for a setpoint stream; a record without it says that nothing was."""
_MAX_CHUNK_BYTES: Final = 16_000_000
_MOST_OF_ALL: Final = 100_000.0
"""Hz, kW or a switch: what lies beyond was not measured, and would drown the fleet's sums."""


class EvidenceError(ValueError):
    """The meter book cannot carry this settlement; the message names the site and what it lacks."""


Spans = tuple[tuple[int, int, int], ...]
"""Rows of a numbered stream as (first, last, revision): exactly those that a settlement used, so that
what fills a gap later, or revises a number, does not change what was booked."""


@dataclass(frozen=True, slots=True)
class SiteEvidence:
    """One site's rows of the meter book over a window."""

    record: SiteRecord
    records: Spans
    intervals: Spans
    service_into_uwh: int
    service_from_uwh: int
    """Energy for the dispatch, each way [uWh]."""


def site_evidence(
    *,
    site_id: str,
    window: Interval,
    dispatch_id: str,
    records: Spans | None = None,
    intervals: Spans | None = None,
) -> SiteEvidence:
    """Read one battery's high-rate record and numbered intervals over a window.

    With spans given exactly those rows are read: what was booked is computed again from what it
    was computed from. Of an interval counts what it says was for this dispatch; one of a site that does not
    say counts whole, also over the window's edge: service is metered
    only while an assignment is armed.
    """
    samples = round(window.duration_s * RATE_HZ)
    columns = {name: np.full(samples, np.nan) for name in _COLUMNS} | {_STREAM: np.zeros(samples)}
    chunks = HighRateRecord.objects.filter(site__site_id=site_id, rate_hz__gte=RATE_HZ)
    if records is None:
        chunks = chunks.filter(starts_at__lt=window.ends_at, ends_at__gt=window.starts_at)
    else:
        chunks = chunks.filter(number__gte=_first(records), number__lte=_last(records))
    # The highest revision of each number stands: later in the order, so it wins.
    standing = {
        number: (revision, pk)
        for pk, number, revision in chunks.order_by("number", "revision").values_list("pk", "number", "revision")
        if records is None or _holds(records, number, revision)
    }
    for chunk in chunks.order_by("number").iterator(chunk_size=64):
        if standing.get(chunk.number) == (chunk.revision, chunk.pk):
            _place(chunk, window, columns)
    numbers = [(number, revision) for number, (revision, _) in standing.items()]

    rows = MeterInterval.objects.filter(asset__site__site_id=site_id, asset__name=BATTERY)
    rows = rows.exclude(quality=Quality.UNPROVEN)
    if intervals is None:
        rows = rows.filter(starts_at__lt=window.ends_at, ends_at__gt=window.starts_at)
    else:
        rows = rows.filter(number__gte=_first(intervals), number__lte=_last(intervals))
    # The highest revision of each number stands: later in the order, so it wins.
    latest = {
        row.number: row
        for row in rows.order_by("number", "revision")
        if intervals is None or _holds(intervals, row.number, row.revision)
    }
    served = [_service_of(row, dispatch_id) for row in latest.values()]
    return SiteEvidence(
        record=SiteRecord(**columns),
        records=_spans(numbers),
        intervals=_spans([(number, row.revision) for number, row in sorted(latest.items())]),
        service_into_uwh=sum(into for into, _ in served),
        service_from_uwh=sum(out for _, out in served),
    )


def _service_of(row: MeterInterval, dispatch_id: str) -> tuple[int, int]:
    """Return an interval's energy for a dispatch (into, from) [uWh]."""
    if not row.services:
        return row.service_into_uwh, row.service_from_uwh
    own = [(into, out) for name, into, out in row.services if name == dispatch_id]
    return sum(into for into, _ in own), sum(out for _, out in own)


def metered_spans(*, window: Interval, site_ids: Sequence[str]) -> tuple[dict[str, float], dict[str, datetime]]:
    """Return, by site, how much of a window its record chunks span [s], and its last interval's end."""
    recorded_s: dict[str, float] = {}
    through: dict[str, datetime] = {}
    wanted = set(site_ids)
    chunks = HighRateRecord.objects.filter(
        rate_hz__gte=RATE_HZ, starts_at__lt=window.ends_at, ends_at__gt=window.starts_at
    )
    for site_id, starts_at, ends_at in chunks.values_list("site__site_id", "starts_at", "ends_at"):
        part = window.overlap(Interval(starts_at, ends_at)) if site_id in wanted else None
        if part is not None:
            recorded_s[site_id] = recorded_s.get(site_id, 0.0) + part.duration_s
    rows = MeterInterval.objects.filter(asset__name=BATTERY, starts_at__lt=window.ends_at, ends_at__gt=window.starts_at)
    for site_id, ends_at in rows.values_list("asset__site__site_id", "ends_at"):
        if site_id in wanted and (site_id not in through or ends_at > through[site_id]):
            through[site_id] = ends_at
    return recorded_s, through


def measured_site(
    share: ContractedShare, evidence: SiteEvidence, *, product: Product, nominal_hz: float, window: Interval
) -> tuple[Delivery, SiteFigures]:
    """Return one asset's delivery and its figures for the book."""
    curve = product.curve
    # The site owns the split of its battery's power, inside what it was granted of streams.
    record = replace(evidence.record, stream_kw=np.clip(evidence.record.stream_kw, -share.stream_kw, share.stream_kw))
    schedule = constant_schedule(window.starts_at, share.baseline_kw)
    delivery = site_delivery(
        record,
        curve=curve,
        nominal_hz=nominal_hz,
        rate_hz=RATE_HZ,
        contracted_kw=_contracted_kw(share, window, evidence.record.battery_kw.size),
        baseline_kw=schedule.samples_kw(window.starts_at, RATE_HZ, evidence.record.battery_kw.size),
    )
    error = worst_error_ratio(delivery, within_s=curve.full_within_s)
    lag_s = response_time_s(delivery, within_s=curve.full_within_s)
    return delivery, SiteFigures(
        available_ratio=ratio(delivery.available_ratio),
        worst_error_ratio=_ratio_or_none(error),
        k_factor=ratio(k_factor(error)),
        response_ms=_response_ms(lag_s),
        response_missed=_is_missed(lag_s),
        required_uwh=energy_uwh(delivery.required_kw, RATE_HZ),
        delivered_uwh=energy_uwh(delivery.delivered_kw, RATE_HZ),
        service_into_uwh=evidence.service_into_uwh,
        service_from_uwh=evidence.service_from_uwh,
        records=evidence.records,
        intervals=evidence.intervals,
    )


def _contracted_kw(share: ContractedShare, window: Interval, samples: int) -> float | FloatArray:
    """Return what a share owed at each sample [kW]; one figure where it never moved."""
    if not share.moves:
        return share.contracted_kw
    course_kw = np.zeros(samples)
    for at, power_kw in share.moves:
        course_kw[max(0, math.ceil((at - window.starts_at).total_seconds() * RATE_HZ)) :] = power_kw
    return course_kw


def measured_fleet(
    shares: Sequence[ContractedShare],
    *,
    product: Product,
    obligation_kw: float,
    window: Interval,
    dispatch_id: str,
    used: Mapping[str, tuple[Spans, Spans]] | None = None,
) -> tuple[FleetFigures, dict[str, SiteFigures]]:
    """Return the fleet's figures and each site's, read one site at a time.

    ``used`` names the rows per site for a settlement computed again. Raises EvidenceError for a
    site that is not enrolled or for sites of different nominal frequency.
    """
    nominal_hz = dict(
        Site.objects.filter(site_id__in=[share.site_id for share in shares]).values_list("site_id", "nominal_hz")
    )
    unknown = sorted({share.site_id for share in shares} - set(nominal_hz))
    if unknown:
        raise EvidenceError(f"site {', '.join(unknown[:5])} is not enrolled; a share needs an enrolled site")
    if len(set(nominal_hz.values())) != 1:
        raise EvidenceError(f"sites have the nominal frequencies {sorted(set(nominal_hz.values()))} Hz, accepted: one")
    fleet_sum = FleetSum(round(window.duration_s * RATE_HZ))
    figures: dict[str, SiteFigures] = {}
    for share in shares:
        records, intervals = used[share.site_id] if used is not None else (None, None)
        evidence = site_evidence(
            site_id=share.site_id, window=window, dispatch_id=dispatch_id, records=records, intervals=intervals
        )
        delivery, figures[share.site_id] = measured_site(
            share, evidence, product=product, nominal_hz=nominal_hz[share.site_id], window=window
        )
        fleet_sum.add(evidence.record, delivery)
    fleet = fleet_sum.delivery(
        curve=product.curve,
        nominal_hz=next(iter(nominal_hz.values())),
        rate_hz=RATE_HZ,
        contracted_kw=obligation_kw,
    )
    return _fleet_figures(fleet, product), figures


def recalculated_body(
    *, kind: str, chain: str, fleet_body: Mapping[str, Any] | None, merkle_root: str
) -> dict[str, Any] | None:
    """Return an entry's body computed again from the meter book.

    Terms (price, contracted shares, declared baselines) are taken as booked; every metered figure,
    weight and amount is computed anew. Without the fleet's entry nothing can be: an empty body.
    """
    base = settlement.run_of(kind)[0]
    if base not in (settlement.ASSET_KIND, settlement.FLEET_KIND):
        return None
    if fleet_body is None:
        return {"facts": {}, "postings": []}
    booked = fleet_body["facts"]
    terms, shares = booked["terms"], booked["shares"]
    product = product_named(terms["product"])
    window = Interval(datetime.fromisoformat(terms["starts_at"]), datetime.fromisoformat(terms["ends_at"]))
    if base == settlement.FLEET_KIND:
        used = {s["site_id"]: (_booked(s["records"]), _booked(s["intervals"])) for s in shares}
        contracted = [settlement.share_from_facts(s) for s in shares]
        fleet, figures = measured_fleet(
            contracted,
            product=product,
            obligation_kw=float(terms["obligation_kw"]),
            window=window,
            dispatch_id=terms["dispatch_id"],
            used=used,
        )
        facts = [
            settlement.in_form_of(old, settlement.share_facts(share, figures[share.site_id]))
            for share, old in zip(contracted, shares, strict=True)
        ]
        total = total_of(terms, fleet)
        return settlement.fleet_body(terms, fleet, facts, amount=total, merkle_root=merkle_root)
    site_id = chain.partition("/")[0]
    own = next((s for s in shares if s["site_id"] == site_id), None)
    if own is None:
        return {"facts": {}, "postings": []}
    share = settlement.share_from_facts(own)
    evidence = site_evidence(
        site_id=site_id,
        window=window,
        dispatch_id=terms["dispatch_id"],
        records=_booked(own["records"]),
        intervals=_booked(own["intervals"]),
    )
    nominal_hz = Site.objects.values_list("nominal_hz", flat=True).get(site_id=site_id)
    _, site = measured_site(share, evidence, product=product, nominal_hz=nominal_hz, window=window)
    again = settlement.in_form_of(own, settlement.share_facts(share, site))
    others = [again if s["site_id"] == site_id else s for s in shares]
    amounts = settlement.amounts_of(Decimal(booked["amount"]), others)
    return settlement.asset_body(terms, again, amounts[site_id])


def total_of(terms: Mapping[str, Any], fleet: FleetFigures) -> Decimal:
    """Return what the operator owes for the dispatch [currency]."""
    return settlement.payment(
        price_per_mw_h=Decimal(terms["price_per_mw_h"]),
        power_kw=Decimal(terms["obligation_kw"]),
        duration_s=Decimal(terms["duration_s"]),
        available_ratio=fleet.available_ratio,
        k_factor=fleet.k_factor,
    )


def _fleet_figures(fleet: Delivery, product: Product) -> FleetFigures:
    within_s = product.curve.full_within_s
    error = worst_error_ratio(fleet, within_s=within_s)
    worst = worst_window(fleet, within_s=within_s)
    lag_s = response_time_s(fleet, within_s=within_s)
    return FleetFigures(
        available_ratio=ratio(fleet.available_ratio),
        worst_error_ratio=_ratio_or_none(error),
        k_factor=ratio(k_factor(error)),
        worst_10s_due_kw=_kw(worst.due_kw) if worst else None,
        worst_10s_delivered_kw=_kw(worst.delivered_kw) if worst else None,
        delivered_ratio=ratio(worst.ratio) if worst else None,
        response_ms=_response_ms(lag_s),
        response_missed=_is_missed(lag_s),
        required_uwh=energy_uwh(fleet.required_kw, RATE_HZ),
        delivered_uwh=energy_uwh(fleet.delivered_kw, RATE_HZ),
    )


def _place(chunk: HighRateRecord, window: Interval, columns: dict[str, FloatArray]) -> None:
    names = list(chunk.columns)
    if not set(_COLUMNS) <= set(names):
        # It proves nothing, and must not keep the other sites from being settled.
        return
    samples = unpack_samples(bytes(chunk.samples), len(names), _MAX_CHUNK_BYTES)
    offset_s = (chunk.starts_at - window.starts_at).total_seconds()
    index = np.round((offset_s + np.arange(len(samples)) / chunk.rate_hz) * RATE_HZ).astype(np.int64)
    size = columns["battery_kw"].size
    inside = (index >= 0) & (index < size)
    for name in (*_COLUMNS, _STREAM):
        if name not in names:
            continue
        values = samples[inside, names.index(name)]
        columns[name][index[inside]] = np.where(np.abs(values) <= _MOST_OF_ALL, values, np.nan)


def _spans(numbers: Sequence[tuple[int, int]]) -> Spans:
    spans: list[tuple[int, int, int]] = []
    for number, revision in numbers:
        if spans and spans[-1][1] == number - 1 and spans[-1][2] == revision:
            spans[-1] = (spans[-1][0], number, revision)
        else:
            spans.append((number, number, revision))
    return tuple(spans)


def _booked(spans: Sequence[Sequence[int]]) -> Spans:
    return tuple((first, last, revision) for first, last, revision in spans)


def _first(spans: Spans) -> int:
    return spans[0][0] if spans else 0


def _last(spans: Spans) -> int:
    # Streams count from 1: nothing used means nothing read again.
    return spans[-1][1] if spans else 0


def _holds(spans: Spans, number: int, revision: int) -> bool:
    return any(first <= number <= last and of == revision for first, last, of in spans)


def _response_ms(lag_s: float | None) -> int | None:
    return None if lag_s is None or _is_missed(lag_s) else round(lag_s * 1000)


def _is_missed(lag_s: float | None) -> bool:
    return lag_s is not None and math.isinf(lag_s)


def _ratio_or_none(value: float) -> Decimal | None:
    return ratio(value) if np.isfinite(value) else None


def _kw(value: float) -> Decimal:
    return Decimal(settlement.kw_text(value))
