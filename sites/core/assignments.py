"""What a site is armed with: an expiring share of an obligation, as desired and reported state."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from sites.core.curves import CurveError, Direction, Recovery, ResponseCurve, Trigger
from sites.core.envelope import OperatingEnvelope
from sites.core.intervals import Interval, IntervalError

MAX_BODY_BYTES: Final = 4096
MAX_POWER_KW: Final = 100_000.0
FORMAT_VERSION: Final = 1
EXTENDED_VERSION: Final = 2
"""Of a body whose curve is symmetric, latches or recovers: a site that knows only version 1 refuses it."""


P = TypeVar("P", Trigger, Recovery)


class AssignmentState(StrEnum):
    """What a site reports of the assignment that it holds."""

    IDLE = "idle"
    ARMED = "armed"
    """Held and accepted; its window may be ahead or open."""
    REFUSED = "refused"


class Refusal(StrEnum):
    """Why a site did not take an assignment."""

    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    WRONG_SITE = "wrong_site"
    STALE = "stale"
    """Its sequence is below the one that the site holds."""
    REPEATED = "repeated"
    """Its sequence is the held one but its content differs."""
    EXPIRED = "expired"
    OUT_OF_ENVELOPE = "out_of_envelope"
    LOCKED_OUT = "locked_out"


class AssignmentError(ValueError):
    """A body that is not an assignment; the message names the field and what is accepted."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One site's armed share of an obligation. It lapses by itself at ``ends_at``."""

    assignment_id: str
    site_id: str
    sequence: int
    """Rises with every change of the site's desired state, from 1."""
    dispatch_id: str
    """Joins the books; the same for all sites that serve one obligation."""
    curve_name: str
    direction: Direction
    points: tuple[tuple[float, float], ...]
    power_kw: float
    """Contracted power of this share [kW], >= 0; the curve's direction gives its sign. 0 disarms."""
    baseline_kw: float
    """Declared battery power without the service, positive into the bus [kW]."""
    starts_at: datetime
    ends_at: datetime
    trigger: Trigger | None = None
    """Set: the points are a threshold and the response latches."""
    recovery: Recovery | None = None
    """Set: energy given may be taken back inside the window while nothing is due."""

    @property
    def window(self) -> Interval:
        """The period in which the site answers."""
        return Interval(self.starts_at, self.ends_at)

    @property
    def format_version(self) -> int:
        """The lowest version of the body that can say this."""
        plain = self.direction is not Direction.BOTH and self.trigger is None and self.recovery is None
        return FORMAT_VERSION if plain else EXTENDED_VERSION

    def to_bytes(self) -> bytes:
        """Return the body that is signed and sent: JSON with sorted keys, UTF-8, no blanks."""
        body: dict[str, Any] = {
            "v": self.format_version,
            "assignment_id": self.assignment_id,
            "site_id": self.site_id,
            "sequence": self.sequence,
            "dispatch_id": self.dispatch_id,
            "curve_name": self.curve_name,
            "direction": self.direction.value,
            "points": [[x, y] for x, y in self.points],
            "power_kw": self.power_kw,
            "baseline_kw": self.baseline_kw,
            "starts_at": _text(self.starts_at),
            "ends_at": _text(self.ends_at),
        }
        if self.trigger is not None:
            body["trigger"] = asdict(self.trigger)
        if self.recovery is not None:
            body["recovery"] = asdict(self.recovery)
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()

    @property
    def content_hash(self) -> str:
        """SHA-256 over the body, hexadecimal: what desired and reported state agree on."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def assignment_from_bytes(body: bytes) -> Assignment:
    """Read an assignment's body.

    Raises AssignmentError naming the field, what it held and what is accepted.
    """
    if len(body) > MAX_BODY_BYTES:
        raise AssignmentError(f"body has {len(body)} bytes, accepted: up to {MAX_BODY_BYTES}")
    try:
        raw: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AssignmentError(f"body is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise AssignmentError(f"body is a {type(raw).__name__}, accepted: an object")
    version = raw.get("v")
    if version not in (FORMAT_VERSION, EXTENDED_VERSION) or isinstance(version, bool):
        raise AssignmentError(f"v is {version!r}, accepted: {FORMAT_VERSION}, {EXTENDED_VERSION}")
    points = raw.get("points")
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise AssignmentError("points is not a list of pairs [deviation_hz, share]")
    assignment = Assignment(
        assignment_id=_string(raw, "assignment_id"),
        site_id=_string(raw, "site_id"),
        sequence=_sequence(raw),
        dispatch_id=_string(raw, "dispatch_id"),
        curve_name=_string(raw, "curve_name"),
        direction=_direction(raw),
        points=tuple((_finite(p[0], "points"), _finite(p[1], "points")) for p in points),
        power_kw=_number(raw, "power_kw", 0.0, MAX_POWER_KW),
        baseline_kw=_number(raw, "baseline_kw", -MAX_POWER_KW, MAX_POWER_KW),
        starts_at=_instant(raw, "starts_at"),
        ends_at=_instant(raw, "ends_at"),
        trigger=_part(raw, "trigger", Trigger),
        recovery=_part(raw, "recovery", Recovery),
    )
    if version != assignment.format_version:
        raise AssignmentError(f"v is {version}, accepted for this content: {assignment.format_version}")
    try:
        Interval(assignment.starts_at, assignment.ends_at)
        curve_of(assignment)
    except (IntervalError, CurveError) as error:
        raise AssignmentError(str(error)) from None
    return assignment


def curve_of(assignment: Assignment) -> ResponseCurve:
    """Return the curve that an assignment carries; raise CurveError when no site could follow it.

    The points travel with the assignment, so that a site follows what was armed and not what its
    own, perhaps older, catalogue holds under that name.
    """
    return ResponseCurve(
        name=assignment.curve_name,
        direction=assignment.direction,
        points=assignment.points,
        initiate_within_s=0.0,
        full_within_s=0.0,
        sustain_s=max(assignment.window.duration_s, 1.0),
        source="assignment",
        certainty="V",
        trigger=assignment.trigger,
        recovery=assignment.recovery,
    )


def judge(
    assignment: Assignment, *, held: Assignment | None, envelope: OperatingEnvelope, locked_out: bool, at: datetime
) -> Refusal | None:
    """Tell why a site must refuse an assignment, or None when it takes it.

    Receiving the held assignment again is no refusal: the platform repeats until both agree.
    """
    if assignment.site_id != envelope.site_id:
        return Refusal.WRONG_SITE
    if held is not None and assignment.sequence < held.sequence:
        return Refusal.STALE
    if held is not None and assignment.sequence == held.sequence:
        return None if assignment == held else Refusal.REPEATED
    if assignment.ends_at <= at:
        return Refusal.EXPIRED
    if assignment.power_kw == 0.0:
        return None
    if locked_out:
        return Refusal.LOCKED_OUT
    headroom_kw = {
        Direction.LOW: envelope.discharge_kw,
        Direction.HIGH: envelope.charge_kw,
        Direction.BOTH: min(envelope.discharge_kw, envelope.charge_kw),
    }[assignment.direction]
    # A tenth of a per cent: the allocation was computed on an envelope a few seconds older.
    if assignment.power_kw > headroom_kw * 1.001 + 1e-9:
        return Refusal.OUT_OF_ENVELOPE
    return None


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _string(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= 100:
        raise AssignmentError(f"{key} is {value!r}, accepted: a text of 1 to 100 characters")
    return value


def _sequence(raw: dict[str, Any]) -> int:
    value = raw.get("sequence")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**53:
        raise AssignmentError(f"sequence is {value!r}, accepted: a whole number from 1")
    return value


def _direction(raw: dict[str, Any]) -> Direction:
    try:
        return Direction(str(raw.get("direction")))
    except ValueError:
        raise AssignmentError(f"direction is {raw.get('direction')!r}, accepted: low, high, both") from None


def _part(raw: dict[str, Any], key: str, kind: type[P]) -> P | None:
    """Read an optional object whose fields are all numbers; an absent one is None."""
    value = raw.get(key)
    if value is None:
        return None
    names = [field.name for field in fields(kind)]
    if not isinstance(value, dict) or sorted(value) != sorted(names):
        raise AssignmentError(f"{key} is {value!r:.80}, accepted: an object of {', '.join(names)}")
    try:
        return kind(**{name: _finite(value[name], f"{key}.{name}") for name in names})
    except CurveError as error:
        raise AssignmentError(str(error)) from None


def _finite(value: object, key: str) -> float:
    # A whole number beyond all floats would raise inside isfinite; infinities and NaN fail the comparison.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise AssignmentError(f"{key} is {value!r:.80}, accepted: a finite number")
    return float(value)


def _number(raw: dict[str, Any], key: str, low: float, high: float) -> float:
    value = _finite(raw.get(key), key)
    if not low <= value <= high:
        raise AssignmentError(f"{key} is {value}, accepted: {low} to {high}")
    return value


def _instant(raw: dict[str, Any], key: str) -> datetime:
    value = raw.get(key)
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise AssignmentError(f"{key} is {value!r}, accepted: an ISO 8601 instant with its offset")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise AssignmentError(f"{key} is {value!r}, accepted: an instant within the calendar in UTC") from None
