"""What the meter book holds of one site over a dispatch: its record on one sample grid, and its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from markets.core.delivery import SiteRecord
from sites.core.curves import FloatArray
from sites.core.intervals import Interval
from sites.core.readings import Quality
from sites.metering.models import HighRateRecord, MeterInterval
from sites.wire.records import unpack_samples

RATE_HZ: Final = 100.0
"""Sample grid of the proof; a record at a lower rate proves nothing."""
BATTERY: Final = "battery"
_COLUMNS: Final = ("frequency_hz", "battery_kw", "switch_closed", "armed_kw")
_STREAM: Final = "stream_kw"
"""Column of what was for a setpoint stream; a record without it says that nothing was."""
_CONNECTION: Final = "pcc_kw"
"""Column of the connection's power; a record without it proves nothing of a limit."""
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
    connection_kw: FloatArray
    """Power at the point of common coupling, positive into the bus [kW]; NaN where none was recorded."""
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
    columns = {name: np.full(samples, np.nan) for name in (*_COLUMNS, _CONNECTION)}
    columns[_STREAM] = np.zeros(samples)
    chunks = HighRateRecord.objects.filter(site__site_id=site_id, rate_hz__gte=RATE_HZ)
    if records is None:
        chunks = chunks.filter(starts_at__lt=window.ends_at, ends_at__gt=window.starts_at)
    else:
        chunks = chunks.filter(number__gte=_first(records), number__lte=_last(records))
    # The highest revision of each number stands: later in the order, so it wins.
    standing = {
        number: (revision, pk)
        for pk, number, revision in chunks.order_by("number", "revision").values_list("pk", "number", "revision")
        if records is None or held_by(records, number, revision)
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
        if intervals is None or held_by(intervals, row.number, row.revision)
    }
    served = [_service_of(row, dispatch_id) for row in latest.values()]
    connection_kw = columns.pop(_CONNECTION)
    return SiteEvidence(
        record=SiteRecord(**columns),
        connection_kw=connection_kw,
        records=spans_of(numbers),
        intervals=spans_of([(number, row.revision) for number, row in sorted(latest.items())]),
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
    for name in (*_COLUMNS, _STREAM, _CONNECTION):
        if name not in names:
            continue
        values = samples[inside, names.index(name)]
        columns[name][index[inside]] = np.where(np.abs(values) <= _MOST_OF_ALL, values, np.nan)


def spans_of(numbers: Sequence[tuple[int, int]]) -> Spans:
    """Return (number, revision) pairs that rise as spans of (first, last, revision)."""
    spans: list[tuple[int, int, int]] = []
    for number, revision in numbers:
        if spans and spans[-1][1] == number - 1 and spans[-1][2] == revision:
            spans[-1] = (spans[-1][0], number, revision)
        else:
            spans.append((number, number, revision))
    return tuple(spans)


def _first(spans: Spans) -> int:
    return spans[0][0] if spans else 0


def _last(spans: Spans) -> int:
    # Streams count from 1: nothing used means nothing read again.
    return spans[-1][1] if spans else 0


def held_by(spans: Spans, number: int, revision: int) -> bool:
    """Tell whether a row is among the named ones."""
    return any(first <= number <= last and of == revision for first, last, of in spans)
