"""What a site is armed with: an expiring share of an obligation, as desired and reported state."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from sites.core import bodies
from sites.core.bodies import BodyError
from sites.core.curves import CurveError, Direction, Recovery, ResponseCurve, Trigger
from sites.core.envelope import OperatingEnvelope
from sites.core.intervals import Interval, IntervalError

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
    KEY_WITHDRAWN = "key_withdrawn"
    """Signed by a key that the platform has withdrawn."""
    WRONG_SITE = "wrong_site"
    STALE = "stale"
    """Its sequence is below the one that the site holds."""
    REPEATED = "repeated"
    """Its sequence is the held one but its content differs."""
    EXPIRED = "expired"
    OUT_OF_ENVELOPE = "out_of_envelope"
    LOCKED_OUT = "locked_out"


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
            "starts_at": bodies.text(self.starts_at),
            "ends_at": bodies.text(self.ends_at),
        }
        if self.trigger is not None:
            body["trigger"] = asdict(self.trigger)
        if self.recovery is not None:
            body["recovery"] = asdict(self.recovery)
        return bodies.packed(body)

    @property
    def content_hash(self) -> str:
        """SHA-256 over the body, hexadecimal: what desired and reported state agree on."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def assignment_from_bytes(body: bytes) -> Assignment:
    """Read an assignment's body.

    Raises BodyError naming the field, what it held and what is accepted.
    """
    raw = bodies.object_from(body)
    version = raw.get("v")
    if version not in (FORMAT_VERSION, EXTENDED_VERSION) or isinstance(version, bool):
        raise BodyError(f"v is {version!r}, accepted: {FORMAT_VERSION}, {EXTENDED_VERSION}")
    points = raw.get("points")
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise BodyError("points is not a list of pairs [deviation_hz, share]")
    assignment = Assignment(
        assignment_id=bodies.string(raw, "assignment_id"),
        site_id=bodies.string(raw, "site_id"),
        sequence=bodies.sequence(raw),
        dispatch_id=bodies.string(raw, "dispatch_id"),
        curve_name=bodies.string(raw, "curve_name"),
        direction=_direction(raw),
        points=tuple((bodies.finite(p[0], "points"), bodies.finite(p[1], "points")) for p in points),
        power_kw=bodies.number(raw, "power_kw", 0.0, MAX_POWER_KW),
        baseline_kw=bodies.number(raw, "baseline_kw", -MAX_POWER_KW, MAX_POWER_KW),
        starts_at=bodies.instant(raw, "starts_at"),
        ends_at=bodies.instant(raw, "ends_at"),
        trigger=_part(raw, "trigger", Trigger),
        recovery=_part(raw, "recovery", Recovery),
    )
    if version != assignment.format_version:
        raise BodyError(f"v is {version}, accepted for this content: {assignment.format_version}")
    try:
        Interval(assignment.starts_at, assignment.ends_at)
        curve_of(assignment)
    except (IntervalError, CurveError) as error:
        raise BodyError(str(error)) from None
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


def _direction(raw: dict[str, Any]) -> Direction:
    try:
        return Direction(str(raw.get("direction")))
    except ValueError:
        raise BodyError(f"direction is {raw.get('direction')!r}, accepted: low, high, both") from None


def _part(raw: dict[str, Any], key: str, kind: type[P]) -> P | None:
    """Read an optional object whose fields are all numbers; an absent one is None."""
    value = raw.get(key)
    if value is None:
        return None
    names = [field.name for field in fields(kind)]
    if not isinstance(value, dict) or sorted(value) != sorted(names):
        raise BodyError(f"{key} is {value!r:.80}, accepted: an object of {', '.join(names)}")
    try:
        return kind(**{name: bodies.finite(value[name], f"{key}.{name}") for name in names})
    except CurveError as error:
        raise BodyError(str(error)) from None
