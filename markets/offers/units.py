"""Reads of aggregation units: by name, and which sites belong to them."""

from __future__ import annotations

from markets.models import Program
from markets.offers.models import AggregationUnit
from sites.registry.models import Site


def unit_named(name: str) -> AggregationUnit:
    """Return a unit; raises DoesNotExist."""
    return AggregationUnit.objects.select_related("program").get(name=name)


def site_ids_of(unit: AggregationUnit) -> set[str]:
    """Return the sites of a unit by their ids."""
    return set(unit.sites.order_by().values_list("site_id", flat=True))


def site_ids_for(*, program: Program, grid_zone: str) -> list[str]:
    """Return the sites of a zone that are enrolled for a program's product, by site_id."""
    rows = Site.objects.filter(grid_zone=grid_zone, enrollments__program=program.product).order_by("site_id")
    return list(rows.values_list("site_id", flat=True))
