"""The leader's lease: taken by conditional update, with a fencing token that every write checks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F, Q

from vpp.dispatch.models import Lease

DISPATCH: Final = "dispatch"
"""The lease to arm the fleet."""


class LeaseLost(RuntimeError):
    """Another process leads by now; what carries an older token must not be written."""


def lease_name(stream: str) -> str:
    """Return the name of a stream's lease, which holds up to 40 characters."""
    return f"stream:{hashlib.sha256(stream.encode()).hexdigest()[:24]}"


def take_lease(*, name: str, holder: str, lease_s: float, at: datetime) -> int | None:
    """Take a free or expired lease; return its fencing token, or None while another holds it.

    A holder that asks again while its lease runs gets a new token: it has restarted.
    """
    Lease.objects.get_or_create(name=name, defaults={"expires_at": at})
    free = Q(expires_at__lte=at) | Q(holder="") | Q(holder=holder)
    with transaction.atomic():
        # One statement decides, on SQLite and PostgreSQL alike: SELECT FOR UPDATE does nothing on the former.
        taken = Lease.objects.filter(free, name=name).update(
            holder=holder, token=F("token") + 1, expires_at=at + timedelta(seconds=lease_s)
        )
        return Lease.objects.values_list("token", flat=True).get(name=name) if taken else None


def renew_lease(*, name: str, token: int, lease_s: float, at: datetime) -> None:
    """Prolong the lease; raise LeaseLost when another took it."""
    renewed = Lease.objects.filter(name=name, token=token).update(expires_at=at + timedelta(seconds=lease_s))
    if not renewed:
        raise LeaseLost(f"lease {name!r} was renewed with token {token}, but another process has taken it")


def require_lease(*, name: str, token: int) -> None:
    """Within a transaction: go on only with the current token; raise LeaseLost otherwise.

    The update locks the row, so that no other process can take the lease before this transaction ends.
    """
    if not Lease.objects.filter(name=name, token=token).update(token=F("token")):
        raise LeaseLost(f"a write carries token {token} of lease {name!r}, but another process has taken it")


def require_dispatch(token: int | None) -> None:
    """Within a transaction: go on only as the fleet's leader; without a token nobody is fenced."""
    if token is not None:
        require_lease(name=DISPATCH, token=token)


def held_names(*, names: Iterable[str], at: datetime) -> set[str]:
    """Return the leases of these that somebody holds now."""
    rows = Lease.objects.filter(name__in=list(names), expires_at__gt=at).exclude(holder="")
    return set(rows.values_list("name", flat=True))


def release_lease(*, name: str, token: int, at: datetime) -> None:
    """Give the lease back, so that a standby takes over at once; nothing happens when it is lost already."""
    Lease.objects.filter(name=name, token=token).update(holder="", expires_at=at)
