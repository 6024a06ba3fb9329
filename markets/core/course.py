"""What is owed over time: a power in steps, each from its instant to the next one's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sites.core.intervals import Interval


class CourseError(ValueError):
    """Steps that are no course; the message names the one that is wrong and what is accepted."""


@dataclass(frozen=True, slots=True)
class Step:
    """A power from an instant on, up to the next step or the end of what is owed."""

    starts_at: datetime
    power_kw: float
    """Positive in the product's direction; where a product has both, positive into the grid [kW]."""


Course = tuple[Step, ...]
"""Steps by time; the first one begins with the window."""


def constant(window: Interval, power_kw: float) -> Course:
    """Return one power over a whole window."""
    return (Step(window.starts_at, power_kw),)


def pieces(course: Course, window: Interval) -> Iterator[tuple[Interval, float]]:
    """Yield (period, power [kW]) of a course within a window; before the first step nothing is owed."""
    ends = [step.starts_at for step in course[1:]] + [window.ends_at]
    for step, ends_at in zip(course, ends, strict=True):
        if step.starts_at < ends_at:
            part = Interval(step.starts_at, ends_at).overlap(window)
            if part is not None:
                yield part, step.power_kw


def power_at(course: Course, window: Interval, at: datetime) -> float:
    """Return what is owed at an instant [kW]; 0 outside the window."""
    return next((power_kw for part, power_kw in pieces(course, window) if at in part), 0.0)


def largest_kw(course: Course, window: Interval) -> float:
    """Return the largest power owed within a window, either way [kW, >= 0]: what the fleet has to be armed for."""
    return max((abs(power_kw) for _, power_kw in pieces(course, window)), default=0.0)


def mean_size_kw(course: Course, window: Interval) -> float:
    """Return the mean over a window of the power's size [kW, >= 0]: what is settled by time."""
    parts = list(pieces(course, window))
    if len({abs(power_kw) for _, power_kw in parts}) == 1 and parts[0][0].starts_at == window.starts_at:
        return abs(parts[0][1])
    return math.fsum(abs(power_kw) * part.duration_s for part, power_kw in parts) / window.duration_s


def followed_by(course: Course, at: datetime, later: Course) -> Course:
    """Return a course as it was up to an instant, and as another one from there on.

    What was owed up to now stays: it was held, metered, and is settled.
    """
    kept = [step for step in course if step.starts_at < at]
    before = [step for step in later if step.starts_at <= at]
    from_now = [Step(at, before[-1].power_kw)] if before and kept else list(before)
    return merged([*kept, *from_now, *(step for step in later if step.starts_at > at)])


def merged(steps: Sequence[Step]) -> Course:
    """Return the steps at which the power changes."""
    found: list[Step] = []
    for step in steps:
        if not found or found[-1].power_kw != step.power_kw:
            found.append(step)
    return tuple(found)


def stored(course: Course) -> list[list[Any]]:
    """Return a course as JSON keeps it."""
    return [[step.starts_at.isoformat(), step.power_kw] for step in course]


def read(rows: Sequence[Sequence[Any]]) -> Course:
    """Return a stored course; raise CourseError naming the row that is none."""
    steps: list[Step] = []
    for number, row in enumerate(rows, 1):
        try:
            text, power_kw = row
            step = Step(datetime.fromisoformat(text), float(power_kw))
        except (TypeError, ValueError) as error:
            raise CourseError(f"step {number} is {row!r:.80}, accepted: [instant, power in kW] ({error})") from None
        if steps and step.starts_at <= steps[-1].starts_at:
            raise CourseError(f"step {number} begins at {text}, accepted: after the one before")
        steps.append(step)
    return tuple(steps)
