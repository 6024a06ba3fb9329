"""Reads what reports to operators are made of: resources, their sites' live values, their metered energy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import DurationField, ExpressionWrapper, F, QuerySet, Sum

from markets.core.reports import (
    METERED,
    Figure,
    Quantity,
    SiteEnergy,
    SiteValues,
    Status,
    Terms,
    live_figure,
    status_of,
)
from markets.models import Program
from sites.core.envelope import OperatingEnvelope
from sites.core.intervals import Interval
from sites.core.readings import PROVES_NOTHING
from sites.metering.models import LiveState
from sites.metering.queries import fleet_envelopes, halves, latest_intervals, whole
from sites.registry.models import Asset, Site

MAX_RESOURCES: Final = 80
"""Resources that an operator is offered, each with nine points: a list of more does not fit in a message."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What is reported on under one name: a program's sites together, or one of them."""

    name: str
    product: str
    market_context: str
    sustain_s: float
    """How long the product's full power is held [s]."""
    site_id: str = ""
    """Of a single site; empty: all that are enrolled."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A resource's sites at an instant."""

    at: datetime
    sites: tuple[SiteValues, ...]
    terms: Terms


def resources(*, operator: str, with_sites: bool) -> list[Resource]:
    """Return what an operator may be told of: each of its programs' sites together; with ``with_sites`` each too.

    Where that would be more than MAX_RESOURCES, sites are told together only.
    """
    programs, sites = [], []
    for program in Program.objects.filter(operator=operator).order_by("name"):
        sustain_s = program.catalogue_row.sustain_s
        programs.append(Resource(program.name, program.product, program.market_context, sustain_s))
        if with_sites:
            site_ids = _sites_of(program.product).values_list("site_id", flat=True)[: MAX_RESOURCES + 1]
            sites += [
                Resource(f"{program.name}:{site_id}", program.product, program.market_context, sustain_s, site_id)
                for site_id in site_ids
            ]
    return [*programs, *sites] if len(programs) + len(sites) <= MAX_RESOURCES else programs


def snapshot(*, resource: Resource, at: datetime, fresh_within_s: float, dropout_margin: float) -> Snapshot:
    """Return the newest values of all sites of a resource, silent ones included."""
    sites = _sites_of(resource.product)
    if resource.site_id:
        sites = sites.filter(site_id=resource.site_id)
    envelopes: dict[str, OperatingEnvelope] = {
        envelope.site_id: envelope
        for envelope in fleet_envelopes(at=at, fresh_within_s=fresh_within_s, program=resource.product)
    }
    capacities = dict(
        Asset.objects.filter(kind=Asset.Kind.BATTERY, site__in=sites)
        .order_by()
        .values_list("site__site_id")
        .annotate(Sum("capacity_kwh"))
    )
    live = {row.site_id: row for row in LiveState.objects.filter(site__in=sites)}
    oldest, newest = at - timedelta(seconds=fresh_within_s), at + timedelta(minutes=1)
    values = []
    for pk, site_id in sites.values_list("pk", "site_id"):
        row = live.get(pk)
        capacity_kwh = float(capacities.get(site_id) or 0.0)
        # Both ages count, as for what is sold: a site whose clock runs ahead is not fresh for longer.
        if row is None or not (oldest <= row.measured_at <= newest and row.received_at >= oldest):
            values.append(SiteValues(site_id, capacity_kwh=capacity_kwh))
            continue
        values.append(
            SiteValues(
                site_id=site_id,
                is_fresh=True,
                mode=row.mode,
                pcc_kw=row.pcc_kw,
                service_kw=row.service_kw,
                soc_ratio=row.soc_ratio,
                capacity_kwh=capacity_kwh,
                envelope=envelopes.get(site_id),
            )
        )
    return Snapshot(at, tuple(values), Terms(resource.sustain_s, dropout_margin))


def live_values(
    *, resource: Resource, quantities: Iterable[Quantity], at: datetime, fresh_within_s: float, dropout_margin: float
) -> dict[Quantity, Figure | Status]:
    """Return a resource's values of an instant; quantities over an interval are left out."""
    held = snapshot(resource=resource, at=at, fresh_within_s=fresh_within_s, dropout_margin=dropout_margin)
    return {
        quantity: status_of(held.sites)
        if quantity is Quantity.STATUS
        else live_figure(quantity, held.sites, held.terms)
        for quantity in quantities
        if quantity not in METERED
    }


def site_count(*, resource: Resource) -> int:
    """Return how many sites a resource has."""
    return 1 if resource.site_id else _sites_of(resource.product).count()


def energies(*, resource: Resource, period: Interval) -> list[SiteEnergy]:
    """Return what the meter book holds of the connections of a resource's sites over a period.

    A numbered interval belongs to the period that it starts in, so the sums of neighboring periods add up. Intervals
    whose quality proves nothing are left out, and so are sites without any.
    """
    sites = _sites_of(resource.product)
    if resource.site_id:
        sites = sites.filter(site_id=resource.site_id)
    rows = (
        latest_intervals(period=period)
        .filter(asset__kind=Asset.Kind.PCC, asset__site__in=sites)
        .exclude(quality__in=[quality.value for quality in PROVES_NOTHING])
    )
    sums = (
        rows.values("asset__site__site_id")
        .annotate(
            **halves("into_bus_uwh"),
            **halves("from_bus_uwh"),
            covered=Sum(ExpressionWrapper(F("ends_at") - F("starts_at"), output_field=DurationField())),
        )
        .order_by("asset__site__site_id")
    )
    return [
        SiteEnergy(
            site_id=row["asset__site__site_id"],
            into_uwh=whole(row, "into_bus_uwh"),
            out_uwh=whole(row, "from_bus_uwh"),
            covered_s=row["covered"].total_seconds(),
        )
        for row in sums
    ]


def _sites_of(product: str) -> QuerySet[Site]:
    return Site.objects.filter(enrollments__program=product).order_by("site_id")
