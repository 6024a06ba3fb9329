"""The protocol's six kinds of object and two versions: where each is addressed, and which scope opens it (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Version(StrEnum):
    """A version of the protocol, as it stands in addresses."""

    V301 = "3.0.1"
    V310 = "3.1.0"


class Role(StrEnum):
    """What a client is: business logic above the VTN, or a VEN below it."""

    BL = "bl"
    VEN = "ven"


class Operation(StrEnum):
    """What happened to an object, in the words of 3.1."""

    READ = "READ"
    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object."""

    name: str
    """Its objectType, such as ``EVENT``."""
    plural: str
    """Its collection in addresses."""
    name_field: str = ""
    """The property that is unique among its kind, or within its parent; empty: none is."""
    parent: str = ""
    """Plural of the kind that it belongs to; empty: none."""
    parent_field: str = ""
    """The property that names its parent."""
    read_scopes: tuple[str, ...] = ()
    """Any of these lets it be read."""
    write_scope: str = ""

    @property
    def id_name(self) -> str:
        """The name of its identifier in addresses, such as ``eventID``."""
        return f"{self.name.lower()}ID"


TARGETS: Final = ("read_all", "read_targets")
OWN: Final = ("read_all", "read_ven_objects")

PROGRAM: Final = Kind("PROGRAM", "programs", "programName", read_scopes=TARGETS, write_scope="write_programs")
EVENT: Final = Kind(
    "EVENT", "events", parent="programs", parent_field="programID", read_scopes=TARGETS, write_scope="write_events"
)
REPORT: Final = Kind(
    "REPORT", "reports", parent="events", parent_field="eventID", read_scopes=OWN, write_scope="write_reports"
)
SUBSCRIPTION: Final = Kind(
    "SUBSCRIPTION",
    "subscriptions",
    parent="programs",
    parent_field="programID",
    read_scopes=OWN,
    write_scope="write_subscriptions",
)
VEN: Final = Kind("VEN", "vens", "venName", read_scopes=OWN, write_scope="write_vens")
RESOURCE: Final = Kind(
    "RESOURCE",
    "resources",
    "resourceName",
    parent="vens",
    parent_field="venID",
    read_scopes=OWN,
    write_scope="write_vens",
)
KINDS: Final = (PROGRAM, EVENT, REPORT, SUBSCRIPTION, VEN, RESOURCE)
KIND_OF: Final = {kind.name: kind for kind in KINDS}
KIND_AT: Final = {kind.plural: kind for kind in KINDS}

SCOPES: Final = {
    "read_all": "read every object (business logic); in 3.0.1 also: read what the client may see",
    "read_targets": "read programs and events with one's own targets, and those without",
    "read_ven_objects": "read one's own vens, resources, reports and subscriptions",
    "write_programs": "write programs (business logic)",
    "write_events": "write events (business logic)",
    "write_reports": "write reports (VENs)",
    "write_subscriptions": "write subscriptions",
    "write_vens": "write vens and resources",
}
SCOPES_OF: Final = {
    Role.BL: ("read_all", "write_programs", "write_events", "write_subscriptions", "write_vens"),
    Role.VEN: (
        "read_all",
        "read_targets",
        "read_ven_objects",
        "write_reports",
        "write_subscriptions",
        "write_vens",
    ),
}
"""3.0.1 knows no narrower reading than ``read_all`` and gives it to VENs too: which objects a client sees follows its
role, never this scope."""


def scopes_needed(version: Version, kind: Kind, *, writes: bool) -> tuple[str, ...]:
    """Return the scopes of which a token needs one."""
    if writes:
        return (kind.write_scope,)
    return ("read_all",) if version is Version.V301 else kind.read_scopes
