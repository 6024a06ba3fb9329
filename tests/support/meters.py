"""Numbered items and batches for tests of the meter book."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from support.manifests import a_manifest as a_manifest

from sites.metering.batches import Batch
from sites.metering.streams import IntervalItem, RecordItem
from sites.registry.models import Asset, Site
from sites.wire.records import pack_samples

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
START_MS = round(START.timestamp() * 1000)


def an_interval(asset: Asset, number: int, **values: Any) -> IntervalItem:
    """Return a minute's interval of an asset: 1,000 uWh into the bus, register rising by that."""
    starts_at = START + timedelta(minutes=number - 1)
    fields: dict[str, Any] = {
        "site_pk": asset.site_id,
        "site_id": asset.site.site_id,
        "stream": asset.name,
        "number": number,
        "starts_at": starts_at,
        "received_at": starts_at + timedelta(minutes=1),
        "asset_pk": asset.pk,
        "ends_at": starts_at + timedelta(minutes=1),
        "into_bus_uwh": 1_000,
        "from_bus_uwh": 0,
        "service_into_uwh": 0,
        "service_from_uwh": 0,
        "services": (),
        "fuel_ul": 0,
        "register_into_uwh": 1_000 * number,
        "register_from_uwh": 0,
        "quality": "good",
        "time_quality": "synchronized",
        "is_historical": False,
    }
    return IntervalItem(**(fields | values))


def a_record(site: Site, number: int, samples: Any, *, starts_at: datetime, rate_hz: float = 100.0) -> RecordItem:
    """Return a chunk with the columns ``frequency_hz`` and ``battery_kw``."""
    return RecordItem(
        site_pk=site.pk,
        site_id=site.site_id,
        stream="record",
        number=number,
        starts_at=starts_at,
        received_at=starts_at,
        ends_at=starts_at + timedelta(seconds=len(samples) / rate_hz),
        rate_hz=rate_hz,
        columns=("frequency_hz", "battery_kw"),
        samples=pack_samples(samples),
    )


def a_batch(*items: Any, **parts: Any) -> Batch:
    """Return a batch with numbered items."""
    batch = Batch(**parts)
    for item in items:
        batch.take_numbered(item)
    return batch
