"""The form that every baseline method has: its rule with a source, what it is asked, what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, Protocol

import numpy as np

from markets.core.baselines.local_days import LocalCalendar
from markets.core.baselines.meter import BaselineError, MeterPlace, MeterSeries
from markets.core.baselines.schedule import DeclaredSchedule
from markets.core.product import Certainty
from sites.core.curves import FloatArray
from sites.core.intervals import Interval

DEFAULT_GAP_SHARE: Final = 0.1


class TooFewDays(BaselineError):
    """The look-back holds fewer days like the event's than the rule takes."""

    def __init__(self, message: str, *, found: int, needed: int) -> None:
        super().__init__(message)
        self.found = found
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Rule:
    """What a method is and where that is known from."""

    name: str
    title: str
    text: str
    certainty: Certainty
    source: str
    aliases: tuple[str, ...] = ()
    place: MeterPlace = MeterPlace.CONNECTION
    """Where the meter sits that the rule is usually applied to."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a contract adds to a method's rule; a method refuses the terms that it does not read."""

    schedule: DeclaredSchedule | None = None
    """Power plan declared before the event, positive into the bus."""
    firm_kw: float | None = None
    """Consumption to stay under in the event [kW]."""
    reference_kw: float | None = None
    """Consumption that a reduction is counted from, such as a peak load contribution [kW]."""
    readings_before: int | None = None
    """Readings just before the event that are averaged; one unless said."""
    is_adjusted: bool | None = None
    """Whether the event day's own level moves the baseline; the rule's own way unless said."""
    premise: MeterSeries | None = None
    """The meter of the connection behind which the device sits: shows what was exported."""

    def given(self) -> frozenset[str]:
        """Return the names of the terms that are set."""
        return frozenset(entry.name for entry in fields(self) if getattr(self, entry.name) is not None)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a method is asked."""

    meter: MeterSeries
    event: Interval
    """Begins and ends on boundaries of the meter's readings."""
    calendar: LocalCalendar
    event_days: frozenset[date] = frozenset()
    """Local days of other events; the event's own need not be named."""
    terms: Terms = field(default_factory=Terms)
    max_gap_share: float = DEFAULT_GAP_SHARE
    """Share of what a method reads of a day, or of the event, that may be missing [0 to 1]."""

    def __post_init__(self) -> None:
        meter, event = self.meter, self.event
        if not 0.0 <= self.max_gap_share < 1.0:
            raise BaselineError(f"max_gap_share is {self.max_gap_share}, accepted: 0 or more and less than 1")
        for name, at in (("starts", event.starts_at), ("ends", event.ends_at)):
            position = meter.position(at)
            if position != round(position):
                below = meter.starts_at + timedelta(seconds=meter.resolution_s * int(position // 1))
                above = below + timedelta(seconds=meter.resolution_s)
                raise BaselineError(
                    f"the event {name} at {at.isoformat()} within a reading of {meter.resolution_s} s, accepted: the "
                    f"boundary of one, such as {below.isoformat()} or {above.isoformat()}"
                )
        period = meter.period
        if event.starts_at < period.starts_at or event.ends_at > period.ends_at:
            raise BaselineError(
                f"the event runs from {event.starts_at.isoformat()} to {event.ends_at.isoformat()}, accepted: within "
                f"the readings, {period.starts_at.isoformat()} to {period.ends_at.isoformat()}"
            )

    @property
    def measured_kw(self) -> FloatArray:
        """What the meter showed in the event, reading by reading [kW]."""
        return self.meter.readings_kw(self.event)


class Exclusion(StrEnum):
    """Why a day of the look-back is not in a baseline."""

    EVENT_DAY = "event day"
    OTHER_KIND = "other kind of day"
    GAP = "gap in the readings"
    NO_SUCH_TIME = "its clock skips the event's hours"
    LOW_USAGE = "low usage"
    NOT_HIGHEST = "not among the highest"


@dataclass(frozen=True, slots=True)
class ExcludedDay:
    """A day that was looked at and left out."""

    day: date
    reason: Exclusion
    detail: str


class AdjustmentKind(StrEnum):
    """How the event day's own level moves a baseline."""

    RATIO = "ratio"
    """Multiplied by a factor [-]."""
    ADDITIVE = "additive"
    """Shifted by a power [kW]."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """By how much the event day before the event stood above the days of the baseline."""

    kind: AdjustmentKind
    window: Interval
    raw: float | None
    """Factor [-] or shift [kW] as measured; None when it could not be told."""
    applied: float
    """As applied: within the cap; 1 or 0 when it could not be told."""
    cap: float | None
    """Largest part by which a factor may differ from 1 [-]; None: no cap."""
    note: str = ""

    @property
    def is_capped(self) -> bool:
        """Tell whether the cap held it back."""
        return self.raw is not None and self.raw != self.applied


@dataclass(frozen=True, slots=True)
class BaselineInterval:
    """One reading of the event against its baseline; consumption positive."""

    period: Interval
    baseline_kw: float
    measured_kw: float | None
    """None: no reading."""
    limit_kw: float | None = None
    """Consumption to stay under, for a method that has one [kW]."""

    @property
    def saving_kw(self) -> float | None:
        """Baseline less measured [kW]: positive is what the grid was given; None without a reading."""
        return None if self.measured_kw is None else self.baseline_kw - self.measured_kw

    @property
    def saving_kwh(self) -> float | None:
        """The same as energy [kWh]."""
        return None if self.saving_kw is None else self.saving_kw * self.period.duration_h

    @property
    def is_kept(self) -> bool | None:
        """Whether consumption stayed under the limit; None without a limit or a reading."""
        if self.limit_kw is None or self.measured_kw is None:
            return None
        return self.measured_kw <= self.limit_kw


@dataclass(frozen=True, slots=True)
class Baseline:
    """A method's answer."""

    rule: Rule
    intervals: tuple[BaselineInterval, ...]
    days_used: tuple[date, ...] = ()
    days_excluded: tuple[ExcludedDay, ...] = ()
    adjustment: Adjustment | None = None
    notes: tuple[str, ...] = ()

    @property
    def saving_kwh(self) -> float:
        """Saving of the whole event [kWh]; a reading that is missing saves nothing."""
        return float(sum(interval.saving_kwh or 0.0 for interval in self.intervals))

    @property
    def gap_share(self) -> float:
        """Share of the event without a reading [0 to 1]."""
        return sum(interval.measured_kw is None for interval in self.intervals) / len(self.intervals)


class Method(Protocol):
    """One way to tell what a meter would have shown without the event."""

    @property
    def rule(self) -> Rule:
        """What it is."""

    @property
    def reads(self) -> frozenset[str]:
        """Names of the terms that it reads."""

    def baseline(self, inputs: Inputs) -> Baseline:
        """Return the baseline of an event; raise BaselineError when the inputs do not carry one."""


def event_intervals(
    inputs: Inputs, baseline_kw: FloatArray, *, limit_kw: float | None = None
) -> tuple[BaselineInterval, ...]:
    """Return the event's readings against their baselines.

    Raises BaselineError when more of the event is missing than the inputs allow.
    """
    measured_kw = inputs.measured_kw
    require_coverage(measured_kw, inputs.max_gap_share, "the event's own readings")
    periods = inputs.event.split(timedelta(seconds=inputs.meter.resolution_s))
    return tuple(
        BaselineInterval(period, float(base), float(measured) if np.isfinite(measured) else None, limit_kw)
        for period, base, measured in zip(periods, baseline_kw, measured_kw, strict=True)
    )


def require_coverage(values: FloatArray, max_gap_share: float, what: str) -> None:
    """Raise BaselineError when more of some readings is missing than is allowed, or all of them."""
    missing = int(np.count_nonzero(~np.isfinite(values)))
    if missing == values.size or missing > max_gap_share * values.size:
        raise BaselineError(
            f"{what}: {missing} of {values.size} are missing, accepted: a share of {max_gap_share:g} at most"
        )


def require_terms(method: Method, given: frozenset[str], *needed: str) -> None:
    """Raise BaselineError for a term that a method does not read, or for one that it needs and was not given."""
    unread = sorted(given - method.reads)
    if unread:
        accepted: Sequence[str] = sorted(method.reads) or ["none"]
        raise BaselineError(
            f"method {method.rule.name!r} does not read {', '.join(unread)}, accepted: {', '.join(accepted)}"
        )
    missing = [name for name in needed if name not in given]
    if missing:
        raise BaselineError(f"method {method.rule.name!r} needs {', '.join(missing)}")
