"""What a site reports of its assignment, read from the metrics of its ``control`` device: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sites.core.assignments import AssignmentState, Refusal
from sites.core.key_ring import KeyRefusal
from sites.core.requests import RequestRefusal
from sites.wire.metrics import ANSWER_STATES

CURVE: Final = "curve"
STREAM: Final = "stream"
KEYS: Final = "keys"
"""Not an assignment: which announcement of keys the site holds."""
SEQUENCES: Final = 2**53
"""A sequence is below: what a JSON reader everywhere holds exactly."""


class ReportInvalid(ValueError):
    """A report that says nothing usable; the message names the metric, what it held and what is accepted."""


@dataclass(frozen=True, slots=True)
class SiteReport:
    """The reported state of one site as it reached the gateway."""

    site_id: str
    received_at: datetime
    """By the gateway's clock, when the message arrived."""
    kind: str = CURVE
    """Of the assignments that it speaks of."""
    state: str = ""
    """Of AssignmentState; empty while the site did not say."""
    held_hash: str = ""
    """Content hash of the assignment that the site holds; empty when it holds none."""
    held_sequence: int = 0
    refused_hash: str = ""
    """Content hash of the last assignment that it refused."""
    refused_sequence: int = 0
    refusal: str = ""
    """Why, of Refusal; of kind KEYS, of KeyRefusal."""
    answer: str = ""
    """What became of the last command: ``accepted``, ``refused`` or ``none``; empty while the site did not say."""
    answer_hash: str = ""
    """Content hash of that command; empty before the first."""
    answer_sequence: int = 0
    """Highest sequence of a command that the site has answered."""
    answer_error: str = ""
    """Why it was refused, of RequestRefusal."""
    key_ids: str = ""
    """Of kind KEYS: ids of the keys whose signatures the site takes, comma separated."""

    def holding(self, state: str, held_hash: str, held_sequence: int, *, received_at: datetime) -> SiteReport:
        """Return the report after a message that changes what is held, and nothing else.

        By place: ``dataclasses.replace`` takes four times as long, and a fleet's answers come thick and fast.
        """
        return SiteReport(
            self.site_id, received_at, self.kind, state, held_hash, held_sequence, self.refused_hash,
            self.refused_sequence, self.refusal, self.answer, self.answer_hash, self.answer_sequence,
            self.answer_error,
        )  # fmt: skip


_HELD: Final[dict[str, tuple[str, type]]] = {
    "state": ("state", str),
    "hash": ("held_hash", str),
    "sequence": ("held_sequence", int),
    "refused_hash": ("refused_hash", str),
    "refusal": ("refusal", str),
    "refused_sequence": ("refused_sequence", int),
}
FIELDS: Final[dict[str, dict[str, tuple[str, type]]]] = {
    # Answers to commands ride with the report of the curve.
    CURVE: {f"reported/{name}": field for name, field in _HELD.items()}
    | {
        "answer/state": ("answer", str),
        "answer/hash": ("answer_hash", str),
        "answer/sequence": ("answer_sequence", int),
        "answer/error": ("answer_error", str),
    },
    STREAM: {f"reported_stream/{name}": field for name, field in _HELD.items()},
    KEYS: {
        "keys/ids": ("key_ids", str),
        "keys/generation": ("held_sequence", int),
        "keys/hash": ("held_hash", str),
        "keys/refused_hash": ("refused_hash", str),
        "keys/refusal": ("refusal", str),
    },
}
"""Metric -> field and type, for each kind of assignment."""
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "state": tuple(AssignmentState),
    "refusal": tuple(Refusal),
    "answer": ANSWER_STATES,
    "answer_error": tuple(RequestRefusal),
}
_KEY_REFUSALS: Final = tuple(KeyRefusal)
_KEY_IDS: Final = re.compile(r"(?:[0-9a-f]{16}(?:,[0-9a-f]{16}){0,7})?")
_HEX: Final = frozenset("0123456789abcdef")


def report_from(
    values: Mapping[str, Any],
    *,
    site_id: str,
    received_at: datetime,
    kind: str = CURVE,
    before: SiteReport | None = None,
) -> SiteReport:
    """Return a site's reported state after a birth or data message of its control device.

    ``values`` holds the message's metrics by name; a data message may carry only what changed, so
    that the rest stays as in ``before`` (None at a birth). Metrics of other names are left alone.

    Raises ReportInvalid naming the metric, what it held and what is accepted.
    """
    changes: dict[str, Any] = {}
    for name, (field, type_) in FIELDS[kind].items():
        if name not in values:
            continue
        value = values[name]
        if not isinstance(value, type_) or isinstance(value, bool):
            raise ReportInvalid(f"{name} is {value!r:.80}, accepted: {'a text' if type_ is str else 'a whole number'}")
        changes[field] = value
    for field, names in _NAMES.items():
        held = changes.get(field, "")
        accepted = _KEY_REFUSALS if kind == KEYS and field == "refusal" else names
        if held and held not in accepted:
            raise ReportInvalid(f"{field} is {held!r:.80}, accepted: {', '.join(accepted)}")
    for field in ("held_hash", "refused_hash", "answer_hash"):
        held = changes.get(field, "")
        if held and not (len(held) == 64 and set(held) <= _HEX):
            raise ReportInvalid(f"{field} is {held!r:.80}, accepted: 64 hexadecimal digits or nothing")
    for field in ("held_sequence", "refused_sequence", "answer_sequence"):
        if not 0 <= changes.get(field, 0) < SEQUENCES:
            raise ReportInvalid(f"{field} is {changes[field]}, accepted: a whole number from 0")
    if not _KEY_IDS.fullmatch(changes.get("key_ids", "")):
        raise ReportInvalid(f"keys/ids is {changes['key_ids']!r:.80}, accepted: up to 8 of 16 hexadecimal digits")
    if before is not None:
        return replace(before, received_at=received_at, **changes)
    return SiteReport(site_id=site_id, received_at=received_at, kind=kind, **changes)
