"""Which ingest worker holds which partition: taken, kept, handed over; one writer for each at any time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F, Q

from sites.metering.models import PartitionLease
from sites.wire.topics import PARTITIONS

_ALL: Final = range(PARTITIONS)


class LeaseLost(Exception):
    """Another worker holds a partition by now: what this one still has for it must not be written."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a worker holds."""

    partitions: frozenset[int]
    wanted: frozenset[int]
    """Of these, those that it holds in place of a worker of theirs that is back and asks for them."""
    elsewhere: frozenset[int]
    """Its own partitions that another worker holds as its own: two workers were started with them."""


def hold_partitions(
    *, worker: str, own: Collection[int], stand_by: Collection[int], lease_s: float, at: datetime
) -> Holding:
    """Renew what a worker holds, take what nobody holds any more, ask for its own back; return what it holds now.

    A conditional UPDATE decides each, because row locks do nothing on SQLite. The token rises with every change of
    holder.
    """
    own_set, others = frozenset(own), frozenset(stand_by) - frozenset(own)
    expires_at = at + timedelta(seconds=lease_s)
    with transaction.atomic():
        if PartitionLease.objects.count() < PARTITIONS:
            rows = [PartitionLease(partition=partition, expires_at=at) for partition in _ALL]
            PartitionLease.objects.bulk_create(rows, ignore_conflicts=True)
        # In order: workers that lock several rows must not wait for each other crosswise.
        list(PartitionLease.objects.order_by("partition").select_for_update().values_list("partition", flat=True))
        mine = PartitionLease.objects.filter(holder=worker)
        mine.filter(partition__in=own_set | others).update(expires_at=expires_at)
        free = PartitionLease.objects.filter(Q(holder="") | Q(expires_at__lte=at)).exclude(holder=worker)
        for partitions, is_own in ((own_set, True), (others, False)):
            free.filter(partition__in=partitions).update(
                holder=worker, is_own=is_own, token=F("token") + 1, expires_at=expires_at, wanted_at=None
            )
        away = PartitionLease.objects.filter(partition__in=own_set).exclude(holder=worker)
        away.filter(is_own=False).update(wanted_at=at)
        recent = at - timedelta(seconds=lease_s)
        return Holding(
            frozenset(mine.values_list("partition", flat=True)),
            frozenset(mine.filter(is_own=False, wanted_at__gt=recent).values_list("partition", flat=True)),
            frozenset(away.filter(is_own=True).values_list("partition", flat=True)),
        )


def keep_partitions(*, worker: str, partitions: Collection[int], lease_s: float, at: datetime) -> None:
    """Renew partitions inside the caller's transaction, so that none can change hands before it ends.

    Raises LeaseLost when one is another's already. A ``lease_s`` of 0 only looks: a worker without its broker must
    not keep what it cannot hear.
    """
    held = PartitionLease.objects.filter(holder=worker, partition__in=partitions)
    values = {"expires_at": at + timedelta(seconds=lease_s)} if lease_s else {"holder": worker}
    kept = held.update(**values)
    if kept < len(partitions):
        raise LeaseLost(f"{len(partitions) - kept} of {len(partitions)} partitions are another worker's by now")


def release_partitions(*, worker: str, partitions: Collection[int] | None = None, at: datetime) -> None:
    """Give partitions (all by default) back, so that a stand-by need not wait the lease out."""
    held = PartitionLease.objects.filter(holder=worker)
    if partitions is not None:
        held = held.filter(partition__in=partitions)
    held.update(holder="", expires_at=at, wanted_at=None)


def covered_partitions(*, at: datetime) -> set[int]:
    """Return the partitions that a living worker holds."""
    held = PartitionLease.objects.filter(expires_at__gt=at).exclude(holder="")
    return set(held.values_list("partition", flat=True))
