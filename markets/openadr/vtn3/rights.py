"""Which object a client may read and write: the one place that decides it."""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework.exceptions import NotFound, PermissionDenied

from markets.openadr.vtn3.authentication import Caller
from markets.openadr.vtn3.kinds import EVENT, PROGRAM, REPORT, RESOURCE, SUBSCRIPTION, VEN, Kind
from markets.openadr.vtn3.models import EVERYBODY, Audience, Object

BY_TARGETS = frozenset({PROGRAM.name, EVENT.name})


def granted_targets(client_id: str) -> frozenset[str]:
    """Return the targets that business logic gave a client, by its ven and that one's resources."""
    rows = Audience.objects.filter(object__client_id=client_id, object__kind__in=[VEN.name, RESOURCE.name])
    return frozenset(rows.values_list("target", flat=True))


def visible_objects(caller: Caller, kind: Kind, *, granted: frozenset[str]) -> QuerySet[Object]:
    """Return what a client sees of a kind: business logic everything, a VEN its own, or what is targeted at it."""
    rows = Object.objects.filter(kind=kind.name)
    if not caller.is_ven:
        return rows
    if kind.name in BY_TARGETS:
        concerning = Audience.objects.filter(target__in=[EVERYBODY, *granted])
        return rows.filter(pk__in=concerning.values("object_id"))
    return rows.filter(client_id=caller.client_id)


def visible_object(caller: Caller, kind: Kind, object_id: str, *, for_update: bool = False) -> Object:
    """Return one object; raise NotFound also for one that is another's: whether it exists is not told."""
    granted = granted_targets(caller.client_id) if caller.is_ven and kind.name in BY_TARGETS else frozenset()
    rows = visible_objects(caller, kind, granted=granted).filter(object_id=object_id)
    row = (rows.select_for_update() if for_update else rows.select_related("parent")).first()
    if row is None:
        raise NotFound(f"no {kind.name.lower()} {object_id[:128]}")
    return row


def require_write(caller: Caller, kind: Kind, row: Object | None) -> None:
    """Raise PermissionDenied when the client may not create an object of the kind, or change this one.

    Scopes were checked before; here: a report is its VEN's and a subscription who made it, business logic included.
    """
    if kind.name in BY_TARGETS and caller.is_ven:
        raise PermissionDenied(f"business logic alone writes {kind.plural}")
    if row is not None and kind in (REPORT, SUBSCRIPTION) and row.client_id != caller.client_id:
        raise PermissionDenied(f"the {kind.name.lower()} is another client's")


def shown_targets(
    caller: Caller, kind: Kind, targets: list[str], *, granted: frozenset[str], asked: frozenset[str] | None = None
) -> tuple[str, ...]:
    """Return the targets of an object that a client may read: a VEN those of programs and events that it holds."""
    if not caller.is_ven or kind.name not in BY_TARGETS:
        return tuple(targets)
    return tuple(one for one in targets if one in granted and (asked is None or one in asked))
