"""Compute the carbon book's bodies of a period from the meter book; used to book and to re-check."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from carbon import meters
from carbon.core import bodies
from carbon.core.factors import Activity, ChosenFactor, FactorMissing, choose_factor
from carbon.core.inventory import METHOD_EFFICIENCY, Pool, PoolOverdrawn
from carbon.core.totals import site_totals
from sites.core.intervals import Interval
from sites.registry.models import Site

DIESEL_ZONE = "GB"
"""Jurisdiction of the fuel factor; combustion of a litre hardly differs by country, and no other is verified."""

Bodies = dict[tuple[str, str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ZoneFactors:
    """Factors of one grid zone in one year."""

    electricity: ChosenFactor
    diesel: ChosenFactor


def zone_factors(zone: str, year: int, *, allow_older_vintage: bool) -> ZoneFactors:
    """Return a zone's factors for a year of activity; raises FactorMissing or FactorVintageOlder."""
    return ZoneFactors(
        choose_factor(Activity.GRID_ELECTRICITY, zone, year, allow_older_vintage=allow_older_vintage),
        choose_factor(Activity.DIESEL, DIESEL_ZONE, year, allow_older_vintage=allow_older_vintage),
    )


def site_bodies(site: meters.SiteMeters, factors: ZoneFactors, own: Pool, service: Pool) -> Bodies:
    """Return one site's bodies by (chain, kind), from its meters and its pools at the start."""
    diesel = factors.diesel if "genset" in site.names else None
    totals, _ = site_totals(
        (step.energy(diesel.factor if diesel else None) for step in site.steps),
        grid=factors.electricity.factor.ratio,
        own=own,
        service=service,
        efficiency=METHOD_EFFICIENCY,
        cover_shortfall=True,
    )
    period = bodies.SitePeriod(
        site_id=site.site_id,
        zone=site.zone,
        names=site.names,
        totals=totals,
        fuel_ul=sum(step.fuel_ul for step in site.steps),
        steps=len(site.steps),
        hole_s=round(sum(hole.period.duration_s for hole in site.holes)),
        questionable=site.questionable,
        overlaps_s=site.overlaps_s,
    )
    return bodies.site_bodies(period, factors.electricity, diesel)


def recalculated_bodies(
    *, period: Interval, openings: Mapping[str, tuple[Pool, Pool]], site_ids: Collection[str]
) -> Bodies:
    """Return the sites' bodies computed again; a site that cannot be computed any more has none."""
    found: Bodies = {}
    for site in meters.fleet_meters(period=period, site_ids=site_ids).sites:
        own, service = openings.get(f"{site.site_id}/{site.names.get('battery')}", (Pool(), Pool()))
        try:
            # The note about the vintage is in the body and compared there.
            factors = zone_factors(site.zone, period.starts_at.astimezone(UTC).year, allow_older_vintage=True)
            found |= site_bodies(site, factors, own, service)
        except (FactorMissing, PoolOverdrawn):
            continue
    return found


def recalculated_opening(chain: str, starts_at: datetime, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return an opening's body computed again from the energy it declares and today's factor table."""
    zones = Site.objects.filter(site_id=chain.partition("/")[0]).values_list("grid_zone", flat=True)
    try:
        factors = zone_factors(zones[0], starts_at.astimezone(UTC).year, allow_older_vintage=True)
        return bodies.opening_body(facts["closing_own"]["energy_uwh"], facts["energy_basis"], factors.electricity)
    except (FactorMissing, IndexError, KeyError):
        return {"postings": [], "facts": {}}
