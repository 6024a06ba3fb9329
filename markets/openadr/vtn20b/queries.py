"""Reads of our VTN."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Max, Q

from markets.openadr.vtn20b.models import DownstreamVen, EventCopy, QueuedMessage, UsedNonce
from markets.openadr.vtn20b.operations import RESEND_AFTER


@dataclass(frozen=True, slots=True)
class KnownVen:
    """A VEN as the running VTN keeps it in memory; read again when its row changes."""

    pk: int
    ven_id: str
    ven_name: str
    security: str
    fingerprint: str | None
    certificate_sha256: str
    registration_id: str
    push_url: str


_FIELDS = ("pk", "ven_id", "ven_name", "security", "fingerprint", "certificate_sha256", "registration_id", "push_url")


def known_vens() -> list[KnownVen]:
    """Return every VEN that may join."""
    return [KnownVen(*row) for row in DownstreamVen.objects.values_list(*_FIELDS)]


def known_ven(*, ven_pk: int) -> KnownVen | None:
    """Return one VEN."""
    row = DownstreamVen.objects.filter(pk=ven_pk).values_list(*_FIELDS).first()
    return KnownVen(*row) if row else None


def vens_mark() -> tuple[int, datetime | None]:
    """Return what moves whenever a VEN is added, removed or changed."""
    found = DownstreamVen.objects.aggregate(count=Count("pk"), newest=Max("changed_at"))
    return found["count"], found["newest"]


def due_vens(*, at: datetime) -> set[int]:
    """Return the keys of VENs that something waits for: at their next poll it is given to them."""
    resend = at - RESEND_AFTER
    events = EventCopy.objects.filter(is_due=True, event__ends_at__gt=at).filter(
        Q(sent_modification=None) | ~Q(sent_modification=F("event__modification_number")) | Q(sent_at__lte=resend)
    )
    queued = QueuedMessage.objects.filter(Q(sent_at=None) | Q(sent_at__lte=resend))
    return {*events.values_list("ven_id", flat=True), *queued.values_list("ven_id", flat=True)}


def used_nonces(*, at: datetime) -> list[tuple[str, float]]:
    """Return the nonces whose time is not over: (digest, Unix time of its end [s])."""
    return list(UsedNonce.objects.filter(expires_s__gte=at.timestamp()).values_list("digest", "expires_s"))
