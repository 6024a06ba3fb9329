"""Who is told of what happened to an object: rows of the outbox, written in the transaction of what happened."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime

from django.conf import settings
from django.db.models import Q

from markets.openadr.vtn3 import rights
from markets.openadr.vtn3.kinds import EVENT, KIND_OF, PROGRAM, REPORT, RESOURCE, SUBSCRIPTION, VEN, Role, Version
from markets.openadr.vtn3.models import EVERYBODY, Audience, Client, Delivery, Listening, Notice, Object
from markets.openadr.vtn3.queries import text_of
from markets.openadr.vtn3.representation import notification_text
from markets.openadr.vtn3.topics import topic


def challenge(subscription: Object, parts: int, *, at: datetime) -> None:
    """Owe each address of a subscription of 3.1 the question whether it belongs to who subscribed."""
    if subscription.version == Version.V310:
        Delivery.objects.bulk_create(
            Delivery(
                subscription=subscription,
                part=part,
                is_challenge=True,
                body=secrets.token_urlsafe(24),
                created_at=at,
                next_at=at,
            )
            for part in range(parts)
        )


def notify(row: Object, operation: str, *, at: datetime) -> None:
    """Owe a notification to every subscription that wants it and may see the object, and to the broker's topics."""
    held: dict[tuple[Version, tuple[str, ...]], str] = {}

    def body_for(version: Version, targets: tuple[str, ...]) -> str:
        key = version, targets
        if key not in held:
            hides_token = row.kind == SUBSCRIPTION.name
            text = text_of(version, row, targets=targets, hides_token=hides_token)
            held[key] = notification_text(version, row.kind, operation, text)
        return held[key]

    _owe_webhooks(row, operation, body_for, at)
    if settings.VTN_MQTT_URIS:
        _owe_topics(row, operation, body_for, at)


def _owe_webhooks(row: Object, operation: str, body_for: Callable[..., str], at: datetime) -> None:
    program = _program_of(row)
    wanted = Listening.objects.filter(kind=row.kind, operation=operation).filter(
        Q(subscription__parent=None) | Q(subscription__parent=program)
    )
    business = set(Client.objects.filter(role=Role.BL).values_list("application__client_id", flat=True))
    if not _concerns_everybody(row):
        wanted = wanted.filter(Q(subscription__client_id__in=business) | _may_see(row))
    listening = list(
        wanted.values_list(
            "subscription_id",
            "part",
            "subscription__client_id",
            "subscription__version",
            "subscription__targets",
        )
    )
    grants = _grants({client for _, _, client, _, _ in listening} - business)
    owed = []
    for subscription_id, part, client_id, version, filtered in listening:
        if filtered and not set(filtered) & set(row.targets):
            continue
        targets = _shown(row, None if client_id in business else grants[client_id])
        body = body_for(Version(version), targets)
        owed.append(Delivery(subscription_id=subscription_id, part=part, body=body, created_at=at, next_at=at))
    Delivery.objects.bulk_create(owed, batch_size=500)


def _concerns_everybody(row: Object) -> bool:
    return row.kind in rights.BY_TARGETS and Audience.objects.filter(object=row, target=EVERYBODY).exists()


def _may_see(row: Object) -> Q:
    if row.kind not in rights.BY_TARGETS:
        return Q(subscription__client_id=row.client_id)
    audience = list(Audience.objects.filter(object=row).values_list("target", flat=True))
    holders = Audience.objects.filter(target__in=audience, object__kind__in=[VEN.name, RESOURCE.name])
    return Q(subscription__client_id__in=holders.exclude(object__client_id="").values("object__client_id"))


def _grants(client_ids: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    rows = Audience.objects.filter(object__client_id__in=list(client_ids), object__kind__in=[VEN.name, RESOURCE.name])
    for client_id, target in rows.values_list("object__client_id", "target"):
        found[client_id].add(target)
    return found


def _shown(row: Object, granted: set[str] | None) -> tuple[str, ...]:
    if granted is None or row.kind not in rights.BY_TARGETS:
        return tuple(row.targets)
    return tuple(one for one in row.targets if one in granted)


def _program_of(row: Object) -> Object | None:
    if row.kind == PROGRAM.name:
        return row
    if row.kind in {EVENT.name, SUBSCRIPTION.name}:
        return row.parent
    if row.kind == REPORT.name and row.parent is not None:
        return row.parent.parent
    return None


def _owe_topics(row: Object, operation: str, body_for: Callable[..., str], at: datetime) -> None:
    plural = KIND_OF[row.kind].plural
    whole = body_for(Version.V310, tuple(row.targets))
    paths = [plural]
    if row.kind in {PROGRAM.name, VEN.name} and operation != "CREATE":
        paths.append(f"{plural}/{row.object_id}")
    if row.kind == EVENT.name and row.parent is not None:
        paths.append(f"programs/{row.parent.object_id}/events")
    if row.kind == RESOURCE.name and row.parent is not None:
        paths.append(f"vens/{row.parent.object_id}/resources")
    owed = [Notice(topic=topic(path, operation), body=whole, created_at=at) for path in paths]
    if row.kind in rights.BY_TARGETS:
        vens = Object.objects.filter(kind=VEN.name).exclude(client_id="")
        audience = set(Audience.objects.filter(object=row).values_list("target", flat=True))
        if EVERYBODY not in audience:
            holders = Audience.objects.filter(target__in=audience, object__kind__in=[VEN.name, RESOURCE.name])
            vens = vens.filter(client_id__in=holders.values("object__client_id"))
        seen_by = list(vens.values_list("object_id", "client_id"))
        grants = _grants(client_id for _, client_id in seen_by)
        owed += [
            Notice(
                topic=topic(f"vens/{ven_id}/{plural}", operation),
                body=body_for(Version.V310, _shown(row, grants[client_id])),
                created_at=at,
            )
            for ven_id, client_id in seen_by
        ]
    Notice.objects.bulk_create(owed, batch_size=500)
