"""Reads of the meter book: live fleet, readings, energies, records, waveforms, refusals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from django.db import connection
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum

from sites.core.envelope import OperatingEnvelope
from sites.core.intervals import Interval
from sites.metering.batches import LiveRow
from sites.metering.judging import LIVE_FIELDS
from sites.metering.live import LiveAggregate, aggregate
from sites.metering.models import (
    HighRateRecord,
    LiveState,
    MeterInterval,
    Reading,
    ReadingShape,
    RefusalCount,
    RefusedMessage,
    WaveformRecord,
)
from sites.registry.models import Asset, Site
from sites.registry.windows import closed_sites, reserves_kwh
from sites.wire.records import unpack_samples

_HALF: Final = 2**32


@dataclass(frozen=True, slots=True)
class AssetEnergy:
    """Energy of one asset over a period: exact sums of the latest revisions."""

    site_id: str
    asset: str
    kind: str
    into_bus_uwh: int
    from_bus_uwh: int
    service_into_uwh: int
    service_from_uwh: int
    """Energy for armed assignments, each way."""
    fuel_ul: int
    intervals: int
    """Intervals summed."""
    questionable: int
    """Of these, those whose quality is not good."""


@dataclass(frozen=True, slots=True)
class SiteRecord:
    """A site's high-rate record over a period, in order of time."""

    site_id: str
    rate_hz: float
    at_us: npt.NDArray[np.int64]
    """Instant of each row [us since 1970 UTC]."""
    columns: tuple[str, ...]
    samples: npt.NDArray[np.float32]
    """Shape [rows, columns]."""

    def column(self, name: str) -> npt.NDArray[np.float32]:
        """Return one column; raise KeyError naming what the record holds."""
        if name not in self.columns:
            raise KeyError(f"column {name!r} of site {self.site_id}, accepted: {', '.join(self.columns)}")
        return self.samples[:, self.columns.index(name)]


@dataclass(frozen=True, slots=True)
class Waveform:
    """The waveform of one islanding event."""

    site_id: str
    number: int
    starts_at: datetime
    trigger_at: datetime
    rate_hz: float
    cause: str
    columns: tuple[str, ...]
    samples: npt.NDArray[np.float32]
    """Shape [rows, columns]."""

    def column(self, name: str) -> npt.NDArray[np.float32]:
        """Return one channel; raise KeyError naming what the waveform holds."""
        if name not in self.columns:
            raise KeyError(f"channel {name!r} of site {self.site_id}, accepted: {', '.join(self.columns)}")
        return self.samples[:, self.columns.index(name)]


@dataclass(frozen=True, slots=True)
class Refusals:
    """What the ingest refused."""

    counts: dict[str, int]
    """Error's name -> how often, ever."""
    newest: list[RefusedMessage]


def live_rows(*, sites: Iterable[Site] | QuerySet[Site] | None = None, at: datetime) -> QuerySet[LiveState]:
    """Return the newest rows with their sites, by site_id, none measured after ``at`` plus a minute.

    ``sites`` limits what is seen, as ``visible_sites(user)`` gives it.
    """
    rows = LiveState.objects.select_related("site").filter(measured_at__lte=at + timedelta(minutes=1))
    if sites is not None:
        rows = rows.filter(site__in=sites)
    return rows.order_by("site__site_id")


def fleet_live(*, at: datetime, fresh_within_s: float, sites: QuerySet[Site] | None = None) -> LiveAggregate:
    """Return the live aggregate from the stored rows, over all sites or those given."""
    total = Site.objects.count() if sites is None else sites.count()
    rows = [_live_row(row) for row in live_rows(sites=sites, at=at)]
    return aggregate(rows, at=at, fresh_within_s=fresh_within_s, sites_total=total)


def fresh(*, at: datetime, within_s: float) -> Q:
    """Return which live rows are of sites that were heard of lately.

    Both ages count, the measurement's and its arrival's: a site whose clock runs ahead is not fresh for longer. What
    came in later than now came by a clock of ours that was set back since: nobody knows how old it is.
    """
    age = timedelta(seconds=within_s)
    return Q(measured_at__gte=at - age, received_at__gte=at - age, received_at__lte=at + age)


def countable(*, at: datetime, fresh_within_s: float) -> Q:
    """Return which live rows are of sites that give service now: heard of lately, and on the grid."""
    return fresh(at=at, within_s=fresh_within_s) & Q(mode="grid_tied")


def fleet_envelopes(
    *,
    at: datetime,
    fresh_within_s: float,
    program: str | None,
    holds_without_link: bool = True,
    window: Interval | None = None,
) -> list[OperatingEnvelope]:
    """Return the envelopes of the program's sites that can be counted on in a window, by site_id.

    Without a program those of all sites; without a window at the instant alone.

    Left out are sites whose newest value is older than ``fresh_within_s``, sites that did not send an
    envelope, and sites that are not on the grid: an island gives nothing to it. Left out too, unless
    ``holds_without_link`` is false, are sites that release their assignment at a lost link: nothing that must be
    there without a network can be promised with them. A site is counted on for no more than its enrolled
    battery: one that claims the fleet's power would get the fleet's share. The owner comes first: a site that is
    opted out or maintained at any time of the window is left out, and a higher reserve is kept from its energy.
    """
    period = window or Interval(at, at + timedelta(microseconds=1))
    rows = LiveState.objects.filter(
        countable(at=at, fresh_within_s=fresh_within_s),
        discharge_kw__isnull=False,
        charge_kw__isnull=False,
        usable_energy_kwh__isnull=False,
        absorbable_energy_kwh__isnull=False,
    )
    if program is not None:
        rows = rows.filter(site__enrollments__program=program)
    if holds_without_link:
        rows = rows.filter(site__loss_of_link=Site.LossOfLink.HOLD)
    names = ("discharge_kw", "charge_kw", "usable_energy_kwh", "absorbable_energy_kwh")
    values = list(rows.order_by("site__site_id").values_list("site__site_id", "measured_at", *names))
    closed = closed_sites(period=period)
    values = [row for row in values if row[0] not in closed]
    enrolled = _enrolled_batteries(site_ids={row[0] for row in values})
    reserves = reserves_kwh(period=period)
    return [
        OperatingEnvelope(
            site_id,
            measured_at,
            *_bounded(amounts, *enrolled.get(site_id, (0.0, 0.0, 0.0)), reserve_kwh=reserves.get(site_id, 0.0)),
        )
        for site_id, measured_at, *amounts in values
    ]


def _enrolled_batteries(*, site_ids: set[str]) -> dict[str, tuple[float, float, float]]:
    """Return each site's enrolled battery power [kW], energy and reserve [kWh]."""
    rows = (
        Asset.objects.filter(kind=Asset.Kind.BATTERY, site__site_id__in=site_ids)
        if len(site_ids) <= 500
        else (Asset.objects.filter(kind=Asset.Kind.BATTERY))
    )
    sums = (
        rows.order_by().values_list("site__site_id").annotate(Sum("rated_kw"), Sum("capacity_kwh"), Sum("reserve_kwh"))
    )
    return {site_id: (rated_kw, capacity_kwh, kept_kwh) for site_id, rated_kw, capacity_kwh, kept_kwh in sums}


def _bounded(
    amounts: list[float], rated_kw: float, capacity_kwh: float, kept_kwh: float, *, reserve_kwh: float
) -> list[float]:
    """Return powers and energies cut to what the enrolled battery can do, whatever its site says.

    Twice the rating: a battery that charges at it can swing to discharging at it. Its site tells the energy above the
    enrolled reserve; what the owner keeps for now beyond that is taken off.
    """
    discharge_kw, charge_kw, usable_kwh, absorbable_kwh = amounts
    power_kw = 2.0 * rated_kw
    usable_kwh = max(0.0, min(usable_kwh, capacity_kwh) - max(0.0, reserve_kwh - kept_kwh))
    return [min(discharge_kw, power_kw), min(charge_kw, power_kw), usable_kwh, min(absorbable_kwh, capacity_kwh)]


def latest_intervals(*, period: Interval | None = None) -> QuerySet[MeterInterval]:
    """Return the latest revision of every interval that starts within the period.

    An interval belongs to the period that it starts in, so the sums of neighboring periods add up.
    """
    newer = MeterInterval.objects.filter(
        asset=OuterRef("asset"), number=OuterRef("number"), revision__gt=OuterRef("revision")
    )
    rows = MeterInterval.objects.filter(~Exists(newer))
    return rows if period is None else rows.filter(starts_at__gte=period.starts_at, starts_at__lt=period.ends_at)


def interval_energy(
    *, period: Interval, kind: str | None = None, sites: QuerySet[Site] | None = None
) -> list[AssetEnergy]:
    """Return each asset's energy over a period, by site_id and asset; assets without an interval are left out."""
    rows = latest_intervals(period=period)
    if kind is not None:
        rows = rows.filter(asset__kind=kind)
    if sites is not None:
        rows = rows.filter(asset__site__in=sites)
    sums = (
        rows.values("asset__site__site_id", "asset__name", "asset__kind")
        .annotate(
            **halves("into_bus_uwh"),
            **halves("from_bus_uwh"),
            **halves("service_into_uwh"),
            **halves("service_from_uwh"),
            **halves("fuel_ul"),
            intervals=Count("pk"),
            questionable=Count("pk", filter=~Q(quality="good")),
        )
        .order_by("asset__site__site_id", "asset__name")
    )
    return [
        AssetEnergy(
            site_id=row["asset__site__site_id"],
            asset=row["asset__name"],
            kind=row["asset__kind"],
            into_bus_uwh=whole(row, "into_bus_uwh"),
            from_bus_uwh=whole(row, "from_bus_uwh"),
            service_into_uwh=whole(row, "service_into_uwh"),
            service_from_uwh=whole(row, "service_from_uwh"),
            fuel_ul=whole(row, "fuel_ul"),
            intervals=row["intervals"],
            questionable=row["questionable"],
        )
        for row in sums
    ]


def halves(field: str) -> dict[str, Sum]:
    """Return the annotations that ``whole`` makes an exact sum of.

    SQLite ends a whole query with "integer overflow" when one group's sum leaves 64 bits: one site
    that sends nonsense would stop the sums of all others.
    """
    return {f"{field}_high": Sum(F(field) / _HALF), f"{field}_low": Sum(F(field) % _HALF)}


def whole(row: Mapping[str, Any], field: str) -> int:
    """Return the exact sum of a field that was annotated with ``halves``."""
    # PostgreSQL sums big integers as a decimal.
    return int(row[f"{field}_high"]) * _HALF + int(row[f"{field}_low"])


def records_of(*, period: Interval, sites: QuerySet[Site] | None = None) -> list[SiteRecord]:
    """Return each site's high-rate record within the period, rows cut to it, by site_id.

    Where a number was sent with other content later, the latest revision counts. Chunks with other
    columns or another rate than a site's first one make a record of their own.
    """
    newer = HighRateRecord.objects.filter(
        site=OuterRef("site"), number=OuterRef("number"), revision__gt=OuterRef("revision")
    )
    chunks = HighRateRecord.objects.filter(
        ~Exists(newer), starts_at__lt=period.ends_at, ends_at__gt=period.starts_at
    ).select_related("site")
    if sites is not None:
        chunks = chunks.filter(site__in=sites)
    grouped: dict[tuple[str, float, tuple[str, ...]], list[tuple[Any, Any]]] = {}
    first_us, end_us = us_of(period.starts_at), us_of(period.ends_at)
    for chunk in chunks.order_by("site__site_id", "starts_at", "number"):
        samples = unpack_samples(bytes(chunk.samples), len(chunk.columns))
        offsets_us = np.rint(np.arange(len(samples)) * (1e6 / chunk.rate_hz)).astype(np.int64)
        at_us = us_of(chunk.starts_at) + offsets_us
        within = (at_us >= first_us) & (at_us < end_us)
        key = (chunk.site.site_id, chunk.rate_hz, tuple(chunk.columns))
        grouped.setdefault(key, []).append((at_us[within], samples[within]))
    return [
        SiteRecord(
            site_id=site_id,
            rate_hz=rate_hz,
            at_us=np.concatenate([part[0] for part in parts]),
            columns=columns,
            samples=np.concatenate([part[1] for part in parts]),
        )
        for (site_id, rate_hz, columns), parts in grouped.items()
    ]


def waveforms(*, period: Interval, sites: QuerySet[Site] | None = None) -> list[Waveform]:
    """Return the waveforms whose trigger lies within the period, by trigger; latest revisions."""
    newer = WaveformRecord.objects.filter(
        site=OuterRef("site"), number=OuterRef("number"), revision__gt=OuterRef("revision")
    )
    rows = WaveformRecord.objects.filter(
        ~Exists(newer), trigger_at__gte=period.starts_at, trigger_at__lt=period.ends_at
    ).select_related("site")
    if sites is not None:
        rows = rows.filter(site__in=sites)
    return [
        Waveform(
            site_id=row.site.site_id,
            number=row.number,
            starts_at=row.starts_at,
            trigger_at=row.trigger_at,
            rate_hz=row.rate_hz,
            cause=row.cause,
            columns=tuple(row.columns),
            samples=unpack_samples(bytes(row.samples), len(row.columns)),
        )
        for row in rows.order_by("trigger_at", "site__site_id")
    ]


def metric_values(
    *, site_id: str, asset: str, metric: str, period: Interval, newest_first: bool = False
) -> Iterator[tuple[datetime, float]]:
    """Yield (instant, value) of one metric's readings within a period, in order of time."""
    shapes = {
        pk: names.split(",").index(metric)
        for pk, names in ReadingShape.objects.values_list("pk", "names")
        if metric in names.split(",")
    }
    rows = Reading.objects.filter(
        site__site_id=site_id, asset=asset, shape__in=shapes,
        measured_at__gte=period.starts_at, measured_at__lt=period.ends_at,
    ).order_by("-measured_at" if newest_first else "measured_at")  # fmt: skip
    for shape_pk, measured_at, values in rows.values_list("shape", "measured_at", "values").iterator(chunk_size=200):
        value = values[shapes[shape_pk]]
        if not math.isnan(value):
            yield measured_at, value


def refusals(*, newest: int = 50) -> Refusals:
    """Return how often each reason refused a message, and the newest refused messages."""
    counts = dict(RefusalCount.objects.order_by("error").values_list("error", "count"))
    return Refusals(counts=counts, newest=list(RefusedMessage.objects.order_by("-pk")[:newest]))


def newest_rows(*, partitions: Iterable[int]) -> dict[int, LiveRow]:
    """Return the newest rows of some partitions by site's key, as an ingest worker starts with them."""
    rows = LiveState.objects.filter(site__partition__in=list(partitions)).select_related("site")
    return {row.site_id: _live_row(row) for row in rows}


def ask_database() -> None:
    """Ask the database for nothing; raises DatabaseError when it does not answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def us_of(at: datetime) -> int:
    """Return an instant as whole microseconds since 1970 UTC."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _live_row(row: LiveState) -> LiveRow:
    values = {name: getattr(row, name) for name in LIVE_FIELDS}
    return LiveRow(row.site.site_id, row.measured_at, row.received_at, values)
