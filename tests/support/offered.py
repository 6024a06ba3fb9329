"""Sites with connections and live values, a unit of them, and offers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from markets import operations as market_operations
from markets import queries as market_queries
from markets.core.products import Basis
from markets.offers import operations
from markets.offers.models import AggregationUnit, Award, Offer
from sites.core.intervals import Interval
from sites.metering.models import LiveState
from sites.registry.models import Asset, Enrollment, Site

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WINDOW = Interval(NOW + timedelta(minutes=10), NOW + timedelta(minutes=40))


def a_site(number: int, *, product: str = "neso-dc-low", zone: str = "GB", **live: Any) -> Site:
    """A site of 1000 kW, 1000 kWh above its reserve, 2 MW of connection each way, measured now."""
    site = Site.objects.create(
        site_id=f"site-{number:04d}", name=f"Site {number}", grid_zone=zone, nominal_hz=50.0, nominal_voltage_v=230.0,
        loss_of_link="hold", partition=0, enrolled_at=NOW,
    )  # fmt: skip
    Enrollment.objects.create(site=site, program=product, since=NOW)
    Asset.objects.create(site=site, name="pcc", kind="pcc", rated_kw=2_000.0, export_limit_kw=2_000.0)
    Asset.objects.create(
        site=site, name="battery", kind="battery", rated_kw=1_000.0, capacity_kwh=2_000.0, reserve_kwh=500.0
    )
    told = {
        "discharge_kw": 1_000.0, "charge_kw": 1_000.0, "usable_energy_kwh": 1_000.0, "absorbable_energy_kwh": 1_000.0,
        "pcc_kw": 100.0, "service_kw": 0.0,
    } | live  # fmt: skip
    LiveState.objects.create(site=site, measured_at=NOW, received_at=NOW, mode="grid_tied", **told)
    return site


def a_unit(*sites: Site, name: str = "gb-low", product: str = "neso-dc-low") -> AggregationUnit:
    market_operations.ensure_programs()
    return operations.create_unit(
        name=name, program=market_queries.program_named(product), grid_zone=sites[0].grid_zone,
        site_ids=[site.site_id for site in sites], at=NOW,
    )  # fmt: skip


def an_offer(unit: AggregationUnit, quantity_kw: float | None = None, **changes: Any) -> Offer:
    asked: dict[str, Any] = {
        "unit": unit, "window": WINDOW, "quantity_kw": quantity_kw, "price": Decimal("2.5"),
        "basis": Basis.DEMONSTRATION, "by": None, "at": NOW,
    }  # fmt: skip
    return operations.submit_offer(**asked | changes)


def an_award(offer: Offer, quantity_kw: float, award_id: str = "A1", **changes: Any) -> Award:
    asked: dict[str, Any] = {
        "offer": offer, "award_id": award_id, "quantity_kw": quantity_kw, "price": Decimal("2.5"), "by": None,
        "at": NOW,
    }  # fmt: skip
    return operations.record_award(**asked | changes)
