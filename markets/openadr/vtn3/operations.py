"""What the VTN writes: objects with their audience, and what is owed to those who are to be told."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction
from oauth2_provider.generators import generate_client_id, generate_client_secret
from oauth2_provider.models import get_application_model
from rest_framework.exceptions import PermissionDenied

from markets.openadr.addresses import AddressRefused
from markets.openadr.vtn3 import notifications, rights
from markets.openadr.vtn3.authentication import Caller
from markets.openadr.vtn3.kinds import (
    EVENT,
    KIND_AT,
    PROGRAM,
    REPORT,
    RESOURCE,
    SCOPES_OF,
    SUBSCRIPTION,
    VEN,
    Kind,
    Role,
    Version,
)
from markets.openadr.vtn3.models import EVERYBODY, Audience, Client, Listening, Object
from markets.openadr.vtn3.problems import Conflict
from markets.openadr.vtn3.representation import operations_of
from markets.openadr.vtn3.schemas import written_fields
from markets.openadr.vtn3.spans import span_of
from markets.openadr.vtn3.targets import from_objects
from markets.openadr.vtn3.webhooks import require_reachable

MOST_OF_A_CLIENT: Final = {SUBSCRIPTION.name: 100, RESOURCE.name: 1_000}
"""Objects of a kind that one client may have."""


@transaction.atomic
def create_object(
    *, version: Version, caller: Caller, kind: Kind, body: dict[str, Any], at: datetime, parent_id: str = ""
) -> Object:
    """Store a new object from a body that the version's schema took.

    Raises PermissionDenied, NotFound for a parent that the client does not see, and Conflict.
    """
    rights.require_write(caller, kind, None)
    parent = _parent_of(caller, kind, body, parent_id)
    row = Object(object_id=str(uuid.uuid4()), kind=kind.name, parent=parent, created_at=at)
    row.client_id = _owner_of(caller, kind, body, parent)
    most = MOST_OF_A_CLIENT.get(kind.name)
    if most and Object.objects.filter(kind=kind.name, client_id=row.client_id).count() >= most:
        raise PermissionDenied(f"the client has {most} {kind.plural}, the most it may have")
    _write(row, version, caller, kind, body, at)
    notifications.notify(row, "CREATE", at=at)
    return row


@transaction.atomic
def update_object(
    *, version: Version, caller: Caller, kind: Kind, object_id: str, body: dict[str, Any], at: datetime
) -> Object:
    """Replace what a client wrote of an object; raises as create_object does."""
    row = rights.visible_object(caller, kind, object_id, for_update=True)
    rights.require_write(caller, kind, row)
    parent = _parent_of(caller, kind, body, row.parent.object_id if row.parent is not None else "")
    if parent != row.parent and kind in (REPORT, RESOURCE):
        raise Conflict(f"the {kind.name.lower()} belongs to another {kind.parent_field}")
    row.parent = parent
    owner = _owner_of(caller, kind, body, parent)
    if kind is VEN and not caller.is_ven and version is Version.V310 and owner != row.client_id:
        row.client_id = owner
        row.children.filter(kind=RESOURCE.name).update(client_id=owner)
    _write(row, version, caller, kind, body, at)
    notifications.notify(row, "UPDATE", at=at)
    return row


@transaction.atomic
def delete_object(*, caller: Caller, kind: Kind, object_id: str, at: datetime) -> Object:
    """Delete an object with a ven's resources and a program's subscriptions; events and reports are evidence.

    Raises Conflict for a program with events or an event with reports.
    """
    row = rights.visible_object(caller, kind, object_id, for_update=True)
    rights.require_write(caller, kind, row)
    for held in (EVENT, REPORT):
        if row.children.filter(kind=held.name).exists():
            raise Conflict(f"the {kind.name.lower()} has {held.plural}: delete them first")
    # Owed before the audience goes; a subscription that is deleted takes along what it was owed.
    notifications.notify(row, "DELETE", at=at)
    key = row.pk
    row.delete()
    row.pk = key
    return row


def _parent_of(caller: Caller, kind: Kind, body: dict[str, Any], parent_id: str) -> Object | None:
    if not kind.parent:
        return None
    wanted = body.get(kind.parent_field) or ("" if kind is SUBSCRIPTION else parent_id)
    if not wanted and kind is SUBSCRIPTION:
        return None
    return rights.visible_object(caller, KIND_AT[kind.parent], str(wanted))


def _owner_of(caller: Caller, kind: Kind, body: dict[str, Any], parent: Object | None) -> str:
    if kind not in (VEN, RESOURCE):
        return caller.client_id
    form = str(body.get("objectType", ""))
    if form.startswith("BL_" if caller.is_ven else "VEN_"):
        raise PermissionDenied(f"objectType {form} is not for a client of the role {caller.role}")
    if kind is RESOURCE and parent is not None:
        if form.startswith("BL_") and body["clientID"] != parent.client_id:
            raise Conflict("clientID is not the ven's")
        return parent.client_id
    return caller.client_id if caller.is_ven else str(body.get("clientID", ""))


def _write(row: Object, version: Version, caller: Caller, kind: Kind, body: dict[str, Any], at: datetime) -> None:
    fields = written_fields(version, kind) - {kind.parent_field}
    content = {name: value for name, value in body.items() if name in fields}
    targets = _targets_in(version, body)
    if caller.is_ven and kind in (VEN, RESOURCE):
        if targets is not None and set(targets) != set(row.targets):
            raise PermissionDenied(f"business logic alone writes the targets of {kind.plural}")
        targets = row.targets
    row.targets = targets or []
    for descriptor in content.get("reportDescriptors") or []:
        if descriptor.get("targets") is not None:
            descriptor["targets"] = _targets_in(version, descriptor)
    if kind is REPORT and row.parent is not None and row.parent.parent is not None:
        content["programID"] = row.parent.parent.object_id
        if body.get("programID", content["programID"]) != content["programID"]:
            raise Conflict("programID is not the event's")
    if kind is EVENT:
        row.starts_at, row.ends_at = span_of(content, created_at=row.created_at)
    for part in content.get("objectOperations", []):
        try:
            require_reachable(part["callbackUrl"])
        except AddressRefused as error:
            raise PermissionDenied(f"callbackUrl: {error}") from None
    row.name = body.get(kind.name_field or "clientName") or ""
    row.version = version
    row.content = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    row.modified_at = at
    is_new = row.pk is None
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        what = kind.name_field if kind is not VEN else "venName or clientID"
        raise Conflict(f"another of the {kind.plural} has this {what}") from None
    _write_audience(kind, [row])
    if kind is PROGRAM and not is_new:
        _write_audience(EVENT, list(row.children.filter(kind=EVENT.name, targets=[]).select_related("parent")))
    if kind is SUBSCRIPTION:
        _write_listening(row, content["objectOperations"], at)


def _targets_in(version: Version, body: dict[str, Any]) -> list[str] | None:
    held = body.get("targets")
    if held is None:
        return None
    return from_objects(held) if version is Version.V301 else list(dict.fromkeys(held))


def _write_audience(kind: Kind, rows: Sequence[Object]) -> None:
    Audience.objects.filter(object__in=rows).delete()
    wanted = []
    for row in rows:
        targets = row.targets
        if kind is EVENT and not targets and row.parent is not None:
            targets = row.parent.targets
        if not targets and kind.name in rights.BY_TARGETS:
            targets = [EVERYBODY]
        wanted += [Audience(object=row, target=target) for target in targets]
    Audience.objects.bulk_create(wanted, batch_size=500)


def _write_listening(row: Object, parts: list[dict[str, Any]], at: datetime) -> None:
    row.listening.all().delete()
    # What was owed to the addresses of before is owed to nobody now.
    row.deliveries.all().delete()
    wanted = {
        (kind, operation, number)
        for number, part in enumerate(parts)
        for kind in part["objects"]
        for operation in operations_of(part)
    }
    Listening.objects.bulk_create(
        Listening(subscription=row, kind=kind, operation=operation, part=part)
        for kind, operation, part in sorted(wanted)
    )
    notifications.challenge(row, len(parts), at=at)


@transaction.atomic
def make_client(
    *, name: str, role: Role, at: datetime, ven_name: str = "", targets: Sequence[str] = ()
) -> tuple[str, str]:
    """Register an OAuth2 client, and its ven where one is named; return id and secret, which is not kept in the clear.

    Raises Conflict for a client or ven name that is taken.
    """
    application_model = get_application_model()
    if application_model.objects.filter(name=name, openadr_client__isnull=False).exists():
        raise Conflict(f"there is a client named {name!r}")
    client_id, secret = generate_client_id(), generate_client_secret()
    application = application_model.objects.create(
        name=name,
        client_id=client_id,
        client_secret=secret,
        client_type=application_model.CLIENT_CONFIDENTIAL,
        authorization_grant_type=application_model.GRANT_CLIENT_CREDENTIALS,
    )
    Client.objects.create(application=application, role=role)
    if ven_name:
        body = {
            "objectType": "BL_VEN_REQUEST",
            "venName": ven_name,
            "clientID": client_id,
            "targets": list(dict.fromkeys(targets)),
        }
        create_object(version=Version.V310, caller=platform_caller(), kind=VEN, body=body, at=at)
    return client_id, secret


@transaction.atomic
def revoke_client(*, name: str) -> int:
    """Take away a client with its tokens; its objects stay. Return how many were of that name."""
    found = get_application_model().objects.filter(name=name, openadr_client__isnull=False)
    count: int = found.count()
    found.delete()
    return count


def platform_caller() -> Caller:
    """Return the platform itself as business logic: the market desk publishes programs and events as it."""
    return Caller("platform", Role.BL, frozenset(SCOPES_OF[Role.BL]))
