"""What an operator asks to be told, how often, and what is refused by name; pure.

Two forms: a telemetry order samples a resource at even instants and reports each so often (OpenADR 2.0b); a list of
intervals is reported interval by interval (history of 2.0b, reports on an event of OpenADR 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FASTEST_S: Final = 1
"""Sites tell their values once a second."""
SLOWEST_S: Final = 3_600
LONGEST_BACK_S: Final = 86_400
LONGEST_HISTORY: Final = timedelta(days=31)
MAX_VALUES: Final = 1_440
"""Values in one report, a day of minutes: a message of 975 kB with the longest names."""
MAX_ORDERS: Final = 64
"""Reports that one operator may have running."""
METERED_AFTER: Final = timedelta(seconds=75)
"""An interval's energy is told so long after its end, when sites have sent its last minute."""


class ReportRefused(ValueError):
    """A report that we do not make; ``name`` says why, the message what is accepted."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Asked:
    """What one report request asks for, as received."""

    order_id: str
    """The operator's id of it."""
    specifier: str
    points: tuple[str, ...]
    granularity_s: float
    """Time between samples [s]; 0: one report, now."""
    back_s: float
    """Time between reports [s]; 0: one report."""
    starts_at: datetime | None = None
    duration_s: float | None = None
    """How long the report goes on, or the length of history [s]; 0 or None: without end."""


@dataclass(frozen=True, slots=True)
class Specifier:
    """A report that we offer."""

    name: str
    points: frozenset[str]
    is_history: bool
    fastest_s: int
    slowest_s: int


@dataclass(frozen=True, slots=True)
class Order:
    """A report that we make."""

    order_id: str
    specifier: str
    points: tuple[str, ...]
    granularity_s: int
    back_s: int
    """0: one report."""
    starts_at: datetime
    ends_at: datetime | None
    """None: until it is taken back."""
    is_history: bool

    @property
    def is_once(self) -> bool:
        """Tell whether it is done after one report."""
        return self.back_s == 0


def accepted(asked: Asked, offered: Mapping[str, Specifier], *, running: int, at: datetime) -> Order:
    """Return the order that a request makes; raises ReportRefused by name."""
    specifier = offered.get(asked.specifier)
    if specifier is None:
        raise ReportRefused("report_unknown", f"{asked.specifier[:64]!r}, offered: {', '.join(sorted(offered))}")
    if not asked.order_id or len(asked.order_id) > 128 or not asked.order_id.isprintable():
        raise ReportRefused("order_id_invalid", f"{asked.order_id[:40]!r}, accepted: 1 to 128 printable characters")
    if running >= MAX_ORDERS:
        raise ReportRefused("too_many_reports", f"{running} are running, accepted: {MAX_ORDERS}")
    if not asked.points:
        raise ReportRefused("report_points_missing", "no rID, accepted: one or more of those offered")
    foreign = sorted(set(asked.points) - specifier.points)
    if foreign:
        raise ReportRefused("report_point_unknown", f"rID {foreign[0][:64]!r} is not in {specifier.name}")
    return _history(asked, specifier) if specifier.is_history else _telemetry(asked, specifier, at)


def _telemetry(asked: Asked, specifier: Specifier, at: datetime) -> Order:
    starts_at = asked.starts_at or at
    if asked.granularity_s == 0 or asked.back_s == 0:
        return Order(asked.order_id, specifier.name, asked.points, 0, 0, starts_at, None, False)
    granularity_s = _rate(asked.granularity_s, specifier)
    back_s = asked.back_s
    if back_s != int(back_s) or back_s % granularity_s or not granularity_s <= back_s <= LONGEST_BACK_S:
        raise ReportRefused(
            "report_back_uneven",
            f"each {back_s:g} s a report of samples each {granularity_s} s, accepted: a multiple to {LONGEST_BACK_S} s",
        )
    _require_size(int(back_s) // granularity_s * len(asked.points))
    ends_at = _end(starts_at, asked.duration_s) if asked.duration_s else None
    return Order(
        asked.order_id, specifier.name, asked.points, granularity_s, int(back_s), starts_at, ends_at, False
    )  # fmt: skip


def _history(asked: Asked, specifier: Specifier) -> Order:
    if asked.starts_at is None or not asked.duration_s:
        raise ReportRefused(
            "duration_endless", f"a history without start or end, accepted: up to {LONGEST_HISTORY.days} days"
        )
    granularity_s = _rate(asked.granularity_s, specifier)
    ends_at = _end(asked.starts_at, asked.duration_s)
    if ends_at - asked.starts_at > LONGEST_HISTORY:
        raise ReportRefused(
            "duration_endless", f"a history of {asked.duration_s:g} s, accepted: up to {LONGEST_HISTORY.days} days"
        )
    if asked.duration_s % granularity_s:
        raise ReportRefused(
            "report_back_uneven", f"{asked.duration_s:g} s in steps of {granularity_s} s, accepted: a multiple"
        )
    if asked.starts_at != floored(asked.starts_at, granularity_s):
        raise ReportRefused(
            "start_uneven", f"{asked.starts_at.isoformat()}, accepted: an instant on the grid of {granularity_s} s"
        )
    _require_size(int(asked.duration_s) // granularity_s * len(asked.points))
    return Order(asked.order_id, specifier.name, asked.points, granularity_s, 0, asked.starts_at, ends_at, True)


def _rate(granularity_s: float, specifier: Specifier) -> int:
    words = f"one value each {granularity_s:g} s, accepted: {specifier.fastest_s} to {specifier.slowest_s} s, whole"
    if granularity_s < specifier.fastest_s:
        raise ReportRefused("rate_too_fast", words)
    if granularity_s > specifier.slowest_s or granularity_s != int(granularity_s):
        raise ReportRefused("rate_unsupported", words)
    return int(granularity_s)


def _end(starts_at: datetime, duration_s: float) -> datetime:
    try:
        return starts_at + timedelta(seconds=duration_s)
    except OverflowError:
        raise ReportRefused("duration_endless", f"{duration_s:g} s, accepted: an end that a date can name") from None


def _require_size(values: int) -> None:
    if values > MAX_VALUES:
        raise ReportRefused("report_too_large", f"{values} values in one report, accepted: {MAX_VALUES}")


def floored(at: datetime, step_s: int) -> datetime:
    """Return the last instant on the grid of whole steps since 1970 UTC."""
    return at - (at - EPOCH) % timedelta(seconds=step_s)


def next_sample_at(order: Order, *, after: datetime) -> datetime | None:
    """Return the first instant after ``after`` at which a telemetry order is sampled; None after its end.

    Samples lie on whole multiples of the granularity, so that those of many reports fall together.
    """
    begins = max(after, order.starts_at - timedelta(microseconds=1))
    found = floored(begins, order.granularity_s) + timedelta(seconds=order.granularity_s)
    return None if order.ends_at is not None and found > order.ends_at else found


def sample_instants(order: Order, *, after: datetime, through: datetime) -> list[datetime]:
    """Return the sample instants in ``(after, through]`` that lie in the order's time."""
    instants = []
    found = next_sample_at(order, after=after)
    while found is not None and found <= through:
        instants.append(found)
        found = next_sample_at(order, after=found)
    return instants


def due_through(order: Order, *, sent_through: datetime, at: datetime) -> datetime | None:
    """Return the end of the report that is due by now, or None: a multiple of the report-back time, or the end.

    Where several are due (the operator was away) it is the last one: they go out as one, cut to what is kept.
    """
    end = floored(at, order.back_s)
    if order.ends_at is not None and at >= order.ends_at:
        end = order.ends_at
    return end if end > max(sent_through, order.starts_at) else None


def history_steps(order: Order) -> list[tuple[datetime, datetime]]:
    """Return the intervals of a history, in order."""
    step = timedelta(seconds=order.granularity_s)
    if order.ends_at is None:
        raise ValueError(f"order {order.order_id} is a history without an end")
    count = (order.ends_at - order.starts_at) // step
    return [(order.starts_at + step * number, order.starts_at + step * (number + 1)) for number in range(count)]


# --- OpenADR 3 -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reportDescriptor of an event, with the specification's defaults."""

    payload_type: str
    units: str = ""
    is_aggregate: bool = False
    start_interval: int = -1
    """Interval at whose beginning the first report is made; -1: at the end of the last one."""
    num_intervals: int = -1
    """Intervals in a report; -1: all."""
    is_historical: bool = True
    frequency: int = -1
    """Intervals between reports; -1: as many as are in one."""
    repeat: int = 1
    """Reports; -1: until the event ends."""


@dataclass(frozen=True, slots=True)
class PlannedReport:
    """One report on an event: which of its intervals, and when."""

    number: int
    """Counts from 0 within its descriptor."""
    due_at: datetime
    first: int
    """Position of its first interval."""
    end: int
    """Position after its last one."""


def planned(descriptor: Descriptor, intervals: Sequence[tuple[datetime, datetime]]) -> list[PlannedReport]:
    """Return the reports that a descriptor asks for on an event's intervals; raises ReportRefused by name.

    A report is made at the beginning of an interval and holds those before it; one that would hold none is left
    out. With ``start_interval`` -1 the first and only one holds the last intervals.
    """
    count = len(intervals)
    if not intervals:
        raise ReportRefused("event_without_intervals", "nothing to report on, accepted: an event with intervals")
    if not descriptor.is_historical:
        raise ReportRefused("forecast_unsupported", "historical is false, accepted: true")
    for name in ("start_interval", "num_intervals", "frequency", "repeat"):
        value = getattr(descriptor, name)
        if value < -1 or (value == 0 and name != "start_interval"):
            raise ReportRefused("descriptor_invalid", f"{name} is {value}, accepted: -1, or 1 and more")
    shortest_s = min((ends - starts).total_seconds() for starts, ends in intervals)
    longest_s = max((ends - starts).total_seconds() for starts, ends in intervals)
    if shortest_s < FASTEST_S:
        raise ReportRefused("rate_too_fast", f"an interval of {shortest_s:g} s, accepted: {FASTEST_S} s and more")
    if longest_s > LONGEST_HISTORY.total_seconds():
        raise ReportRefused(
            "duration_endless", f"an interval of {longest_s:g} s, accepted: up to {LONGEST_HISTORY.days} days"
        )
    length = count if descriptor.num_intervals == -1 else descriptor.num_intervals
    step = length if descriptor.frequency == -1 else descriptor.frequency
    first = count if descriptor.start_interval == -1 else descriptor.start_interval
    if first > count:
        raise ReportRefused("descriptor_invalid", f"startInterval is {first}, accepted: up to {count}, or -1")
    reports = []
    number = 0
    end = first
    while end <= count and (descriptor.repeat == -1 or number < descriptor.repeat):
        if end > 0:
            due_at = intervals[end][0] if end < count else intervals[-1][1]
            reports.append(PlannedReport(number, due_at, max(0, end - length), end))
        number += 1
        end += step
    largest = max((report.end - report.first for report in reports), default=0)
    if largest > MAX_VALUES:
        raise ReportRefused("report_too_large", f"{largest} intervals in one report, accepted: {MAX_VALUES}")
    return reports
