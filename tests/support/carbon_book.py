"""Metered sites and entries of the carbon book, as the books' tests need them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from carbon.models import CarbonEntry
from carbon.operations import close_period
from sites.core.intervals import Interval
from sites.ledger.audit import books_audit
from sites.ledger.operations import append_entry
from sites.ledger.postings import posting
from sites.metering.models import MeterInterval
from sites.registry.models import Asset, Site

STARTS_AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
AT = STARTS_AT + timedelta(hours=6)
MINUTE = timedelta(minutes=1)
KWH = 1_000_000_000


def a_period(index: int = 0, minutes: int = 4) -> Interval:
    starts_at = STARTS_AT + index * minutes * MINUTE
    return Interval(starts_at, starts_at + minutes * MINUTE)


def a_body(amount: int = 5, **facts: Any) -> dict[str, Any]:
    return {"postings": [posting("a", "ug", amount), posting("b", "ug", -amount)], "facts": facts}


def append(chain: str = "site-0001/battery", index: int = 0, amount: int = 5, **facts: Any) -> CarbonEntry:
    return append_entry(
        CarbonEntry,
        chain=chain,
        kind="test",
        period=a_period(index),
        dispatch_id="DC-1",
        body=a_body(amount, **facts),
        at=AT,
    )


def a_site(site_id: str = "site-0001", zone: str = "GB", genset: bool = True) -> Site:
    site = Site.objects.create(
        site_id=site_id, name=site_id, grid_zone=zone, nominal_hz=50.0, nominal_voltage_v=230.0,
        loss_of_link="hold", partition=1, enrolled_at=STARTS_AT,
    )  # fmt: skip
    for name, rated_kw, capacity_kwh in (
        ("pcc", 100.0, 0.0), ("battery", 50.0, 100.0), ("pv", 20.0, 0.0), ("genset", 60.0, 0.0), ("load", 60.0, 0.0)
    ):  # fmt: skip
        if name != "genset" or genset:
            Asset.objects.create(site=site, name=name, kind=name, rated_kw=rated_kw, capacity_kwh=capacity_kwh)
    return site


def meter(site: Site, minute: int, *, revision: int = 0, without: tuple[str, ...] = (), **watt_hours: int) -> None:
    """Store one minute of the site: net flow into its bus by asset [Wh, signed], and service_wh, fuel_ul."""
    for asset in site.assets.all():
        if asset.name in without:
            continue
        into = watt_hours.get(asset.name, 0) * 1_000_000
        MeterInterval.objects.create(
            asset=asset, number=minute + 1, revision=revision,
            starts_at=STARTS_AT + minute * MINUTE, ends_at=STARTS_AT + (minute + 1) * MINUTE,
            into_bus_uwh=max(into, 0), from_bus_uwh=max(-into, 0),
            service_into_uwh=watt_hours.get("service", 0) * 1_000_000 if asset.kind == "battery" else 0,
            service_from_uwh=watt_hours.get("taken", 0) * 1_000_000 if asset.kind == "battery" else 0,
            fuel_ul=watt_hours.get("fuel_ul", 0) if asset.kind == "genset" else 0,
            register_into_uwh=0, register_from_uwh=0, received_at=AT,
        )  # fmt: skip


def a_metered_site(site_id: str = "site-0001", **options: Any) -> Site:
    """Four minutes: charging from the grid, a service discharge, islanded on the battery, then on diesel."""
    site = a_site(site_id, **options)
    meter(site, 0, pcc=900, pv=100, load=-800, battery=-200)
    meter(site, 1, pcc=-100, pv=100, load=-800, battery=800, service=700)
    meter(site, 2, pcc=0, pv=100, load=-800, battery=700)
    if options.get("genset", True):
        meter(site, 3, pcc=0, genset=900, load=-800, battery=-100, fuel_ul=310_000)
    else:
        meter(site, 3, pcc=800, load=-800)
    return site


def close(**options: Any) -> Any:
    return close_period(
        **{"period": a_period(), "dispatch_id": "DC-1", "at": AT, "allow_older_vintage": True} | options
    )


def faults() -> set[tuple[str, int, str]]:
    return {(fault.chain, fault.position, fault.what) for fault in books_audit([CarbonEntry]).faults}
