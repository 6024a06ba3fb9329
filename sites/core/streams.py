"""Setpoint streams for regulation: what a site grants a fleet-wide signal, and the signal itself.

A curve answers the site's own frequency. Regulation (PJM RegD, CAISO, China AGC) asks for a new power every few
seconds instead. A site is granted its part of that ahead of time, as with a curve: so much power each way, for a
window. The signal is one normalized number for all sites, signed, numbered and short-lived, so that one message
in two seconds steers ten thousand sites, and a site that hears none returns to nothing by itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sites.core import bodies
from sites.core.assignments import MAX_POWER_KW, Refusal
from sites.core.bodies import BodyError
from sites.core.envelope import OperatingEnvelope
from sites.core.intervals import Interval, IntervalError

GRANT_VERSION: Final = 1
SIGNAL_VERSION: Final = 1
KIND: Final = "setpoint-stream"
MAX_SIGNAL_S: Final = 60.0
"""A signal that claims to be valid for longer is refused: a site must never follow an old one for long [s]."""
MAX_AHEAD_S: Final = 5.0
"""A signal issued further ahead of the site's clock is refused [s]."""


class SignalRefusal(StrEnum):
    """Why a site does not follow a signal."""

    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    KEY_WITHDRAWN = "key_withdrawn"
    FOREIGN = "foreign"
    """Of a stream that the site holds no grant of."""
    CLOSED = "closed"
    """Outside the grant's window."""
    REPLAYED = "replayed"
    """Its sequence is the one followed now."""
    REORDERED = "reordered"
    """Its sequence is below the one followed now."""
    STALE = "stale"
    """Its validity has ended by the site's clock."""
    AHEAD = "ahead"
    """Issued in the future by the site's clock."""


@dataclass(frozen=True, slots=True)
class StreamGrant:
    """One site's part of a setpoint stream. It lapses by itself at ``ends_at``."""

    assignment_id: str
    site_id: str
    sequence: int
    """Rises with every change of the site's desired state, from 1."""
    dispatch_id: str
    """Joins the books; the same for all sites of one stream."""
    stream: str
    """Whose signal is followed: the last level of its topic."""
    up_kw: float
    """Power at signal +1, into the site's bus [kW, >= 0]."""
    down_kw: float
    """Power at signal −1, out of the site's bus [kW, >= 0]. Both 0 withdraw the grant."""
    max_age_s: float
    """The last signal is held for so long after it came [s]; then the site ramps to nothing."""
    ramp_per_s: float
    """Fastest change, share of the larger power per second [1/s]."""
    starts_at: datetime
    ends_at: datetime

    @property
    def window(self) -> Interval:
        """The period in which the site follows."""
        return Interval(self.starts_at, self.ends_at)

    @property
    def power_kw(self) -> float:
        """The larger of both powers [kW]; 0 withdraws."""
        return max(self.up_kw, self.down_kw)

    def target_kw(self, value: float) -> float:
        """Return the power for a normalized value [kW], positive into the site's bus."""
        return value * (self.up_kw if value > 0.0 else self.down_kw)

    def to_bytes(self) -> bytes:
        """Return the body that is signed and sent."""
        return bodies.packed(
            {
                "v": GRANT_VERSION,
                "kind": KIND,
                "assignment_id": self.assignment_id,
                "site_id": self.site_id,
                "sequence": self.sequence,
                "dispatch_id": self.dispatch_id,
                "stream": self.stream,
                "up_kw": self.up_kw,
                "down_kw": self.down_kw,
                "max_age_s": self.max_age_s,
                "ramp_per_s": self.ramp_per_s,
                "starts_at": bodies.text(self.starts_at),
                "ends_at": bodies.text(self.ends_at),
            }
        )

    @property
    def content_hash(self) -> str:
        """SHA-256 over the body, hexadecimal: what desired and reported state agree on."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class SetpointSignal:
    """One value of a stream for all sites."""

    stream: str
    sequence: int
    """Rises with every value, over restarts and changes of the sender too."""
    issued_at: datetime
    valid_until: datetime
    value: float
    """−1 to 1."""

    def to_bytes(self) -> bytes:
        """Return the body that is signed and broadcast."""
        return bodies.packed(
            {
                "v": SIGNAL_VERSION,
                "stream": self.stream,
                "sequence": self.sequence,
                "issued_at": bodies.text(self.issued_at),
                "valid_until": bodies.text(self.valid_until),
                "value": self.value,
            }
        )


def grant_from_bytes(body: bytes) -> StreamGrant:
    """Read a grant's body; raise BodyError naming the field, what it held and what is accepted."""
    raw = bodies.object_from(body)
    _version(raw, GRANT_VERSION)
    if raw.get("kind") != KIND:
        raise BodyError(f"kind is {raw.get('kind')!r:.80}, accepted: {KIND}")
    grant = StreamGrant(
        assignment_id=bodies.string(raw, "assignment_id"),
        site_id=bodies.string(raw, "site_id"),
        sequence=bodies.sequence(raw),
        dispatch_id=bodies.string(raw, "dispatch_id"),
        stream=bodies.string(raw, "stream"),
        up_kw=bodies.number(raw, "up_kw", 0.0, MAX_POWER_KW),
        down_kw=bodies.number(raw, "down_kw", 0.0, MAX_POWER_KW),
        max_age_s=bodies.number(raw, "max_age_s", 0.1, MAX_SIGNAL_S),
        ramp_per_s=bodies.number(raw, "ramp_per_s", 0.001, 1000.0),
        starts_at=bodies.instant(raw, "starts_at"),
        ends_at=bodies.instant(raw, "ends_at"),
    )
    try:
        Interval(grant.starts_at, grant.ends_at)
    except IntervalError as error:
        raise BodyError(str(error)) from None
    return grant


def signal_from_bytes(body: bytes) -> SetpointSignal:
    """Read a signal's body; raise BodyError naming the field, what it held and what is accepted."""
    raw = bodies.object_from(body)
    _version(raw, SIGNAL_VERSION)
    signal = SetpointSignal(
        stream=bodies.string(raw, "stream"),
        sequence=bodies.sequence(raw),
        issued_at=bodies.instant(raw, "issued_at"),
        valid_until=bodies.instant(raw, "valid_until"),
        value=bodies.number(raw, "value", -1.0, 1.0),
    )
    valid_s = (signal.valid_until - signal.issued_at).total_seconds()
    if not 0.0 < valid_s <= MAX_SIGNAL_S:
        raise BodyError(f"valid_until is {valid_s:g} s after issued_at, accepted: more than 0, up to {MAX_SIGNAL_S:g}")
    return signal


def judge_grant(
    grant: StreamGrant, *, held: StreamGrant | None, envelope: OperatingEnvelope, locked_out: bool, at: datetime
) -> Refusal | None:
    """Tell why a site must refuse a grant, or None when it takes it; ``envelope`` is what its curve leaves."""
    if grant.site_id != envelope.site_id:
        return Refusal.WRONG_SITE
    if held is not None and grant.sequence < held.sequence:
        return Refusal.STALE
    if held is not None and grant.sequence == held.sequence:
        return None if grant == held else Refusal.REPEATED
    if grant.ends_at <= at:
        return Refusal.EXPIRED
    if grant.power_kw == 0.0:
        return None
    if locked_out:
        return Refusal.LOCKED_OUT
    # A tenth of a per cent: the allocation was computed on an envelope a few seconds older.
    if grant.up_kw > envelope.discharge_kw * 1.001 + 1e-9 or grant.down_kw > envelope.charge_kw * 1.001 + 1e-9:
        return Refusal.OUT_OF_ENVELOPE
    return None


def judge_signal(
    signal: SetpointSignal, *, grant: StreamGrant | None, last_sequence: int, at: datetime
) -> SignalRefusal | None:
    """Tell why a site does not follow a signal, or None when it does."""
    if grant is None or signal.stream != grant.stream:
        return SignalRefusal.FOREIGN
    if at not in grant.window:
        return SignalRefusal.CLOSED
    if signal.sequence == last_sequence:
        return SignalRefusal.REPLAYED
    if signal.sequence < last_sequence:
        return SignalRefusal.REORDERED
    if signal.valid_until <= at:
        return SignalRefusal.STALE
    if signal.issued_at - at > timedelta(seconds=MAX_AHEAD_S):
        return SignalRefusal.AHEAD
    return None


def _version(raw: dict[str, Any], known: int) -> None:
    if raw.get("v") != known or isinstance(raw.get("v"), bool):
        raise BodyError(f"v is {raw.get('v')!r:.80}, accepted: {known}")


@dataclass(frozen=True, slots=True)
class StreamProduct:
    """A regulation product, as far as granting and following it needs."""

    name: str
    period_s: float
    """Between two values of the signal [s]."""
    max_age_s: float
    """A site holds a value for so long [s]: two values may be lost, not three."""
    ramp_per_s: float
    """Fastest change at a site, share of its power per second [1/s]."""
    sustain_s: float
    """Full power one way is kept up for so long [s]; sizes the energy behind the power."""
    source: str
    certainty: str
    sign: int = 0
    """+1: into the bus alone, -1: out of it alone, 0: both ways."""
    is_planned: bool = False
    """The plan is known ahead, so that the dispatcher tells it itself; otherwise the operator's signal is passed on."""


def _regulation(
    name: str, *, period_s: float, sustain_s: float, source: str, certainty: str = "U", sign: int = 0
) -> StreamProduct:
    """Return a product that follows the operator's signal: three values of it may be missing, two may not."""
    return StreamProduct(
        name=name, period_s=period_s, max_age_s=3.0 * period_s + 1.0, ramp_per_s=0.5, sustain_s=sustain_s, sign=sign,
        source=f"{source}; ramp and age are ours", certainty=certainty,
    )  # fmt: skip


def _instruction(name: str, *, sustain_s: float, sign: int, ramp_per_s: float) -> StreamProduct:
    """Return a product whose plan the dispatcher tells, again and again: a site that lost three values lets go."""
    return StreamProduct(
        name=name, period_s=5.0, max_age_s=16.0, ramp_per_s=ramp_per_s, sustain_s=sustain_s, sign=sign, is_planned=True,
        source="ours: an operator orders a power and leaves the way to it open", certainty="U",
    )  # fmt: skip


STREAM_PRODUCTS: Final = {
    row.name: row
    for row in (
        StreamProduct(
            name="pjm-regd", period_s=2.0, max_age_s=7.0, ramp_per_s=0.5, sustain_s=900.0, certainty="M",
            source="PJM regulation, 2 s signal (Manual 12, second-hand), neutral within 15 min; ramp and age are ours",
        ),
        StreamProduct(
            name="caiso-agc", period_s=4.0, max_age_s=13.0, ramp_per_s=0.5, sustain_s=900.0, certainty="U",
            source="CAISO automatic generation control, 4 s from memory; the rest as pjm-regd",
        ),
        StreamProduct(
            name="cn-agc", period_s=4.0, max_age_s=25.0, ramp_per_s=0.25, sustain_s=900.0, certainty="U",
            source="Chinese AGC, 4 to 8 s from memory: three values of 8 s; the rest unsure",
        ),
        _regulation("pjm-rega", period_s=2.0, sustain_s=900.0, certainty="M", source="as pjm-regd, the slow signal"),
        _regulation("pjm-reg", period_s=2.0, sustain_s=900.0, source="as pjm-regd until the manual is read"),
        _regulation("ercot-reg-up", period_s=4.0, sustain_s=3600.0, sign=1, source="ERCOT LFC, 4 s"),
        _regulation("ercot-reg-down", period_s=4.0, sustain_s=3600.0, sign=-1, source="ERCOT LFC, 4 s"),
        _regulation("cn-agc-south", period_s=8.0, sustain_s=3600.0, source="as cn-agc, 8 s"),
        _regulation("cn-agc-north", period_s=8.0, sustain_s=3600.0, source="as cn-agc, 8 s"),
        _instruction("energy-dispatch", sustain_s=3600.0, sign=0, ramp_per_s=0.05),
        _instruction("ercot-ers-10", sustain_s=14_400.0, sign=1, ramp_per_s=0.01),
        _instruction("ercot-ers-30", sustain_s=14_400.0, sign=1, ramp_per_s=0.01),
    )
}  # fmt: skip


def stream_product(name: str) -> StreamProduct:
    """Return a regulation product; raise KeyError naming what is known otherwise."""
    try:
        return STREAM_PRODUCTS[name]
    except KeyError:
        known = ", ".join(sorted(STREAM_PRODUCTS))
        raise KeyError(f"stream product {name!r} is not in the catalogue, accepted: {known}") from None
