"""What the pages read of sites: live rows, tables, waveforms, book entries. Rights come in as a queryset."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from django.apps import apps
from django.db import DatabaseError, connection
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from sites.core.event_recording import RecordedSite
from sites.ledger.models import Entry
from sites.metering.models import LiveState, MeterInterval, UnmappedMetric, WaveformRecord
from sites.registry.models import Asset, Site
from sites.wire.errors import WireError
from sites.wire.records import SampleArray, unpack_samples

PAGE_SIZE: Final = 50
MAX_ROWS_PER_SOCKET: Final = 200
LIVE_FIELDS: Final = (
    "frequency_hz",
    "voltage_pu",
    "pcc_kw",
    "battery_kw",
    "pv_kw",
    "genset_kw",
    "load_kw",
    "soc_ratio",
    "service_kw",
    "required_kw",
    "discharge_kw",
    "charge_kw",
    "usable_energy_kwh",
    "absorbable_energy_kwh",
)


class WaveformUnreadable(ValueError):
    """A stored waveform whose samples do not have the form that its columns promise."""


@dataclass(frozen=True, slots=True)
class Waveform:
    """A stored islanding record, thinned for a screen."""

    number: int
    trigger_at: datetime
    cause: str
    rate_hz: float
    times_ms: list[float]
    """From the decision, negative before it [ms]."""
    columns: dict[str, list[float | None]]


def site_table(*, sites: QuerySet[Site], search: str) -> QuerySet[Site]:
    """Return the sites whose id, name or mode holds the search text, with their live state."""
    rows = sites.select_related("live").order_by("site_id")
    text = search.strip()[:64]
    if text:
        rows = rows.filter(
            Q(site_id__icontains=text) | Q(name__icontains=text) | Q(live__mode__icontains=text.replace(" ", "_"))
        )
    return rows


def live_rows(*, sites: QuerySet[Site], at: datetime, limit: int = MAX_ROWS_PER_SOCKET) -> list[dict[str, Any]]:
    """Return each site's latest values with their age [s]; a site that never reported has age None."""
    return [live_row(site, at=at) for site in sites.select_related("live").order_by("site_id")[:limit]]


def live_row(site: Site, *, at: datetime) -> dict[str, Any]:
    """Return one site's latest values: plain numbers, ``mode`` and ``age_s``."""
    state: LiveState | None = getattr(site, "live", None)
    row: dict[str, Any] = {"site_id": site.site_id, "name": site.name, "mode": "", "age_s": None, "measured_at": None}
    row.update(dict.fromkeys(LIVE_FIELDS))
    if state is not None:
        row.update({name: getattr(state, name) for name in LIVE_FIELDS})
        row["mode"] = state.mode
        row["age_s"] = max(0.0, round((at - state.measured_at).total_seconds(), 1))
        row["measured_at"] = state.measured_at.isoformat()
    return row


def unmapped_metrics(*, site: Site) -> list[UnmappedMetric]:
    """Return what a site's gateway sends that nobody mapped, by device and name; bounded where it is stored."""
    return list(UnmappedMetric.objects.filter(site=site).order_by("device", "name"))


def latest_waveforms(*, site: Site, limit: int = 20) -> list[WaveformRecord]:
    """Return a site's newest islanding records in their latest revision, without their samples."""
    newer = WaveformRecord.objects.filter(
        site=OuterRef("site"), number=OuterRef("number"), revision__gt=OuterRef("revision")
    )
    rows = WaveformRecord.objects.filter(~Exists(newer), site=site).defer("samples")
    return list(rows.order_by("-trigger_at", "-number")[:limit])


def stored_waveform(*, site: Site, number: int) -> tuple[WaveformRecord, SampleArray]:
    """Return one islanding record in its latest revision, and all its samples [n, columns].

    Raises WaveformRecord.DoesNotExist, or WaveformUnreadable when its samples are not what they say.
    """
    record = WaveformRecord.objects.filter(site=site, number=number).order_by("-revision").first()
    if record is None:
        raise WaveformRecord.DoesNotExist(f"site {site.site_id} has no waveform {number}")
    try:
        samples = unpack_samples(bytes(record.samples), len(record.columns))
    except WireError as error:
        raise WaveformUnreadable(f"waveform {number} of {site.site_id} cannot be read: {error}") from None
    return record, samples


def recorded_site(*, site: Site) -> RecordedSite:
    """Return what turns a site's per-unit recordings into volts and amperes, from its nameplates."""
    battery = site.assets.filter(kind=Asset.Kind.BATTERY).first()
    return RecordedSite(
        site_id=site.site_id,
        nominal_hz=site.nominal_hz,
        phase_v=site.nominal_voltage_v,
        phases=site.phases,
        # Without a battery's nameplate currents stay per unit: 1 A r.m.s. is the base.
        rated_kva=battery.rated_kw if battery is not None else site.phases * site.nominal_voltage_v / 1000.0,
    )


def waveform(*, site: Site, number: int, points: int = 2500) -> Waveform:
    """Return one islanding record with every n-th sample, about so many points in all.

    Raises WaveformRecord.DoesNotExist, or WaveformUnreadable when its samples are not what they say.
    """
    record, samples = stored_waveform(site=site, number=number)
    names = [str(name) for name in record.columns]
    trigger_s = (record.trigger_at - record.starts_at).total_seconds()
    kept = np.arange(0, len(samples), max(1, len(samples) // points))
    return Waveform(
        number=record.number,
        trigger_at=record.trigger_at,
        cause=record.cause,
        rate_hz=record.rate_hz,
        times_ms=[round(float(value), 4) for value in (kept / record.rate_hz - trigger_s) * 1000.0],
        columns={
            name: [round(float(v), 4) if np.isfinite(v) else None for v in samples[kept, index]]
            for index, name in enumerate(names)
        },
    )


def site_intervals(*, site: Site) -> QuerySet[MeterInterval]:
    """Return a site's numbered meter intervals in their newest revision first, newest period first."""
    return MeterInterval.objects.filter(asset__site=site).select_related("asset").order_by("-starts_at", "-pk")


def books() -> dict[str, type[Entry]]:
    """Return every book of the platform by its name."""
    found = [model for model in apps.get_models() if issubclass(model, Entry) and not model._meta.abstract]
    return {model.book_name(): model for model in sorted(found, key=lambda model: model.book_name())}


def site_entries(*, site: Site, limit: int = 30) -> list[Entry]:
    """Return the newest entries of all books on a site's chains."""
    entries: list[Entry] = []
    for model in books().values():
        rows = model._default_manager.filter(chain__startswith=f"{site.site_id}/")
        entries.extend(rows.order_by("-booked_at", "-position")[:limit])
    return sorted(entries, key=lambda entry: entry.booked_at, reverse=True)[:limit]


def book_entries(*, model: type[Entry], search: str) -> QuerySet[Any]:
    """Return a book's entries, newest first, whose chain, kind, dispatch or hash holds the text."""
    rows = model._default_manager.order_by("-booked_at", "chain", "-position")
    text = search.strip()[:100]
    if text:
        rows = rows.filter(
            Q(chain__icontains=text)
            | Q(kind__icontains=text)
            | Q(dispatch_id__icontains=text)
            | Q(entry_hash__startswith=text)
        )
    return rows


def book_sizes() -> list[tuple[str, int, int]]:
    """Return for each book its name, its entries and its chains."""
    return [
        (name, *model._default_manager.aggregate(n=Count("pk"), chains=Count("chain", distinct=True)).values())
        for name, model in books().items()
    ]


def database_fault() -> str:
    """Return why the database does not answer; empty when it does."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return type(error).__name__
    return ""
