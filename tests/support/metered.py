"""Sites with a meter book made of chosen power and frequency, for settlement tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from sites.core.units import uwh_from_joule
from sites.metering.models import HighRateRecord, MeterInterval
from sites.registry.models import Asset, Site
from sites.wire.records import pack_samples

COLUMNS = ["frequency_hz", "battery_kw", "baseline_kw", "pcc_kw", "switch_closed", "armed_kw", "stream_kw"]
RATE_HZ = 100.0
CHUNK_S = 10.0
LEAD_S = 2.0
"""Records begin this long before the assignment."""
INTERVAL_S = 5.0


def gb_like_hz(seconds: float) -> np.ndarray:
    """Return a fall from 50 Hz at 3 s to 49.3 Hz at 5 s that stays there, at 100 Hz from LEAD_S before 0."""
    t = np.arange(round((seconds + LEAD_S) * RATE_HZ)) / RATE_HZ - LEAD_S
    return np.interp(t, [3.0, 5.0], [50.0, 49.3])


def a_metered_site(
    site_id: str,
    *,
    starts_at: datetime,
    seconds: float,
    frequency_hz: np.ndarray,
    service_kw: np.ndarray,
    armed_kw: float,
    baseline_kw: float = 0.0,
    switch_closed: np.ndarray | None = None,
    dispatch_id: str = "",
    stream_kw: np.ndarray | float = 0.0,
) -> Site:
    """Store a site with its records and battery intervals; service goes on top of the baseline.

    With a ``dispatch_id`` the intervals say whose service it was: what is served beside it is for ``REG-1``.
    """
    site = Site.objects.create(
        site_id=site_id, name=site_id, grid_zone="GB", nominal_hz=50.0, nominal_voltage_v=230.0, loss_of_link="hold",
        partition=0, enrolled_at=starts_at,
    )  # fmt: skip
    battery = Asset.objects.create(site=site, name="battery", kind="battery", rated_kw=2 * armed_kw)
    closed = np.ones_like(frequency_hz) if switch_closed is None else switch_closed
    battery_kw = baseline_kw + service_kw + stream_kw
    columns = [frequency_hz, battery_kw, np.full_like(frequency_hz, baseline_kw), battery_kw, closed,
               np.full_like(frequency_hz, armed_kw), np.full_like(frequency_hz, 0.0) + stream_kw]  # fmt: skip
    rows = np.stack(columns, axis=1).astype(np.float32)
    per_chunk = round(CHUNK_S * RATE_HZ)
    first_at = starts_at - timedelta(seconds=LEAD_S)
    for number, start in enumerate(range(0, len(rows), per_chunk), 1):
        chunk = rows[start : start + per_chunk]
        chunk_at = first_at + timedelta(seconds=start / RATE_HZ)
        HighRateRecord.objects.create(
            site=site, number=number, starts_at=chunk_at,
            ends_at=chunk_at + timedelta(seconds=len(chunk) / RATE_HZ), rate_hz=RATE_HZ, columns=COLUMNS,
            samples=pack_samples(chunk), received_at=starts_at + timedelta(hours=1),
        )  # fmt: skip
    lead, per_interval = round(LEAD_S * RATE_HZ), round(INTERVAL_S * RATE_HZ)
    shown = {
        name: np.where(closed > 0.5, values, 0.0)
        for name, values in ((dispatch_id, service_kw), ("REG-1", np.full_like(frequency_hz, 0.0) + stream_kw))
    }
    register = 0
    for number, start in enumerate(range(lead, len(rows), per_interval), 1):
        part = slice(start, start + per_interval)
        served = [[name, *_each_way_uwh(values[part])] for name, values in shown.items() if values[part].any()]
        into, out = (sum(row[column] for row in served) for column in (1, 2))
        interval_at = starts_at + timedelta(seconds=(start - lead) / RATE_HZ)
        register += into
        MeterInterval.objects.create(
            asset=battery, number=number, starts_at=interval_at, ends_at=interval_at + timedelta(seconds=INTERVAL_S),
            into_bus_uwh=into, from_bus_uwh=0, service_into_uwh=into, service_from_uwh=out,
            services=served if dispatch_id else [], register_into_uwh=register,
            register_from_uwh=0, received_at=starts_at + timedelta(hours=1),
        )  # fmt: skip
    return site


def _each_way_uwh(power_kw: np.ndarray) -> tuple[int, int]:
    """Return the energy into and out of the bus [uWh], in blocks of 100 ms as a site counts it."""
    blocks_j = power_kw.reshape(-1, 10).sum(axis=1) / RATE_HZ * 1000.0
    return uwh_from_joule(float(np.maximum(blocks_j, 0.0).sum())), uwh_from_joule(
        float(np.maximum(-blocks_j, 0.0).sum())
    )


STARTS_AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
