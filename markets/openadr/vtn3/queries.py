"""What the VTN reads: pages of objects, as texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import QuerySet

from markets.openadr.vtn3 import rights
from markets.openadr.vtn3.authentication import Caller
from markets.openadr.vtn3.kinds import EVENT, RESOURCE, SUBSCRIPTION, VEN, Kind, Version
from markets.openadr.vtn3.models import Audience, Object
from markets.openadr.vtn3.representation import object_text

MAX_PAGE = 50
"""Most objects in one answer; also what a request without a limit gets."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to."""

    skip: int = 0
    limit: int = MAX_PAGE
    targets: frozenset[str] | None = None
    names: tuple[str, ...] | None = None
    program_names: tuple[str, ...] | None = None
    program_id: str | None = None
    event_id: str | None = None
    ven_id: str | None = None
    client_name: str | None = None
    objects: frozenset[str] = field(default_factory=frozenset)
    active: bool | None = None


def page_text(version: Version, caller: Caller, kind: Kind, wanted: Filter, *, at: datetime) -> str:
    """Return one page of a kind as a JSON array, oldest first."""
    by_targets = kind.name in rights.BY_TARGETS
    granted = rights.granted_targets(caller.client_id) if caller.is_ven and by_targets else frozenset()
    rows = rights.visible_objects(caller, kind, granted=granted)
    if wanted.targets is not None:
        asked = wanted.targets & granted if caller.is_ven and by_targets else wanted.targets
        rows = rows.filter(pk__in=Audience.objects.filter(target__in=sorted(asked)).values("object_id"))
    rows = _narrowed(rows, kind, wanted, at).select_related("parent").order_by("pk")
    page = list(rows[wanted.skip : wanted.skip + wanted.limit])
    texts = _texts(version, caller, kind, page, granted=granted, asked=wanted.targets)
    return f"[{','.join(texts)}]"


def _narrowed(rows: QuerySet[Object], kind: Kind, wanted: Filter, at: datetime) -> QuerySet[Object]:
    if wanted.names is not None:
        rows = rows.filter(name__in=wanted.names)
    if wanted.program_names is not None:
        rows = rows.filter(parent__name__in=wanted.program_names)
    if wanted.program_id is not None:
        path = "parent__parent__object_id" if kind.name == "REPORT" else "parent__object_id"
        rows = rows.filter(**{path: wanted.program_id})
    if wanted.event_id is not None:
        rows = rows.filter(parent__object_id=wanted.event_id)
    if wanted.ven_id is not None:
        rows = rows.filter(parent__object_id=wanted.ven_id)
    if wanted.client_name is not None:
        rows = rows.filter(name=wanted.client_name)
    if wanted.objects and kind is SUBSCRIPTION:
        rows = rows.filter(listening__kind__in=sorted(wanted.objects)).distinct()
    if wanted.active is True and kind is EVENT:
        rows = rows.filter(ends_at__gt=at)
    elif wanted.active is False and kind is EVENT:
        rows = rows.filter(ends_at__lte=at)
    return rows


def one_text(version: Version, caller: Caller, kind: Kind, row: Object) -> str:
    """Return one object that the caller may read."""
    by_targets = caller.is_ven and kind.name in rights.BY_TARGETS
    granted = rights.granted_targets(caller.client_id) if by_targets else frozenset()
    return _texts(version, caller, kind, [row], granted=granted, asked=None)[0]


def _texts(
    version: Version,
    caller: Caller,
    kind: Kind,
    rows: list[Object],
    *,
    granted: frozenset[str],
    asked: frozenset[str] | None,
) -> list[str]:
    children: dict[int, list[Object]] = {}
    if version is Version.V301 and kind is VEN:
        nested = Object.objects.filter(kind=RESOURCE.name, parent__in=rows).select_related("parent").order_by("pk")
        for one in nested:
            children.setdefault(one.parent_id or 0, []).append(one)
    found = []
    for row in rows:
        shown = rights.shown_targets(caller, kind, row.targets, granted=granted, asked=asked)
        nested_texts = tuple(text_of(version, one) for one in children.get(row.pk, ()))
        hides_token = kind is SUBSCRIPTION and row.client_id != caller.client_id
        found.append(text_of(version, row, targets=shown, children=nested_texts, hides_token=hides_token))
    return found


def text_of(
    version: Version,
    row: Object,
    *,
    targets: Iterable[str] | None = None,
    children: tuple[str, ...] = (),
    hides_token: bool = False,
) -> str:
    """Return one object as JSON, with these targets or all of its own; ``row.parent`` is at hand."""
    return object_text(
        version,
        row.kind,
        row.object_id,
        row.client_id,
        row.parent.object_id if row.parent is not None else "",
        tuple(row.targets if targets is None else targets),
        row.content,
        row.created_at,
        row.modified_at,
        children,
        hides_token,
    )


def objects_of(kind: Kind) -> QuerySet[Object]:
    """Return every object of a kind, for those within the platform: the market desk reads reports by it."""
    return Object.objects.filter(kind=kind.name).select_related("parent").order_by("pk")
