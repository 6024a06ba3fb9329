"""Reads of the registry: sites of a program, and the keys of a partition's sites and assets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from django.db.models import QuerySet

from sites.core.feeders import NONE, Feeders, no_feeders
from sites.registry.models import Asset, Enrollment, FeederGroup, GatewayKind, Site
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


def feeders_of(*, site_ids: Sequence[str]) -> Feeders:
    """Return the feeder groups with their limits, and in which of them each site stands, in the order given."""
    groups = list(FeederGroup.objects.order_by("pk").values_list("pk", "parent_id", "up_kw", "down_kw"))
    if not groups:
        return no_feeders(len(site_ids))
    place = {pk: number for number, (pk, *_) in enumerate(groups)}
    rows = Site.objects.filter(feeder__isnull=False).order_by().values_list("site_id", "feeder_id")
    of_site = dict(rows)
    return Feeders(
        of_site=np.array([place[of_site[name]] if name in of_site else NONE for name in site_ids], dtype=np.intp),
        parent=np.array([NONE if parent is None else place[parent] for _, parent, *_ in groups], dtype=np.intp),
        up_kw=np.array([row[2] for row in groups]),
        down_kw=np.array([row[3] for row in groups]),
    )
