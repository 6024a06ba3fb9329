"""Capacity limits: what a group of sites must not draw from, or feed into, the grid together; pure.

They cap what is allocated and promised. What a site draws for its own load nobody here can cap: that a limit is kept is
judged on the meter, and a site's own protection stays its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from markets.core.course import Course, pieces
from sites.core.envelope import OperatingEnvelope
from sites.core.intervals import Interval

FloatArray = npt.NDArray[np.float64]

SIGNALS: Final = {
    "capacity-limit-import": "IMPORT_CAPACITY_LIMIT",
    "capacity-limit-export": "EXPORT_CAPACITY_LIMIT",
}
"""OpenADR 3's payload type of each product; told as sizes in kW, of type ``limit``."""
SIGNAL_TYPE: Final = "limit"


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit in force on a group of sites."""

    members: AbstractSet[str]
    """Site ids."""
    is_import: bool
    """It bounds what flows in from the grid; otherwise what flows out."""
    power_kw: float
    """Of all members together [kW, >= 0]."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What a site takes in through its connection without any service."""

    net_import_kw: float | None
    """Positive from the grid [kW]; None: not known now."""
    import_limit_kw: float
    """Agreed at its connection [kW]: taken where the flow is not known."""
    export_limit_kw: float


def room_kw(bound: Bound, flows: Mapping[str, Flow]) -> float:
    """Return the service power that a bound leaves its members together [kW, >= 0].

    A member whose flow is not known counts with all that its connection may bear: unknown is not nothing.
    """
    used = []
    for site_id in sorted(bound.members):
        flow = flows.get(site_id)
        if flow is None:
            continue
        if flow.net_import_kw is None:
            used.append(flow.import_limit_kw if bound.is_import else flow.export_limit_kw)
        else:
            used.append(flow.net_import_kw if bound.is_import else -flow.net_import_kw)
    return max(0.0, bound.power_kw - math.fsum(used))


def capped(
    envelopes: Sequence[OperatingEnvelope],
    bounds: Sequence[Bound],
    flows: Mapping[str, Flow],
    serving_kw: Mapping[str, tuple[float, float]] | None = None,
) -> list[OperatingEnvelope]:
    """Return the envelopes with the headroom that all bounds leave; members give way in proportion to theirs.

    ``serving_kw`` is what members are asked for by others already, (into, out of) the bus [kW]: it takes from the room.
    Nothing is ever raised, and the sum of a bound's members fits its room whatever other bounds there are.
    """
    result = list(envelopes)
    for bound in bounds:
        way = 1 if bound.is_import else 0
        others_kw = math.fsum(
            powers[way] for site_id, powers in sorted((serving_kw or {}).items()) if site_id in bound.members
        )
        left_kw = max(0.0, room_kw(bound, flows) - others_kw)
        headroom = [_headroom_kw(envelope, bound) for envelope in result]
        total_kw = math.fsum(sorted(headroom))
        if total_kw > left_kw:
            result = [_scaled(envelope, bound, left_kw / total_kw) for envelope in result]
    return result


def _headroom_kw(envelope: OperatingEnvelope, bound: Bound) -> float:
    if envelope.site_id not in bound.members:
        return 0.0
    return envelope.charge_kw if bound.is_import else envelope.discharge_kw


def _scaled(envelope: OperatingEnvelope, bound: Bound, share: float) -> OperatingEnvelope:
    if envelope.site_id not in bound.members:
        return envelope
    if bound.is_import:
        return replace(envelope, charge_kw=envelope.charge_kw * share)
    return replace(envelope, discharge_kw=envelope.discharge_kw * share)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the meters say of a limit."""

    intervals: int
    """Of the window, as far as it is over."""
    within: int
    over: int
    missing: int
    """At least one member was not metered then: neither kept nor broken."""
    worst_at: datetime | None
    """Start of the interval that is most above its limit; None while none is judged."""
    worst_kw: float | None
    """Mean power of all members then, in the limit's way [kW]."""
    worst_limit_kw: float | None
    worst_over_kw: float | None
    """Above the limit [kW]; negative: so far below it at the nearest."""


def judged(
    course: Course, window: Interval, net_import_kw: FloatArray, *, is_import: bool, resolution_s: float
) -> Verdict:
    """Compare mean powers of all members with a limit, interval by interval from the window's start.

    ``net_import_kw`` is positive from the grid, NaN where a member was not metered. The limit of an interval over a
    step is the mean over its time, as the power is.
    """
    flow_kw = net_import_kw if is_import else -net_import_kw
    limits_kw = np.array([_mean_limit_kw(course, window, number, resolution_s) for number in range(flow_kw.size)])
    known = np.isfinite(flow_kw)
    over_kw = np.where(known, flow_kw - limits_kw, -np.inf)
    # A watt is what metering in whole microwatt-hours and a mean over minutes may be off.
    is_over = known & (over_kw > 1e-3)
    worst = int(np.argmax(over_kw)) if known.any() else None
    return Verdict(
        intervals=int(flow_kw.size),
        within=int((known & ~is_over).sum()),
        over=int(is_over.sum()),
        missing=int((~known).sum()),
        worst_at=None if worst is None else window.starts_at + timedelta(seconds=worst * resolution_s),
        worst_kw=None if worst is None else float(flow_kw[worst]),
        worst_limit_kw=None if worst is None else float(limits_kw[worst]),
        worst_over_kw=None if worst is None else float(over_kw[worst]),
    )


def _mean_limit_kw(course: Course, window: Interval, number: int, resolution_s: float) -> float:
    starts_at = window.starts_at + timedelta(seconds=number * resolution_s)
    part = Interval(starts_at, min(window.ends_at, starts_at + timedelta(seconds=resolution_s)))
    found = list(pieces(course, part)) if course else []
    return math.fsum(power_kw * piece.duration_s for piece, power_kw in found) / part.duration_s
