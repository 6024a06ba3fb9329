"""Rows of sites, recordings, books and quarantines: texts for the pages, plain values for the API."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sites.core.event_recording import RecordedSite, event_name, event_recording
from sites.ledger.models import Entry
from sites.metering.models import MeterInterval, Quarantine, WaveformRecord
from sites.registry.models import Asset, Site
from sites.wire.records import SampleArray
from vpp.console import queries
from vpp.console.texts import NOTHING, age, booked, instant, link_loss, mode_name, quantity

BOOKS: Final = {"markets.gridsupportentry": "Grid-support book", "carbon.carbonentry": "Carbon book"}
STALE_AFTER_S: Final = 10.0


def site_row(site: Site, *, at: datetime) -> dict[str, str]:
    """Return one line of a sites table."""
    row = queries.live_row(site, at=at)
    is_stale = row["age_s"] is None or row["age_s"] > STALE_AFTER_S
    return {
        "site_id": site.site_id,
        "name": site.name,
        "link_loss": link_loss(site),
        "mode": mode_name(row["mode"]),
        "mode_key": "stale" if is_stale else row["mode"],
        "age": age(row["age_s"]),
        "age_key": "stale" if is_stale else "",
        "soc": NOTHING if row["soc_ratio"] is None else quantity(row["soc_ratio"] * 100, "%", 0),
        "battery": quantity(row["battery_kw"], "kW"),
        "load": quantity(row["load_kw"], "kW"),
        "pcc": quantity(row["pcc_kw"], "kW"),
        "service": quantity(row["service_kw"], "kW"),
    }


def asset_row(asset: Any) -> dict[str, str]:
    """Return one line of a site's nameplates."""
    notes = []
    if asset.capacity_kwh:
        notes.append(quantity(asset.capacity_kwh, "kWh"))
    if asset.reserve_kwh:
        notes.append(f"{quantity(asset.reserve_kwh, 'kWh')} kept for the load")
    if asset.export_limit_kw:
        notes.append(f"export up to {quantity(asset.export_limit_kw, 'kW')}")
    return {
        "name": asset.name,
        "kind": asset.get_kind_display(),
        "rated": quantity(asset.rated_kw, "kW"),
        "notes": " · ".join(notes),
    }


def history_panel(assets: Iterable[Asset]) -> dict[str, Any]:
    """Return what the history's script needs of a site: its assets, and its battery's nameplate [kWh]."""
    known = list(assets)
    batteries = [asset for asset in known if asset.name == "battery"]
    return {
        "spans": (("hour", "Last hour"), ("day", "Day"), ("month", "30 days")),
        "assets": ",".join(asset.name for asset in known),
        "capacity_kwh": f"{sum(asset.capacity_kwh for asset in batteries):g}",
        "reserve_kwh": f"{sum(asset.reserve_kwh for asset in batteries):g}",
    }


def waveform_row(record: WaveformRecord, zone: ZoneInfo) -> dict[str, Any]:
    """Return one line of a site's islanding records."""
    return {
        "number": record.number,
        "trigger_at": instant(record.trigger_at, zone, digits=3),
        "cause": record.cause.replace("_", " "),
        "rate": quantity(record.rate_hz / 1000.0, "kHz", 0),
    }


def waveform_archive(record: WaveformRecord, samples: SampleArray, site: RecordedSite) -> tuple[str, bytes]:
    """Return an islanding record as COMTRADE: the name of a .zip and its bytes, .cfg and .dat inside."""
    files = event_recording(
        site,
        columns=[str(name) for name in record.columns],
        samples=samples,
        rate_hz=record.rate_hz,
        starts_at=record.starts_at,
        trigger_at=record.trigger_at,
        cause=record.cause,
    )
    name = event_name(site.site_id, record.trigger_at)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for suffix, data in zip((".cfg", ".dat"), files, strict=True):
            # A fixed date: the same record is the same file whenever it is fetched.
            archive.writestr(zipfile.ZipInfo(name + suffix, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return f"{name}.zip", held.getvalue()


def waveform_json(found: queries.Waveform, zone: ZoneInfo) -> dict[str, Any]:
    """Return a waveform for the plot: times from the decision [ms] and the voltages [pu]."""
    wanted = [name for name in found.columns if name[0] in "vu" and name.endswith("_pu")]
    wanted += [name for name in ("feeder_open", "decision", "switch_open") if name in found.columns]
    return {
        "number": found.number,
        "trigger_at": instant(found.trigger_at, zone, digits=3),
        "cause": found.cause.replace("_", " "),
        "rate_hz": found.rate_hz,
        "times_ms": found.times_ms,
        "columns": {name: found.columns[name] for name in wanted},
    }


def book_title(name: str) -> str:
    """Return a book's name for people; one that is not known yet keeps its own."""
    return BOOKS.get(name, name)


def entry_row(entry: Entry, zone: ZoneInfo | None = None) -> dict[str, Any]:
    """Return one line of a book; its postings as texts with their units."""
    body = _body(entry)
    return {
        "book": book_title(type(entry).book_name()),
        "chain": entry.chain,
        "position": entry.position,
        "kind": entry.kind.replace("_", " "),
        "starts_at": instant(entry.starts_at, zone),
        "ends_at": instant(entry.ends_at, zone),
        "dispatch_id": entry.dispatch_id or NOTHING,
        "booked_at": instant(entry.booked_at, zone),
        "hash": entry.entry_hash,
        "hash_short": entry.entry_hash[:12],
        "previous_hash_short": entry.previous_hash[:12],
        "postings": [
            {
                "account": str(row.get("account", "")),
                "amount": booked(row.get("amount", ""), str(row.get("unit", ""))),
            }
            for row in body.get("postings", [])
            if isinstance(row, Mapping)
        ],
    }


def _body(entry: Entry) -> dict[str, Any]:
    body = json.loads(entry.body)
    return body if isinstance(body, dict) else {}


def site_json(site: Site, *, at: datetime) -> dict[str, Any]:
    """Return one site for the API: place, nameplates and latest values."""
    return {
        **queries.live_row(site, at=at),
        "time_zone": site.time_zone,
        "grid_zone": site.grid_zone,
        "nominal_hz": site.nominal_hz,
        "assets": [
            {
                "name": asset.name,
                "kind": asset.kind,
                "rated_kw": asset.rated_kw,
                "capacity_kwh": asset.capacity_kwh,
                **meter_json(asset),
            }
            for asset in site.assets.all()
        ],
    }


def meter_json(asset: Asset) -> dict[str, Any]:
    """Return what is known of an asset's meter for the API."""
    calibrated_on = asset.meter_calibrated_on
    return {
        "meter_class": asset.meter_class,
        "meter_calibrated_on": None if calibrated_on is None else calibrated_on.isoformat(),
        "meter_uncertainty_ratio": asset.meter_uncertainty_ratio,
    }


def interval_json(row: MeterInterval) -> dict[str, Any]:
    """Return one meter interval for the API: exact integers and instants in UTC."""
    return {
        "asset": row.asset.name,
        "number": row.number,
        "revision": row.revision,
        "starts_at": row.starts_at.isoformat(),
        "ends_at": row.ends_at.isoformat(),
        "into_bus_uwh": row.into_bus_uwh,
        "from_bus_uwh": row.from_bus_uwh,
        "service_into_uwh": row.service_into_uwh,
        "service_from_uwh": row.service_from_uwh,
        "services": [{"dispatch_id": name, "into_uwh": into, "from_uwh": out} for name, into, out in row.services],
        "fuel_ul": row.fuel_ul,
        "quality": row.quality,
        "time_quality": row.time_quality,
        "received_at": row.received_at.isoformat(),
        **meter_json(row.asset),
        "is_historical": row.is_historical,
    }


def quarantine_row(row: Quarantine) -> dict[str, Any]:
    """Return one site that is cut off, for the page of sites."""
    return {
        "pk": row.pk,
        "site_id": row.site_id,
        "overdrawn": row.reason,
        "started_at": instant(row.started_at),
        "last_at": instant(row.last_at),
        "dropped": f"{row.dropped:,}",
    }
