"""The mean of days like the event's own, and the adjustment to how the event day itself began."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from markets.core.baselines.local_days import (
    ClockProfile,
    DayKind,
    IntArray,
    clock_profile,
    clock_step_s,
)
from markets.core.baselines.meter import BaselineError
from markets.core.baselines.method import (
    Adjustment,
    AdjustmentKind,
    Baseline,
    ExcludedDay,
    Exclusion,
    Inputs,
    Rule,
    TooFewDays,
    event_intervals,
    require_coverage,
    require_terms,
)
from sites.core.curves import FloatArray
from sites.core.intervals import Interval

LONGEST_EVENT: Final = timedelta(hours=24)
WEEKDAYS: Final = frozenset({DayKind.WEEKDAY})
DAYS_OFF: Final = frozenset({DayKind.SATURDAY, DayKind.SUNDAY, DayKind.HOLIDAY})


@dataclass(frozen=True, slots=True)
class DayChoice:
    """How many of which days."""

    kinds: frozenset[DayKind]
    """Kinds of the event's day that this is for, and of the days that are taken."""
    look_for: int
    """So many of the most recent ones."""
    keep: int
    """Of those, so many with the highest mean consumption in the event's hours."""


@dataclass(frozen=True, slots=True)
class AdjustmentRule:
    """How a method moves its baseline."""

    kind: AdjustmentKind
    from_h: float
    """The window begins so long before the event [h]."""
    to_h: float
    """It ends so long before the event [h]."""
    cap: float | None
    """Largest part by which a factor may differ from 1 [-]; None: no cap."""
    is_usual: bool = True
    """Applied unless the terms say otherwise."""

    def window(self, event: Interval) -> Interval:
        """Return the window before an event."""
        return Interval(event.starts_at - timedelta(hours=self.from_h), event.starts_at - timedelta(hours=self.to_h))


@dataclass(frozen=True, slots=True)
class DayMatching:
    """A method of this family; each program's own figures are its fields."""

    rule: Rule
    choices: tuple[DayChoice, ...]
    look_back_days: int
    """Local days before the event's that are looked at."""
    adjustment: AdjustmentRule | None
    low_usage_ratio: float | None = None
    """A day with less than this part of the mean of the days is left out [-]."""
    reads: frozenset[str] = field(default=frozenset({"is_adjusted"}))

    def baseline(self, inputs: Inputs) -> Baseline:
        """Return the mean of the days that the rule takes, adjusted; raise TooFewDays when they are too few."""
        require_terms(self, inputs.terms.given())
        if inputs.event.duration > LONGEST_EVENT:
            raise BaselineError(f"the event is {inputs.event.duration} long, accepted: {LONGEST_EVENT} at most")
        rule = self._adjustment_rule(inputs)
        chosen = choose_days(self, inputs, rule.window(inputs.event) if rule else None)
        baseline_kw = _mean_over_days(chosen.event_kw, "the event")
        adjustment = _adjustment(rule, inputs, chosen) if rule else None
        if adjustment is not None:
            ratio = adjustment.kind is AdjustmentKind.RATIO
            baseline_kw = baseline_kw * adjustment.applied if ratio else baseline_kw + adjustment.applied
        return Baseline(
            self.rule,
            event_intervals(inputs, baseline_kw),
            days_used=chosen.days,
            days_excluded=chosen.excluded,
            adjustment=adjustment,
        )

    def choice_for(self, kind: DayKind) -> DayChoice:
        """Return what is taken for an event on a kind of day; raise BaselineError when the rule names no such day."""
        for choice in self.choices:
            if kind in choice.kinds:
                return choice
        accepted = ", ".join(sorted(kind.value for choice in self.choices for kind in choice.kinds))
        raise BaselineError(f"the event is on a {kind.value}, accepted by {self.rule.name}: {accepted}")

    def _adjustment_rule(self, inputs: Inputs) -> AdjustmentRule | None:
        wanted = inputs.terms.is_adjusted
        if self.adjustment is None:
            return None
        return self.adjustment if (self.adjustment.is_usual if wanted is None else wanted) else None


@dataclass(frozen=True, slots=True)
class ChosenDays:
    """The days of a baseline and what the meter showed on them."""

    days: tuple[date, ...]
    """Newest first."""
    excluded: tuple[ExcludedDay, ...]
    event_kw: FloatArray
    """At the event's clock times [kW], shape ``(days, readings of the event)``; NaN where unknown."""
    before_kw: FloatArray
    """At the clock times of the adjustment's window, likewise; no column without one."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    day: date
    event_kw: FloatArray
    before_kw: FloatArray
    mean_kw: float


class _ClockWindow:
    """A window of readings, as clock times of its own days, ready to be looked up on other days."""

    def __init__(self, inputs: Inputs, window: Interval) -> None:
        meter = inputs.meter
        step_s = clock_step_s(meter)
        ordinals, slots = inputs.calendar.clock(window, step_s)
        per_reading = meter.resolution_s // step_s
        anchor = inputs.calendar.date_of(inputs.event.starts_at).toordinal()
        self.offsets: IntArray = (ordinals - anchor).reshape(-1, per_reading)
        self.slots: IntArray = slots.reshape(-1, per_reading)

    def on(self, day: date, profiles: _Profiles) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Return each reading's mean on a day [kW], and where the day has no reading though its clock has the time."""
        powers = np.full(self.slots.shape, np.nan)
        exists = np.zeros(self.slots.shape, dtype=np.bool_)
        for offset in np.unique(self.offsets):
            here = self.offsets == offset
            profile = profiles.on(day + timedelta(days=int(offset)))
            powers[here] = profile.mean_kw[self.slots[here]]
            exists[here] = profile.exists[self.slots[here]]
        missing = (exists & ~np.isfinite(powers)).any(axis=1)
        counts = exists.sum(axis=1)
        means = np.full(len(powers), np.nan)
        np.divide(np.where(exists, powers, 0.0).sum(axis=1), counts, out=means, where=(counts > 0) & ~missing)
        return means, missing


class _Profiles:
    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._known: dict[date, ClockProfile] = {}

    def on(self, day: date) -> ClockProfile:
        if day not in self._known:
            self._known[day] = clock_profile(self._inputs.meter, self._inputs.calendar, day)
        return self._known[day]


def choose_days(method: DayMatching, inputs: Inputs, before: Interval | None) -> ChosenDays:
    """Return the days that a rule takes for an event, newest first, and those that it left out and why.

    A day is judged by what is read of it: the clock times of the event and of the adjustment's window. Raises
    TooFewDays naming how many were found and needed.
    """
    anchor = inputs.calendar.date_of(inputs.event.starts_at)
    choice = method.choice_for(inputs.calendar.kind_of(anchor))
    excluded: list[ExcludedDay] = []
    walk = _candidates(method, choice, inputs, before, excluded)
    found: list[_Candidate] = []
    while len(found) < choice.look_for:
        candidate = next(walk, None)
        if candidate is None:
            raise _too_few(method, choice, len(found), excluded)
        found.append(candidate)
        if len(found) == choice.look_for and method.low_usage_ratio is not None:
            found = _without_low_usage(found, method.low_usage_ratio, excluded)
    kept = sorted(found, key=lambda row: (-row.mean_kw, -row.day.toordinal()))[: choice.keep]
    days = {row.day for row in kept}
    for row in found:
        if row.day not in days:
            detail = f"{row.mean_kw:.3f} kW in the event's hours, {choice.keep} of {choice.look_for} are kept"
            excluded.append(ExcludedDay(row.day, Exclusion.NOT_HIGHEST, detail))
    kept.sort(key=lambda row: row.day, reverse=True)
    return ChosenDays(
        tuple(row.day for row in kept),
        tuple(sorted(excluded, key=lambda row: row.day, reverse=True)),
        np.array([row.event_kw for row in kept]),
        np.array([row.before_kw for row in kept]),
    )


def _candidates(
    method: DayMatching, choice: DayChoice, inputs: Inputs, before: Interval | None, excluded: list[ExcludedDay]
) -> Iterator[_Candidate]:
    """Yield the days that may count, newest first; note the others."""
    calendar = inputs.calendar
    anchor = calendar.date_of(inputs.event.starts_at)
    during = _ClockWindow(inputs, inputs.event)
    earlier = _ClockWindow(inputs, before) if before else None
    offsets = {int(value) for window in (during, earlier) if window for value in np.unique(window.offsets)}
    blocked = inputs.event_days | {anchor + timedelta(days=int(value)) for value in np.unique(during.offsets)}
    profiles = _Profiles(inputs)
    first_day = calendar.date_of(inputs.meter.starts_at)
    for back in range(1, method.look_back_days + 1):
        day = anchor - timedelta(days=back)
        if day < first_day:
            return
        kind = calendar.kind_of(day)
        hit = sorted(blocked & {day + timedelta(days=offset) for offset in offsets})
        if hit:
            detail = "" if hit == [day] else f"its hours reach {', '.join(found.isoformat() for found in hit)}"
            excluded.append(ExcludedDay(day, Exclusion.EVENT_DAY, detail))
            continue
        if kind not in choice.kinds:
            excluded.append(ExcludedDay(day, Exclusion.OTHER_KIND, kind.value))
            continue
        event_kw, event_missing = during.on(day, profiles)
        before_kw, before_missing = earlier.on(day, profiles) if earlier else (np.empty(0), np.empty(0, dtype=np.bool_))
        if not (np.isfinite(event_kw) | event_missing).any():
            excluded.append(ExcludedDay(day, Exclusion.NO_SUCH_TIME, ""))
            continue
        missing = int(event_missing.sum() + before_missing.sum())
        total = event_missing.size + before_missing.size
        if missing > inputs.max_gap_share * total or not np.isfinite(event_kw).any():
            excluded.append(ExcludedDay(day, Exclusion.GAP, f"{missing} of {total} readings are missing"))
            continue
        yield _Candidate(day, event_kw, before_kw, float(np.nanmean(event_kw)))


def _without_low_usage(found: list[_Candidate], ratio: float, excluded: list[ExcludedDay]) -> list[_Candidate]:
    mean_kw = float(np.mean([row.mean_kw for row in found]))
    low = [row for row in found if row.mean_kw < ratio * mean_kw]
    for row in low:
        detail = f"{row.mean_kw:.3f} kW in the event's hours, under {ratio:.0%} of the days' mean {mean_kw:.3f} kW"
        excluded.append(ExcludedDay(row.day, Exclusion.LOW_USAGE, detail))
    return [row for row in found if row not in low] if low else found


def _too_few(method: DayMatching, choice: DayChoice, found: int, excluded: Sequence[ExcludedDay]) -> TooFewDays:
    reasons = ", ".join(
        f"{sum(row.reason is reason for row in excluded)} {reason.value}"
        for reason in Exclusion
        if any(row.reason is reason for row in excluded)
    )
    kinds = " or ".join(sorted(kind.value for kind in choice.kinds))
    left_out = reasons or "none, the readings begin too late"
    return TooFewDays(
        f"method {method.rule.name!r} found {found} of the {choice.look_for} days that it needs ({kinds}, no event, "
        f"within {method.look_back_days} days before the event); left out: {left_out}",
        found=found,
        needed=choice.look_for,
    )


def _mean_over_days(powers_kw: FloatArray, what: str) -> FloatArray:
    """Return each column's mean over the days that know it [kW]; raise BaselineError where none does."""
    known = np.isfinite(powers_kw)
    counts = known.sum(axis=0)
    if not counts.all():
        raise BaselineError(
            f"{int((counts == 0).sum())} of {counts.size} readings of {what} have no day with that clock time, "
            "accepted: one day at least for each"
        )
    means: FloatArray = np.where(known, powers_kw, 0.0).sum(axis=0) / counts
    return means


def _adjustment(rule: AdjustmentRule, inputs: Inputs, chosen: ChosenDays) -> Adjustment:
    """Return by how much the event day stood above the days before the event, within the cap."""
    window = rule.window(inputs.event)
    own_kw = inputs.meter.readings_kw(window)
    require_coverage(own_kw, inputs.max_gap_share, "the event day's readings in the adjustment's window")
    days_kw = _mean_over_days(chosen.before_kw, "the adjustment's window")
    # Only where the event day has a reading: a gap in a steep hour must not look like a change of level.
    known = np.isfinite(own_kw)
    own, days = float(own_kw[known].mean()), float(days_kw[known].mean())
    if rule.kind is AdjustmentKind.ADDITIVE:
        return Adjustment(rule.kind, window, own - days, own - days, rule.cap)
    if days <= 0.0:
        note = f"the days' mean in the window is {days:.3f} kW: a factor needs consumption, none is applied"
        return Adjustment(rule.kind, window, None, 1.0, rule.cap, note)
    raw = own / days
    applied = raw if rule.cap is None else min(max(raw, 1.0 - rule.cap), 1.0 + rule.cap)
    return Adjustment(rule.kind, window, raw, applied, rule.cap)
