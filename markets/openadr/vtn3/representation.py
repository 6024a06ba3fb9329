"""One object as a client of a version reads it, as JSON text (pure).

Texts are kept: most of what is asked for has been written before, and a list is joined from them.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import Any

from markets.openadr.vtn3.kinds import EVENT, KIND_OF, REPORT, RESOURCE, SUBSCRIPTION, VEN, Version
from markets.openadr.vtn3.schemas import written_fields
from markets.openadr.vtn3.targets import as_objects

_FIELDS = {(version, name): written_fields(version, kind) for version in Version for name, kind in KIND_OF.items()}
_TRANSLATED = {
    Version.V301: {"CREATE": "POST", "READ": "GET", "UPDATE": "PUT", "DELETE": "DELETE"},
    Version.V310: {"POST": "CREATE", "GET": "READ", "PUT": "UPDATE", "DELETE": "DELETE"},
}


def instant_text(at: datetime) -> str:
    """Return an instant as the protocol writes it, in milliseconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


@lru_cache(maxsize=8_192)
def object_text(
    version: Version,
    kind: str,
    object_id: str,
    client_id: str,
    parent_id: str,
    targets: tuple[str, ...],
    content: str,
    created_at: datetime,
    modified_at: datetime,
    children: tuple[str, ...] = (),
    hides_token: bool = False,
) -> str:
    """Return an object as JSON; ``children`` are a ven's resources as 3.0.1 nests them, as JSON.

    ``hides_token``: the reader is not who subscribed, and the bearer token for the callback is not theirs.
    """
    held: dict[str, Any] = json.loads(content)
    shown: dict[str, Any] = {
        "id": object_id,
        "createdDateTime": instant_text(created_at),
        "modificationDateTime": instant_text(modified_at),
        "objectType": kind,
    }
    fields = _FIELDS[version, kind]
    shown |= {name: value for name, value in held.items() if name in fields}
    _translate(version, kind, shown, hides_token)
    if kind != REPORT.name:
        shown["targets"] = as_objects(targets) if version is Version.V301 else list(targets)
    if kind in {EVENT.name, SUBSCRIPTION.name} and parent_id:
        shown["programID"] = parent_id
    if kind == REPORT.name:
        shown["eventID"] = parent_id
    if kind == RESOURCE.name:
        shown["venID"] = parent_id
    if version is Version.V310 and kind in {REPORT.name, SUBSCRIPTION.name, VEN.name, RESOURCE.name}:
        shown["clientID"] = client_id
    if children or (version is Version.V301 and kind == VEN.name):
        shown["resources"] = [json.loads(text) for text in children]
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


def _translate(version: Version, kind: str, shown: dict[str, Any], hides_token: bool) -> None:
    """Put what was written in the other version into the words of this one."""
    if version is Version.V301:
        if kind == EVENT.name:
            shown.setdefault("intervals", [])
        # 3.0.1 has no period without a start; what it stands for there is said by its absence.
        if not (shown.get("intervalPeriod") or {}).get("start"):
            shown.pop("intervalPeriod", None)
        for interval in shown.get("intervals", []):
            if not (interval.get("intervalPeriod") or {}).get("start"):
                interval.pop("intervalPeriod", None)
    if kind == SUBSCRIPTION.name:
        words = _TRANSLATED[version]
        shown["objectOperations"] = [
            part
            | {"operations": [words.get(word, word) for word in part["operations"]]}
            | ({"bearerToken": None} if hides_token and "bearerToken" in part else {})
            for part in shown["objectOperations"]
        ]
    for name in ("targets", "reportDescriptors", "payloadDescriptors"):
        if shown.get(name) is None:
            shown.pop(name, None)
    for descriptor in shown.get("reportDescriptors", []):
        if descriptor.get("targets"):
            descriptor["targets"] = (
                as_objects(descriptor["targets"]) if version is Version.V301 else descriptor["targets"]
            )
    if version is Version.V310:
        for descriptor in shown.get("payloadDescriptors", []):
            name = "REPORT" if kind == REPORT.name else "EVENT"
            descriptor.setdefault("objectType", f"{name}_PAYLOAD_DESCRIPTOR")


def notification_text(version: Version, kind: str, operation: str, text: str) -> str:
    """Return the notification of what happened to an object, in a version's words."""
    word = _TRANSLATED[Version.V301][operation] if version is Version.V301 else operation
    return f'{{"objectType":"{kind}","operation":"{word}","object":{text}}}'


def operations_of(part: dict[str, Any]) -> list[str]:
    """Return the operations of a subscription's part in the words of 3.1."""
    words = _TRANSLATED[Version.V310]
    return [words.get(word, word) for word in part["operations"]]
