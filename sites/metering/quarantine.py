"""Sites that are cut off because they overdrew a budget: written down by the ingest, released by it or by a person."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F, QuerySet

from sites.core import observe
from sites.metering.models import Quarantine
from sites.registry.models import Site
from sites.wire.topics import partition_of

logger = logging.getLogger(__name__)

BY_QUIET = "quiet"
"""Ended by itself: the site kept to its budgets for the stated time."""


@dataclass(frozen=True, slots=True)
class Shut:
    """One gate as the ingest found it."""

    site_id: str
    reason: str


def note_quarantines(
    *, shut: Collection[Shut], quiet: Collection[str], dropped: Mapping[str, int], at: datetime
) -> set[str]:
    """Open rows for gates that shut, close those of quiet sites, add what was dropped; return who is cut off still.

    A site that is not in the answer was released by a person meanwhile.
    """
    with transaction.atomic():
        for gate in shut:
            _, is_new = Quarantine.objects.get_or_create(
                site_id=gate.site_id, ended_at=None, defaults={"reason": gate.reason, "started_at": at, "last_at": at}
            )
            if is_new:
                logger.warning("%s site=%s overdrawn=%s", observe.SITE_QUARANTINED, gate.site_id, gate.reason)
        active = Quarantine.objects.filter(ended_at=None)
        for site_id, count in sorted(dropped.items()):
            active.filter(site_id=site_id).update(dropped=F("dropped") + count, last_at=at)
        if active.filter(site_id__in=quiet).update(ended_at=at, ended_by=BY_QUIET):
            logger.info("%s sites=%s by=%s", observe.SITE_RELEASED, sorted(quiet), BY_QUIET)
        watched = {gate.site_id for gate in shut} | dropped.keys()
        return set(active.filter(site_id__in=watched).values_list("site_id", flat=True))


def quarantined(*, partitions: Collection[int]) -> dict[str, str]:
    """Return the sites of some partitions that are cut off, with the overdrawn budget."""
    rows = Quarantine.objects.filter(ended_at=None).values_list("site_id", "reason")
    return {site_id: reason for site_id, reason in rows if site_id and partition_of(site_id) in partitions}


def open_quarantines(*, sites: QuerySet[Site], with_strangers: bool) -> QuerySet[Quarantine]:
    """Return who is cut off among these sites, newest first; with strangers also names that nobody enrolled."""
    rows = Quarantine.objects.filter(ended_at=None).order_by("-started_at", "-pk")
    return rows if with_strangers else rows.filter(site_id__in=sites.values("site_id"))


def release(*, quarantine: Quarantine, by: str, at: datetime) -> None:
    """Hear a site again on a person's word; again changes nothing. Its worker follows within a second or two."""
    if Quarantine.objects.filter(pk=quarantine.pk, ended_at=None).update(ended_at=at, ended_by=by[:150]):
        logger.info("%s sites=%s by=%s", observe.SITE_RELEASED, [quarantine.site_id], by)
