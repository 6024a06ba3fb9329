"""Reads of the registry: sites of a program, and the keys of a partition's sites and assets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet

from sites.registry.models import Asset, Enrollment, GatewayKind, Site
from sites.wire.foreign import GatewayMap, rules_from


@dataclass(frozen=True, slots=True)
class SiteKeys:
    """The keys under which a site and its assets are stored."""

    pk: int
    assets: dict[str, int]
    """Asset's name -> its key."""
    partition: int
    gateway: GatewayMap | None = None
    """Rules of the gateway that speaks for the site; None for our own edge."""


def enrolled_sites(*, program: str) -> QuerySet[Site]:
    """Return the sites that serve a program, by site_id."""
    return Site.objects.filter(enrollments__program=program)


def programs() -> list[str]:
    """Return the programs that at least one site serves, sorted."""
    return sorted(Enrollment.objects.order_by().values_list("program", flat=True).distinct())


def site_directory(*, partitions: Iterable[int]) -> dict[str, SiteKeys]:
    """Return the keys of all sites of some partitions, by site_id."""
    wanted = list(partitions)
    kinds = {kind.pk: rules_from(kind.rules) for kind in GatewayKind.objects.all()}
    rows_of = Site.objects.filter(partition__in=wanted).order_by()
    found = {
        site_id: SiteKeys(pk, {}, partition, kinds.get(kind))
        for pk, site_id, partition, kind in rows_of.values_list("pk", "site_id", "partition", "gateway")
    }
    rows = Asset.objects.filter(site__partition__in=wanted).order_by().values_list("site__site_id", "name", "pk")
    for site_id, name, pk in rows:
        if site_id in found:
            found[site_id].assets[name] = pk
    return found
